"""Stamps about candidates, of 10 arcsec unless more is asked for: from the mosaics, or from stored
windows without them.

A scan's window is 5 arcsec and lies where the grid leaves it: wide quads reach out of it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.cutouts_at import paste_windows
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan, read_windows
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.fits_files import check_structure, faults_of
from lensweep.scanner.sky.grid import read_grid_region, sky_to_grid
from lensweep.scanner.sky.mosaics import Mosaic, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE

STAMP_SIDE_PX = 2 * CUTOUT_SIZE
FROM_MOSAIC, FROM_WINDOWS, GONE = "mosaic", "stored windows", "gone"


@dataclass(frozen=True)
class Stamp:
    """The sky about one candidate.

    Attributes
    ----------
    row : int
        Of the table that was asked for, counted from 0.
    flux : ndarray, shape (side, side), float32, e-/s
        North up, east left, the position in the middle to half a pixel; NaN where there is no
        data.
    source : str
        `FROM_MOSAIC`; `FROM_WINDOWS`, put together from stored windows; `GONE`, all NaN.
    """

    row: int
    flux: NDArray[np.float32]
    source: str


def cut_stamps(
    root: Path, positions: pd.DataFrame, scratch: Path, side_px: int = STAMP_SIDE_PX
) -> Iterator[Stamp]:
    """Cut a stamp about every position, mosaic by mosaic; memory holds one at a time.

    Parameters
    ----------
    root : Path
        The run's folder.
    positions : DataFrame
        ``ra_deg``, ``dec_deg``, ``mosaic`` (a name) and ``window``, of that mosaic.
    scratch : Path
        Receives compressed mosaics, unpacked.
    side_px : int

    Yields
    ------
    Stamp
        One for each position, in the order of the mosaics.
    """
    for name, members in positions.groupby("mosaic", sort=True).indices.items():
        plan = read_plan(root, str(name))
        rows = positions.iloc[members]
        mosaic = usable_mosaic(root, plan, int(rows["window"].iloc[0]), scratch)
        x, y = sky_to_grid(plan.grid, rows["ra_deg"].to_numpy(), rows["dec_deg"].to_numpy())
        for row, corner in zip(members.tolist(), stamp_corners(x, y, side_px), strict=True):
            if mosaic is None:
                yield Stamp(row, *_from_windows(root, plan, corner, side_px))
            else:
                yield Stamp(row, cut_stamp(mosaic, plan, corner, side_px), FROM_MOSAIC)


def stamp_corners(
    x: NDArray[np.float64], y: NDArray[np.float64], side_px: int = STAMP_SIDE_PX
) -> NDArray[np.int32]:
    """First pixels (x0, y0), shape (n, 2), of the stamps about positions on the grid."""
    middle = np.stack([x, y], axis=1) - (side_px - 1) / 2.0
    # A whole pixel comes back from the sky a hair below itself.
    return np.floor(middle + 0.5 + 1e-3).astype(np.int32)


def stamp_wcs(plan: Plan, ra_deg: float, dec_deg: float, side_px: int = STAMP_SIDE_PX) -> WCS:
    """Sky coordinates of the stamp about a position on a mosaic."""
    x, y = sky_to_grid(plan.grid, np.array([ra_deg]), np.array([dec_deg]))
    (corner,) = stamp_corners(x, y, side_px)
    wcs = plan.grid.wcs
    wcs.wcs.crpix = wcs.wcs.crpix - corner
    return wcs


def cut_stamp(
    mosaic: Mosaic, plan: Plan, corner: NDArray[np.int32], side_px: int = STAMP_SIDE_PX
) -> NDArray[np.float32]:
    """Cut one stamp from a mosaic; NaN beyond its edges."""
    x0, y0 = corner.tolist()
    rows, cols = slice(y0, y0 + side_px), slice(x0, x0 + side_px)
    return read_grid_region(mosaic, plan.grid, rows, cols)


def usable_mosaic(root: Path, plan: Plan, window: int, scratch: Path) -> Mosaic | None:
    """A run's mosaic, if its file is there and has the pixels that were scanned.

    To compare one stored window costs nothing; the checksum of a survey's mosaics costs hours.

    Parameters
    ----------
    root, plan
        The mosaic's run and plan.
    window : int
        A window to compare.
    scratch : Path
        Receives a compressed mosaic, unpacked.

    Returns
    -------
    Mosaic or None
    """
    mosaic: Mosaic | None = plan.mosaic
    if not Path(plan.mosaic.pixels_path).is_file():
        mosaic = _inspected_again(root, plan, scratch)
    if mosaic is None:
        return None
    store = RunPaths(root).cutouts(plan.mosaic.name)
    if not cutout_store.is_made(store):
        return _inspected_again(root, plan, scratch)
    stored = cutout_store.read_column(store, "flux", window, window + 1)
    corners = read_windows(root, plan.mosaic.name).corners[window : window + 1]
    label = f"mosaic {mosaic.file_name}"
    try:
        with faults_of(label):
            check_structure(mosaic.pixels_path, label)
            cut, _ = cut_windows(mosaic, plan.grid, corners)
    except InputError:  # another file by now, or half of one
        return None
    return mosaic if np.array_equal(cut, stored, equal_nan=True) else None


def _inspected_again(root: Path, plan: Plan, scratch: Path) -> Mosaic | None:
    """The mosaic as its file is now, if that is what was scanned, by its checksum."""
    asked = json.loads(read_facts(root)["run"])["asked"]
    overrides = HeaderOverrides(asked["band"], asked["pixel_scale_arcsec"], asked["units"])
    try:
        found = inspect_mosaic(plan.mosaic.path, overrides, plan.mosaic.band, "of the run", scratch)
    except InputError:  # gone, another file, or at an address that is away
        return None
    return found if found.sha256 == plan.mosaic.sha256 else None


def _from_windows(
    root: Path, plan: Plan, corner: NDArray[np.int32], side_px: int
) -> tuple[NDArray[np.float32], str]:
    """What the stored windows hold of a stamp."""
    flux = np.full((side_px, side_px), np.nan, np.float32)
    store = RunPaths(root).cutouts(plan.mosaic.name)
    if not cutout_store.is_made(store):
        return flux, GONE
    starts = range(0, side_px, CUTOUT_SIZE)
    tiles = [(x, y) for y in starts for x in starts]
    stored = read_windows(root, plan.mosaic.name).corners
    parts, _ = paste_windows(store, stored, corner + np.array(tiles, np.int32))
    for (x, y), part in zip(tiles, parts, strict=True):
        here = flux[y : y + CUTOUT_SIZE, x : x + CUTOUT_SIZE]
        here[:] = part[: here.shape[0], : here.shape[1]]
    return flux, FROM_WINDOWS
