"""Resampling onto another pixel grid, block by block, so memory does not grow with the mosaic."""

import math
from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS, Sip
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_area
from numpy.typing import NDArray

# Side of the blocks that are resampled at a time: about 60 MB of coordinates and Jacobians.
_BLOCK_PX = 512
# An output pixel is valid when invalid input pixels hold less than half of its kernel.
_VALID_WEIGHT = 0.5
_BORDER_POINTS = 33
# Gives a rectangle of an image, e-/s; NaN where invalid, and outside.
Region = Callable[[slice, slice], NDArray[np.float32]]


def border(rows: slice, cols: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points along the outer edge of a rectangle of pixels."""
    x = np.linspace(cols.start - 0.5, cols.stop - 0.5, _BORDER_POINTS)
    y = np.linspace(rows.start - 0.5, rows.stop - 0.5, _BORDER_POINTS)
    return (
        np.concatenate([x, x, np.full_like(y, x[0]), np.full_like(y, x[-1])]),
        np.concatenate([np.full_like(x, y[0]), np.full_like(x, y[-1]), y, y]),
    )


def resample(
    read: Region, wcs_in: WCS, wcs_out: WCS, rows: slice, cols: slice
) -> NDArray[np.float32]:
    """Pixels of a rectangle of one grid, from an image on another; flux is conserved.

    DeForest (2004, Solar Physics 219, 3) adaptive averaging with a Hann kernel: a pixel of twice
    the area holds twice the flux. On stars of 0.11 arcsec FWHM it changes fluxes by under 1 % (2 %
    from 0.04 to 0.05 arcsec, 5 % from 0.08) and the PSF sigma from 0.95 to 1.02 pixels, where
    reproject's default Gaussian reaches 1.15 and halves the pixel noise. Invalid pixels lend no
    flux: an output pixel takes the mean of the valid ones under its kernel, and is invalid when
    they hold less than half of it.

    Parameters
    ----------
    read : callable
        Gives a rectangle of the image, e-/s; NaN where invalid, and outside.
    wcs_in, wcs_out : WCS
        Of the image, and of the grid.
    rows, cols : slice
        With explicit bounds, in pixels of the grid.

    Returns
    -------
    ndarray, shape (rows, cols), float32, e-/s per pixel of the grid
        NaN where invalid.
    """
    # Imports half of Dask: only where a mosaic has another grid.
    from reproject import reproject_adaptive

    shape = (rows.stop - rows.start, cols.stop - cols.start)
    flux = np.full(shape, np.nan, np.float32)
    # Input pixels per output pixel.
    area = proj_plane_pixel_area(wcs_out) / proj_plane_pixel_area(wcs_in)
    source_rows, source_cols = _source_region(wcs_in, wcs_out, rows, cols, area)
    part = read(source_rows, source_cols)
    valid = np.isfinite(part)
    if not valid.any():
        return flux
    planes = part[np.newaxis]
    if not valid.all():
        planes = np.stack([part, valid.astype(np.float32)])
    wcs_part = _from_corner(wcs_in, source_rows.start, source_cols.start)
    for y0 in range(0, shape[0], _BLOCK_PX):
        for x0 in range(0, shape[1], _BLOCK_PX):
            block = flux[y0 : y0 + _BLOCK_PX, x0 : x0 + _BLOCK_PX]
            resampled = reproject_adaptive(
                (planes, wcs_part),
                _from_corner(wcs_out, rows.start + y0, cols.start + x0),
                shape_out=(len(planes), *block.shape),
                kernel="Hann",
                conserve_flux=True,
                boundary_mode="ignore",
                bad_value_mode="ignore",
                roundtrip_coords=False,
                return_footprint=False,
            )
            # conserve_flux multiplied the weight by the area too.
            covered = resampled[-1] >= _VALID_WEIGHT * area if len(planes) == 2 else True
            np.copyto(block, resampled[0], where=covered)
    return flux


def _from_corner(wcs: WCS, y0: int, x0: int) -> WCS:
    """Move the first pixel to a corner; `WCS.slice` refuses corners outside of the image."""
    shifted = wcs.deepcopy()
    shifted.wcs.crpix = wcs.wcs.crpix - (x0, y0)
    if wcs.sip is not None:
        sip = wcs.sip
        shifted.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - (x0, y0))
    return shifted


def _source_region(
    wcs_in: WCS, wcs_out: WCS, rows: slice, cols: slice, area: float
) -> tuple[slice, slice]:
    """Mosaic pixels that a rectangle of the grid can draw on."""
    x, y = pixel_to_pixel(wcs_out, wcs_in, *border(rows, cols))
    # The Hann kernel ends one output pixel, or one input pixel if larger, from its centre; a
    # rotated kernel reaches sqrt(2) further.
    reach = math.ceil(1.5 * max(1.0, math.sqrt(area))) + 2
    return (
        slice(math.floor(y.min()) - reach, math.ceil(y.max()) + reach + 1),
        slice(math.floor(x.min()) - reach, math.ceil(x.max()) + reach + 1),
    )
