"""A PSF from a FITS image, in place of drawn ones."""

import hashlib
import math
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.psf import OVERSAMPLING, Psf

SAMPLE_ARCSEC = PIXEL_SCALE_ARCSEC / OVERSAMPLING
# The names under which STPSF and Tiny Tim write the scale.
_SCALE_CARDS = ("PIXELSCL", "PIXSCALE")
_SCALE_TOLERANCE = 0.01
# Hubble's PSF in F814W has 0.09-0.12 arcsec across: coarser pixels do not sample it.
_SCALE_RANGE_ARCSEC = (0.002, 0.11)
_MIN_HALF_SIZE_ARCSEC = 0.3
_MAX_PEAK_OFFSET_ARCSEC = 0.05


def read_psf(path: Path, pixel_scale_arcsec: float | None = None) -> Psf:
    """Read a PSF from the first image of a FITS file, and resample it to half a pixel.

    Its values are samples of the PSF. Drawing then sums them over pixels of 0.05 arcsec, so a PSF
    that was measured on such pixels, and holds their response already, is widened once more: from
    0.100 to 0.108 arcsec across.

    Parameters
    ----------
    path : Path
    pixel_scale_arcsec : float, optional
        Needed if the header has neither PIXELSCL, PIXSCALE nor sky coordinates.

    Raises
    ------
    InputError
        Not a FITS image of two dimensions; an even number of pixels a side, so that no pixel is
        its centre; NaN or infinite values; a sum that is not positive; a peak away from the
        centre; less than 0.3 arcsec from centre to edge; a scale that is unknown, contradicts the
        header, or is not from 0.002 to 0.11.
    """
    label = f"PSF {path}"
    try:
        with fits.open(path) as hdus:
            images = [hdu for hdu in hdus if hdu.is_image and hdu.shape]
            if not images:
                raise InputError(f"{label}: holds no image")
            values, header = np.asarray(images[0].data, np.float64), images[0].header
    except OSError as error:
        raise InputError(f"{label}: cannot be read as FITS: {error}") from error
    _refuse_unfit(values, label)
    scale_arcsec = _scale(header, pixel_scale_arcsec, label)
    reach_arcsec = (min(values.shape) // 2) * scale_arcsec
    if reach_arcsec < _MIN_HALF_SIZE_ARCSEC:
        raise InputError(
            f"{label}: {reach_arcsec:.3g} arcsec from centre to edge; give at least "
            f"{_MIN_HALF_SIZE_ARCSEC}"
        )
    return Psf(_resample(values, scale_arcsec, reach_arcsec, label))


def fingerprint(psf: Psf) -> str:
    """SHA-256 of a PSF's values: what a data set that was drawn with it is known by."""
    return hashlib.sha256(psf.kernel.tobytes()).hexdigest()


def _refuse_unfit(values: NDArray[np.float64], label: str) -> None:
    if values.ndim != 2:
        raise InputError(f"{label}: shape {values.shape}, but a PSF is one image of 2 dimensions")
    if not (values.shape[0] % 2 and values.shape[1] % 2):
        raise InputError(
            f"{label}: shape {values.shape}, but each side needs an odd number of pixels, so that "
            "one of them is the centre; resample or trim it"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{label}: {int((~np.isfinite(values)).sum())} values are not finite")
    if not values.sum() > 0.0:
        raise InputError(f"{label}: sums to {values.sum():.3g}, but must be positive")


def _scale(header: fits.Header, stated: float | None, label: str) -> float:
    found = next((header[card] for card in _SCALE_CARDS if card in header), None)
    if found is None:
        wcs = WCS(header)
        if wcs.has_celestial:
            found = float(np.mean(proj_plane_pixel_scales(wcs.celestial))) * 3600.0
    if found is not None and not isinstance(found, int | float):
        raise InputError(f"{label}: the header's pixel scale is {found!r}, not a number")
    if found is None:
        found = stated
    if found is None:
        raise InputError(
            f"{label}: no pixel scale in the header ({', '.join(_SCALE_CARDS)} or sky "
            "coordinates); state it with --psf-scale, in arcsec/pixel"
        )
    scale = float(found)
    if stated is not None and not math.isclose(scale, stated, rel_tol=_SCALE_TOLERANCE):
        raise InputError(
            f"{label}: the header says {scale:.5g} arcsec/pixel, --psf-scale says {stated:.5g}"
        )
    low, high = _SCALE_RANGE_ARCSEC
    if not low <= scale <= high:
        raise InputError(f"{label}: {scale:.5g} arcsec/pixel, but must be from {low} to {high}")
    return scale


def _resample(
    values: NDArray[np.float64], scale_arcsec: float, reach_arcsec: float, label: str
) -> NDArray[np.float64]:
    """The PSF on half pixels about its central one, normalised."""
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    centre = np.array(values.shape) // 2
    offset = float(np.hypot(*(np.array(peak) - centre))) * scale_arcsec
    if offset > _MAX_PEAK_OFFSET_ARCSEC:
        raise InputError(
            f"{label}: its peak is {offset:.3g} arcsec from the central pixel; centre it"
        )
    half = OVERSAMPLING * int(reach_arcsec / PIXEL_SCALE_ARCSEC)
    steps = np.arange(-half, half + 1) * SAMPLE_ARCSEC / scale_arcsec
    # Finer than half a pixel: smoothed to it first, so that no light falls between the samples.
    coarser = SAMPLE_ARCSEC / scale_arcsec
    if coarser > 1.0:
        size = 2 * round((coarser - 1.0) / 2.0) + 1
        values = ndimage.uniform_filter(values, size, mode="constant")
    rows, columns = np.meshgrid(centre[0] + steps, centre[1] + steps, indexing="ij")
    kernel = ndimage.map_coordinates(values, [rows, columns], order=3, mode="constant")
    return np.asarray(kernel / kernel.sum())
