"""Cutouts of real mosaics at the rows of a plan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.ground.errors import InputError
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, grid_to_mosaic_pixels, grid_to_sky, scan_grid
from lensweep.scanner.sky.mosaics import Mosaic, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE

MIDDLE_PX = (CUTOUT_SIZE - 1) / 2.0
BAND = "F814W"

Opened = dict[str, tuple[Mosaic, ScanGrid]]


def open_mosaics(paths: Sequence[str], overrides: HeaderOverrides, scratch: Path) -> Opened:
    """Inspect mosaics, and choose the grid of each.

    Returns
    -------
    dict of str to (Mosaic, ScanGrid)
        By the mosaics' names.

    Raises
    ------
    InputError
        If two mosaics have one name.
    MosaicError
        If a mosaic cannot be used.
    """
    opened: Opened = {}
    for path in paths:
        mosaic = inspect_mosaic(path, overrides, BAND, None, scratch)
        if mosaic.name in opened:
            raise InputError(
                f"mosaics {opened[mosaic.name][0].path} and {path}: both are called "
                f"{mosaic.name}; rename one, or leave it out"
            )
        opened[mosaic.name] = mosaic, scan_grid(mosaic)
    return opened


def cut_rows(rows: pd.DataFrame, opened: Opened) -> Cutouts:
    """Cut the windows of some rows.

    Parameters
    ----------
    rows : DataFrame
        ``mosaic`` (a name), ``x0`` and ``y0``. A row without a mosaic gets NaN pixels and no
        position.
    opened : dict

    Returns
    -------
    Cutouts
    """
    n = len(rows)
    flux = np.full((n, CUTOUT_SIZE, CUTOUT_SIZE), np.nan, np.float32)
    fraction = np.zeros(n, np.float32)
    sky, pixels = np.full((2, n), np.nan), np.full((2, n), np.nan)
    corners = rows[["x0", "y0"]].to_numpy(np.int32)
    for name, members in rows.groupby("mosaic", sort=False).indices.items():
        mosaic, grid = opened[str(name)]
        flux[members], fraction[members] = cut_windows(mosaic, grid, corners[members])
        x, y = (corners[members] + MIDDLE_PX).T
        sky[:, members] = grid_to_sky(grid, x, y)
        pixels[:, members] = grid_to_mosaic_pixels(mosaic, grid, x, y)
    return Cutouts(flux, fraction, *sky, *pixels, *corners.T)
