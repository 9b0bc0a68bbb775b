"""Candidates as COOLEST templates, which lens-modelling codes begin from (Galan et al. 2023).

A template holds the observation: pixels, band, zero point, exposure time, origin of coordinates.
The lens is an isothermal ellipsoid and lens and source have Sersic light, all without values: no
model has been fitted.
"""

import contextlib
import importlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.io import fits

from lensweep.ground.errors import InputError
from lensweep.scanner.exports.own_folder import replaced_folder
from lensweep.scanner.exports.stamp_files import MANIFEST, StampFile, read_stamps
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC


def write_coolest(root: Path, rows: pa.Table, path: Path) -> None:
    """Write a COOLEST template and the FITS file of its pixels for every candidate.

    Raises
    ------
    InputError
        If the package coolest is not installed, or there are no pixels.
    """
    if importlib.util.find_spec("coolest") is None:
        raise InputError("export to coolest: needs it; `pip install 'lensweep[coolest]'`")
    with replaced_folder(path, MANIFEST) as partial:
        names = []
        for stamp in read_stamps(root, rows):
            fits.PrimaryHDU(stamp.flux, stamp.header).writeto(partial / f"{stamp.name}.fits")
            _write_template(root, stamp, partial)
            names.append(stamp.name)
        lines = ["template,pixels", *(f"{name}.json,{name}.fits" for name in sorted(names))]
        (partial / MANIFEST).write_text("\n".join(lines) + "\n")


def _write_template(root: Path, stamp: StampFile, folder: Path) -> None:
    classes: Any = importlib.import_module("coolest.template.lazy")
    standard: Any = importlib.import_module("coolest.template.standard")
    mosaic = read_plan(root, str(stamp.row["mosaic"])).mosaic
    side_px = stamp.flux.shape[0]
    half = side_px * PIXEL_SCALE_ARCSEC / 2.0
    pixels = classes.PixelatedRegularGrid(
        f"{stamp.name}.fits", field_of_view_x=(-half, half), field_of_view_y=(-half, half),
        num_pix_x=side_px, num_pix_y=side_px, check_fits_file=True,
        fits_file_dir=str(folder.absolute()),
    )  # fmt: skip
    where = SkyCoord(stamp.row["ra_deg"], stamp.row["dec_deg"], unit="deg")
    ra, dec = where.to_string("hmsdms", precision=4).split()
    lens = classes.Galaxy("lens", None, classes.LightModel("Sersic"), classes.MassModel("SIE"))
    source = classes.Galaxy("source", None, classes.LightModel("Sersic"))
    template = standard.COOLEST(
        "MAP", classes.CoordinatesOrigin(ra, dec), classes.LensingEntityList(lens, source),
        classes.Observation(pixels, mosaic.exposure_time_s, mag_zero_point=mosaic.zero_point_ab),
        classes.Instrument(PIXEL_SCALE_ARCSEC, band=mosaic.band),
        metadata={
            "candidate_id": str(stamp.row["candidate_id"]), "rank": int(stamp.row["rank"]),
            "mosaic": mosaic.file_name,
            "p_lens": float(stamp.row["p_lens"]) if pd.notna(stamp.row["p_lens"]) else None,
        },
    )  # fmt: skip
    serialise: Any = importlib.import_module("coolest.template.json").JSONSerializer
    with contextlib.redirect_stdout(io.StringIO()):
        serialise(str((folder / stamp.name).absolute()), template).dump_simple()
