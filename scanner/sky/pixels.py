"""The pixels of a mosaic that `mosaics` has inspected: NaN wherever there is no data.

A pixel is invalid when its flux is not finite, when its weight is not positive and finite, or,
without a weight map, when it is exactly 0, the fill value of HLA images (fitscut's default
``Badvalue``). Where compression has moved zeros, `lensweep.scanner.sky.quantised` finds them again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lensweep.ground.files import is_remote
from lensweep.scanner.sky.fits_files import faults_of, without_warnings
from lensweep.scanner.sky.mosaics import Mosaic, MosaicError
from lensweep.scanner.sky.quantised import Zeros, read_zeros
from lensweep.scanner.sky.remote import open_fits

STRIP_PIXELS = 4_000_000
# The values of a rectangle of one plane, as they are in the file.
Plane = Callable[[slice, slice], NDArray[Any]]


@dataclass(frozen=True)
class Pixels:
    """The planes of an open mosaic.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx) of the mosaic.
    flux : callable
    weight : callable or None
    flux_scale : float
        Values of `flux` times this are e-/s.
    mapped : bool
        Whether a rectangle costs its own pixels only: the file's bytes are the pixels. If not,
        whole rows or tiles are scaled or decompressed for it.
    away : bool
        Whether its rows are fetched from an address each time.
    flux_zeros, weight_zeros : Zeros or None
        Where compression has moved what was exactly 0.
    """

    shape: tuple[int, int]
    flux: Plane
    weight: Plane | None
    flux_scale: float
    mapped: bool
    away: bool
    flux_zeros: Zeros | None = None
    weight_zeros: Zeros | None = None

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Read a rectangle; memory is bounded by it, not by the mosaic.

        Parameters
        ----------
        rows, cols
            Slices with explicit bounds and no step, in mosaic pixels. Negative bounds lie left of
            or below the image: whatever is outside of it comes back invalid.

        Returns
        -------
        ndarray, shape (rows, cols), float32, e-/s
            NaN where invalid.
        """
        shape = [max(0, bounds.stop - bounds.start) for bounds in (rows, cols)]
        flux = np.empty(shape, np.float32)
        self.read_into(flux, rows, cols)
        return flux

    def read_into(self, out: NDArray[np.float32], rows: slice, cols: slice) -> int:
        """Read a rectangle into an array of its shape; how many of its pixels are valid."""
        (ny, nx), y0, x0 = self.shape, rows.start, cols.start
        if y0 >= 0 and x0 >= 0 and rows.stop <= ny and cols.stop <= nx:
            return self._fill(out, rows, cols)
        out.fill(np.nan)
        rows = slice(max(y0, 0), min(rows.stop, ny))
        cols = slice(max(x0, 0), min(cols.stop, nx))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return 0
        part = out[rows.start - y0 : rows.stop - y0, cols.start - x0 : cols.stop - x0]
        return self._fill(part, rows, cols)

    def read_planes(self, out: NDArray[np.float32], rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Read flux in e-/s, whatever it is, and where its weight lets it count; inside only."""
        # A float64 beyond the float32 range becomes infinite here, and so invalid.
        with np.errstate(over="ignore"):
            out[...] = self.flux(rows, cols)
            if self.flux_scale != 1.0:
                out *= np.float32(self.flux_scale)
        if self.weight is None:
            if self.flux_zeros is not None:
                return ~self.flux_zeros.fill(self.flux, self.shape, rows, cols)
            return np.asarray(out != 0)
        weight = self.weight(rows, cols)
        least = 0.0 if self.weight_zeros is None else self.weight_zeros.reach(rows, cols)
        return np.asarray((weight > least) & (weight < np.inf))

    def _fill(self, out: NDArray[np.float32], rows: slice, cols: slice) -> int:
        valid = self.read_planes(out, rows, cols)
        valid &= np.isfinite(out)
        n_valid = int(np.count_nonzero(valid))
        if n_valid < valid.size:
            out[~valid] = np.nan
        return n_valid


@contextmanager
def open_pixels(mosaic: Mosaic) -> Iterator[Pixels]:
    """Open the planes of a mosaic until the block ends."""
    paths = [mosaic.pixels_path, mosaic.wht_path or mosaic.pixels_path]
    indexes = [mosaic.sci_index, mosaic.wht_index]
    with ExitStack() as open_files:
        with without_warnings():
            files = {path: open_files.enter_context(open_fits(path)) for path in set(paths)}
            planes = [
                None if index is None else files[path][index]
                for path, index in zip(paths, indexes, strict=True)
            ]
            away = is_remote(mosaic.pixels_path)
            flux, weight = (None if hdu is None else _plane(hdu, away) for hdu in planes)
            zeros = [
                read_zeros(hdu, Path(path), index, f"mosaic {mosaic.file_name}")
                if index is not None and isinstance(hdu, fits.CompImageHDU) else None
                for path, index, hdu in zip(paths, indexes, planes, strict=True)
            ]  # fmt: skip
        assert flux is not None
        mapped = not away and all(_is_mapped(hdu) for hdu in planes if hdu is not None)
        yield Pixels(mosaic.shape, flux, weight, mosaic.flux_scale, mapped, away, *zeros)


def read_region(mosaic: Mosaic, rows: slice, cols: slice) -> NDArray[np.float32]:
    """Read one rectangle of a mosaic, as `Pixels.read` does."""
    with open_pixels(mosaic) as pixels:
        return pixels.read(rows, cols)


def check_pixels(mosaic: Mosaic, strip_pixels: int = STRIP_PIXELS) -> int:
    """Read all pixels once, a strip of rows at a time, and count the valid ones.

    Parameters
    ----------
    mosaic
        As inspected.
    strip_pixels
        Pixels held in memory at a time.

    Returns
    -------
    int
        Number of pixels that are valid, at least 1.

    Raises
    ------
    MosaicError
        Not one pixel is valid, or they cannot be read: a compressed stream is damaged.
    """
    ny, nx = mosaic.shape
    rows_per_strip = max(1, strip_pixels // nx)
    n_valid = n_finite = n_weighted = 0
    label = f"mosaic {mosaic.file_name}"
    with faults_of(label), without_warnings(), open_pixels(mosaic) as pixels:
        for start in range(0, ny, rows_per_strip):
            rows = slice(start, min(start + rows_per_strip, ny))
            flux = np.empty((rows.stop - rows.start, nx), np.float32)
            weighted = pixels.read_planes(flux, rows, slice(0, nx))
            finite = np.isfinite(flux)
            n_finite += int(finite.sum())
            n_weighted += int(weighted.sum())
            n_valid += int((finite & weighted).sum())
    if n_valid:
        return n_valid
    if not n_finite:
        reason = "every pixel is NaN or infinite"
    elif n_weighted:
        reason = "no pixel is finite where it has weight"
    elif mosaic.wht_index is None:
        reason = "every pixel is exactly zero, and there is no weight map"
    else:
        reason = "the weight is zero, negative or not finite everywhere"
    raise MosaicError(
        f"mosaic {mosaic.file_name}: no valid pixel: {reason}; leave it out, or fetch it again"
    )


def _is_mapped(hdu: Any) -> bool:
    scaled = hdu.header.get("BSCALE", 1.0) != 1.0 or hdu.header.get("BZERO", 0.0) != 0.0
    return not (isinstance(hdu, fits.CompImageHDU) or scaled or "BLANK" in hdu.header)


def _plane(hdu: Any, away: bool) -> Plane:
    if _is_mapped(hdu) and not away:
        # A view of the memory map until it is copied.
        values = hdu.data
        return lambda rows, cols: np.asarray(values[rows, cols])
    if isinstance(hdu, fits.CompImageHDU):
        return lambda rows, cols: np.asarray(hdu.section[rows, cols])
    # Asked for columns, .section loops over rows in Python: 12 times slower than this.
    return lambda rows, cols: np.asarray(hdu.section[rows.start : rows.stop])[:, cols]
