"""Fill that tile compression has blurred: exact zeros that come back as small numbers.

fpack writes floats as multiples of a tile's ZSCALE, above its ZZERO (Pence, White & Seaman 2010,
PASP 122, 1065). What was exactly 0, and so no data, comes back within half a ZSCALE of it. So does
sky that happens to be that faint: a tenth of it where ZSCALE is a quarter of the noise, fpack's
default. But fill is an area, and such sky is scattered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from lensweep.scanner.sky.fits_files import without_warnings
from lensweep.scanner.sky.headers import MosaicError

# Fill covers a square of this side: by chance a tenth of the sky does that once in 1e25 pixels, and
# a third, where ZSCALE is the noise, once in 1e11.
FILL_SIDE_PX = 5
_HALO_PX = FILL_SIDE_PX - 1
# Where zeros come back as zeros.
_KEEPS_ZEROS = "SUBTRACTIVE_DITHER_2"
# Half a ZSCALE, and what computing in float32 adds.
_HALF = 0.5 + 1e-4
_EPSILON = 4.0 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Zeros:
    """How far from 0 a pixel of a quantised plane may lie that was exactly 0.

    Attributes
    ----------
    tile : tuple of int
        (rows, columns) of a tile.
    largest : ndarray, shape (tiles along y, tiles along x), float64
        In units of the file; 0 for a tile that is kept without loss.
    """

    tile: tuple[int, int]
    largest: NDArray[np.float64]

    def reach(self, rows: slice, cols: slice) -> NDArray[np.float64]:
        """`largest` for every pixel of a rectangle."""
        y = np.arange(rows.start, rows.stop) // self.tile[0]
        x = np.arange(cols.start, cols.stop) // self.tile[1]
        return np.asarray(self.largest[np.ix_(y, x)])

    def fill(
        self,
        plane: Callable[[slice, slice], NDArray[Any]],
        shape: tuple[int, int],
        rows: slice,
        cols: slice,
    ) -> NDArray[np.bool_]:
        """Which pixels of a rectangle inside a plane are fill: an area of what may have been 0.

        In a tile that is kept without loss every 0 is. The same pixels are fill whatever rectangle
        is asked for.
        """
        wide_rows, wide_cols = (
            slice(max(0, bounds.start - _HALO_PX), min(length, bounds.stop + _HALO_PX))
            for bounds, length in zip((rows, cols), shape, strict=True)
        )
        reach = self.reach(wide_rows, wide_cols)
        perhaps = np.abs(plane(wide_rows, wide_cols)) <= reach
        square = np.ones((FILL_SIDE_PX, FILL_SIDE_PX), np.bool_)
        fill = binary_opening(perhaps, square) | (perhaps & (reach == 0.0))
        return np.asarray(
            fill[
                rows.start - wide_rows.start : rows.stop - wide_rows.start,
                cols.start - wide_cols.start : cols.stop - wide_cols.start,
            ]
        )


def read_zeros(image: fits.CompImageHDU, path: Path, index: int, label: str) -> Zeros | None:
    """Read how far zeros may have been moved, from the table that a compressed image is.

    Parameters
    ----------
    image
        As astropy opens it.
    path, index
        Where it lies.
    label
        Begins every message.

    Returns
    -------
    Zeros or None
        None if they come back as zeros.

    Raises
    ------
    MosaicError
        Nobody can say: HCOMPRESS has smoothed the image.
    """
    with without_warnings(), fits.open(path, disable_image_compression=True) as hdus:
        header = hdus[index].header
    table = image.compressed_data
    lossless = "ZSCALE" not in table.names and "ZSCALE" not in header
    if header["ZBITPIX"] > 0 or lossless or header.get("ZQUANTIZ") == _KEEPS_ZEROS:
        return None
    if header["ZCMPTYPE"] == "HCOMPRESS_1" and _hcompress_scale(header):
        raise MosaicError(
            f"{label}: HCOMPRESS with a scale has smoothed its pixels, so fill cannot be told from "
            "sky; compress it without (fpack -r), or give the uncompressed file"
        )
    height, width = (int(side) for side in image.tile_shape)
    n_tiles = (-(-image.shape[0] // height), -(-image.shape[1] // width))
    # Both are 0 for a tile that could not be quantised, and so is kept without loss.
    scale, zero = (_per_tile(table, header, key, n_tiles) for key in ("ZSCALE", "ZZERO"))
    return Zeros((height, width), np.abs(scale) * _HALF + np.abs(zero) * _EPSILON)


def _hcompress_scale(header: fits.Header) -> float:
    for number in range(1, 10):
        if header.get(f"ZNAME{number}") == "SCALE":
            return float(header[f"ZVAL{number}"])
    return 0.0


def _per_tile(
    table: fits.FITS_rec, header: fits.Header, key: str, n_tiles: tuple[int, int]
) -> NDArray[np.float64]:
    if key in table.names:
        return np.asarray(table[key], np.float64).reshape(n_tiles)
    return np.full(n_tiles, header.get(key, 0.0), np.float64)
