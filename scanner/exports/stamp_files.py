"""Stamps of candidates as files: FITS with sky coordinates, PNG, and a manifest of both.

Zooniverse takes the manifest as it is; viewers of folders of stamps go by the names, which begin
with the rank.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image

from lensweep.ground.errors import InputError
from lensweep.scanner.exports.own_folder import replaced_folder
from lensweep.scanner.inspection.wide_stamps import GONE, cut_stamps, stamp_wcs
from lensweep.scanner.results.contact_sheet import stretch_for_display
from lensweep.scanner.run.plan import Plan, read_plan

MANIFEST = "manifest.csv"
# Pixels of the picture for each of the stamp: 200 would be small on a screen.
ENLARGED = 2
_LISTED = ("rank", "candidate_id", "ra_deg", "dec_deg", "p_lens", "logit_mean", "mosaic", "window")


@dataclass(frozen=True)
class StampFile:
    """One candidate's stamp.

    Attributes
    ----------
    name : str
        Rank and candidate's name, fit for a file.
    row : pandas.Series
        Of the catalogue.
    flux : ndarray, shape (200, 200), float32, e-/s
    header : astropy.io.fits.Header
        Sky coordinates, and what the candidate is.
    source : str
        Where the pixels are from; see `lensweep.scanner.inspection.wide_stamps`.
    """

    name: str
    row: pd.Series
    flux: NDArray[np.float32]
    header: fits.Header
    source: str


def write_stamps(root: Path, rows: pa.Table, path: Path) -> None:
    """Write every candidate's stamp as FITS and PNG, and `MANIFEST`, which comes last.

    Raises
    ------
    InputError
        If neither mosaics nor stored windows are there.
    """
    with replaced_folder(path, MANIFEST) as partial:
        listed = []
        for stamp in read_stamps(root, rows):
            fits.PrimaryHDU(stamp.flux, stamp.header).writeto(partial / f"{stamp.name}.fits")
            draw_png(stamp.flux, partial / f"{stamp.name}.png")
            names = {"png": f"{stamp.name}.png", "fits": f"{stamp.name}.fits"}
            listed.append(names | stamp.row[list(_LISTED)].to_dict() | {"pixels": stamp.source})
        manifest = pd.DataFrame(listed).sort_values("rank")
        manifest.to_csv(partial / MANIFEST, index=False)


def read_stamps(root: Path, rows: pa.Table) -> Iterator[StampFile]:
    """The stamps of some candidates, one in memory at a time, mosaic by mosaic.

    Raises
    ------
    InputError
        If neither mosaics nor stored windows are there.
    """
    table = rows.to_pandas()
    plans = {str(name): read_plan(root, str(name)) for name in table["mosaic"].unique()}
    with tempfile.TemporaryDirectory() as scratch:
        for stamp in cut_stamps(root, table, Path(scratch)):
            row = table.iloc[stamp.row]
            if stamp.source == GONE:
                raise InputError(
                    f"run {root}: neither mosaic {row['mosaic']} nor its stored windows are there; "
                    "put the mosaic back"
                )
            header = _header(plans[str(row["mosaic"])], row)
            yield StampFile(_file_name(row), row, stamp.flux, header, stamp.source)


def draw_png(flux: NDArray[np.float32], path: Path) -> None:
    """Draw a stamp as people see it, north up; violet where there is no data."""
    grey = (255.0 * stretch_for_display(flux[None])[0][::-1]).round().astype(np.uint8)
    Image.fromarray(grey.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)).save(path)


def _file_name(row: pd.Series) -> str:
    return f"{row['rank']:05d}_{str(row['candidate_id']).replace(' ', '')}"


def _header(plan: Plan, row: pd.Series) -> fits.Header:
    header = stamp_wcs(plan, float(row["ra_deg"]), float(row["dec_deg"])).to_header()
    header.update({
        "BUNIT": "electron/s", "FILTER": plan.mosaic.band, "OBJECT": row["candidate_id"],
        "MOSAIC": (plan.mosaic.file_name, "cut from this"), "RANK": int(row["rank"]),
    })  # fmt: skip
    # A header holds no NaN.
    if pd.notna(row["p_lens"]):
        header["PLENS"] = float(row["p_lens"]), "at the run's density of lenses"
    return header
