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
    valid_fraction = np.empty(len(corners), np.float32)
    for start, stop, rows, cols in regions(corners, REGION_SIDE_PX):
        region, valid = read_grid_region(mosaic, grid, rows, cols)
        x0, y0 = (corners[start:stop] - (cols.start, rows.start)).T
        for index, (left, bottom) in enumerate(zip(x0.tolist(), y0.tolist(), strict=True)):
            window = region[bottom : bottom + CUTOUT_SIZE, left : left + CUTOUT_SIZE]
            flux[start + index] = window
        valid_fraction[start:stop] = _window_sums(valid, x0, y0) / CUTOUT_SIZE**2
    return flux, valid_fraction


def _window_sums(
    valid: NDArray[np.bool_], x0: NDArray[np.int32], y0: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Count the valid pixels of each window from the running sums of the whole region."""
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int32)
    np.cumsum(valid, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    x1, y1 = x0 + CUTOUT_SIZE, y0 + CUTOUT_SIZE
    result: NDArray[np.int32] = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return result
