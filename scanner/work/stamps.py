"""Score single images: one cutout at the centre of each, a row for each, whatever happens."""

import tempfile
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lensweep.catalogs.schemas import SCORES, with_provenance
from lensweep.catalogs.written_tables import check_table_file, write_table
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.sky.grid import centre_stamp
from lensweep.scanner.sky.mosaics import HeaderOverrides, MosaicError, inspect_mosaic
from lensweep.scanner.sky.names import printable
from lensweep.scanner.sky.pixels import check_pixels


def score_stamps(
    images: Sequence[str], ensemble: str, overrides: HeaderOverrides
) -> pa.Table:
    """Score the centre of every image.

    Parameters
    ----------
    images : sequence of str
        FITS files. Sky coordinates are not needed; a pixel scale is.
    ensemble : str
        Name or folder of a bundle.
    overrides : HeaderOverrides
        What the headers do not say.

    Returns
    -------
    pyarrow.Table
        Schema `lensweep.catalogs.schemas.SCORES`: a row per image, in the order given; one that
        cannot be scored has the reason in `message`, and nulls.

    Raises
    ------
    InputError
        If there are no images, or the ensemble cannot be used for single images.
    """
    if not images:
        raise InputError("no images: name at least one FITS file")
    bundle = check_bundle(ensemble)
    stamps, rows = [], []
    for image in images:
        row = dict.fromkeys(SCORES.names) | {"file": printable(str(image))}
        try:
            flux, row["valid_fraction"] = read_stamp(image, ensemble, bundle.description.band,
                                                      overrides)  # fmt: skip
            stamps.append(flux)
        except MosaicError as error:
            row["message"] = str(error)
        except OSError as error:
            row["message"] = printable(f"mosaic {Path(image).name}: cannot be read: {error}")
        rows.append(row)
    if stamps:
        scored = (row for row in rows if row["message"] is None)
        for row, found in zip(scored, _score(bundle, np.stack(stamps)), strict=True):
            row |= found
    table = pa.Table.from_pylist(rows, schema=SCORES)
    return with_provenance(
        table, {"ensemble": bundle.description.name, "ensemble_sha256": bundle.sha256}
    )


def _score(bundle: Bundle, flux: NDArray[np.float32]) -> list[dict[Hashable, Any]]:
    """What the ensemble makes of each stamp, and its screen where it has one."""
    screened = bundle.description.screen is not None
    loaded = Ensemble(bundle, screen="on" if screened else "off")
    logits = loaded.logits(flux)
    names = ("p_mean", "p_std", "logit_mean")
    columns = dict(zip(names, summarise(logits), strict=True))
    if screened:
        columns["screen_logit"] = loaded.screen_logits(flux)
    table = pd.DataFrame(columns).assign(n_members=logits.shape[1])
    return [dict(row) for row in table.to_dict("records")]


def read_stamp(
    image: str, ensemble: str | None, band: str, overrides: HeaderOverrides
) -> tuple[NDArray[np.float32], float]:
    """Cut the middle of an image.

    Parameters
    ----------
    image : str
        FITS file.
    ensemble : str or None
        What it is for, for messages.
    band : str
        The filter that is needed.
    overrides : HeaderOverrides

    Returns
    -------
    flux : ndarray, shape (100, 100), float32
    valid_fraction : float

    Raises
    ------
    MosaicError
        If it cannot be used, or there is no data in its middle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        mosaic = inspect_mosaic(
            image, overrides, band, ensemble, Path(scratch), require_sky_wcs=False
        )
        check_pixels(mosaic)
        flux, valid_fraction = centre_stamp(mosaic)
    if not valid_fraction:
        raise MosaicError(f"mosaic {mosaic.file_name}: no data at its centre; cut it elsewhere")
    return flux, valid_fraction


def write_scores(
    images: Sequence[str], ensemble: str, overrides: HeaderOverrides, out: Path
) -> pa.Table:
    """Score the centre of every image, and write the table, in the format of the file's ending.

    Returns and raises what `score_stamps` does; and an `InputError` beforehand if the file cannot
    be written, and afterwards, with nothing written, if not one image could be scored.
    """
    check_table_file(out, images)
    table = score_stamps(images, ensemble, overrides)
    reasons = table["message"].to_pylist()
    if None not in reasons:
        raise InputError("\n".join(reasons))
    try:
        write_table(table, out)
    except OSError as error:
        raise InputError(f"output file {out}: cannot be written ({error.strerror})") from error
    return table
