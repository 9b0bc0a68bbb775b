"""Cut the pixels of planned windows out of a mosaic."""

import numpy as np
from numpy.typing import NDArray

from scanner.mosaics import Mosaic
from scanner.projection import ScanGrid, read_grid_region
from scanner.windows import CUTOUT_SIZE, regions

# Largest rectangle read at once: 17 MB of flux, and 1,500 windows of a full grid at stride 50.
REGION_SIDE_PX = 2048


def cut_windows(
    mosaic: Mosaic, grid: ScanGrid, corners: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut windows out of a mosaic, reading each compact group of them as one region.

    Parameters
    ----------
    mosaic, grid
        A mosaic and its scanning grid.
    corners : ndarray, shape (n, 2), int32
        First pixel (x0, y0) of each window on the grid, in plan order; other orders give the
        same cutouts, slower.

    Returns
    -------
    flux : ndarray, shape (n, 100, 100), float32, e-/s
        NaN where invalid, and beyond the edges of the grid.
    valid_fraction : ndarray, shape (n,), float32
        Share of pixels that are not NaN.
    """
    flux = np.empty((len(corners), CUTOUT_SIZE, CUTOUT_SIZE), np.float32)
    n_valid = np.empty(len(corners), np.int64)
    for start, stop, rows, cols in regions(corners, REGION_SIDE_PX):
        region = read_grid_region(mosaic, grid, rows, cols)
        lower_left = corners[start:stop] - (cols.start, rows.start)
        for index, (x0, y0) in enumerate(lower_left.tolist(), start):
            flux[index] = region[y0 : y0 + CUTOUT_SIZE, x0 : x0 + CUTOUT_SIZE]
            n_valid[index] = np.count_nonzero(np.isfinite(flux[index]))
    return flux, (n_valid / CUTOUT_SIZE**2).astype(np.float32)
