"""Cut the pixels of planned windows out of a mosaic."""

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.sky.grid import ScanGrid, read_grid_region
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.pixels import open_pixels
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import regions

# Largest rectangle read at once: 17 MB of flux, and 1,500 windows of a full grid at stride 50.
REGION_SIDE_PX = 2048


def cut_windows(
    mosaic: Mosaic, grid: ScanGrid, corners: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut windows out of a mosaic: one by one where its file is its pixels, else in groups.

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
    with open_pixels(mosaic) as pixels:
        # Fetched from an address, a window costs its own rows, and a group all between them too.
        if (pixels.mapped or pixels.away) and not grid.resampled:
            n_valid = [
                pixels.read_into(cutout, *_window(x0, y0))
                for cutout, (x0, y0) in zip(flux, corners.tolist(), strict=True)
            ]
            return flux, _share(n_valid)
    for start, stop, rows, cols in regions(corners, REGION_SIDE_PX):
        region = read_grid_region(mosaic, grid, rows, cols)
        lower_left = corners[start:stop] - (cols.start, rows.start)
        for cutout, (x0, y0) in zip(flux[start:stop], lower_left.tolist(), strict=True):
            cutout[...] = region[_window(x0, y0)]
    return flux, _share([int(np.isfinite(cutout).sum()) for cutout in flux])


def _window(x0: int, y0: int) -> tuple[slice, slice]:
    return slice(y0, y0 + CUTOUT_SIZE), slice(x0, x0 + CUTOUT_SIZE)


def _share(n_valid: list[int]) -> NDArray[np.float32]:
    return np.array(n_valid, np.float32) / np.float32(CUTOUT_SIZE**2)
