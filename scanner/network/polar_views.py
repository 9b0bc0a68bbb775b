"""Cutouts in circles about their brightest light: what a network of lens parameters sees.

About its lens an arc lies along one radius, wherever the cutout was cut and however it is turned:
the Einstein radius is a shift along one axis, a turn one along the other. A small network on a few
thousand lenses learns from that what takes a large one many more to learn from squares.
"""

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.looks import Looks, first_looks
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.network.second_look import TURNS
from lensweep.scanner.network.stretch import Stretch, above_noise
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC

# Circles a pixel apart, out to 2.5 arcsec; a quarter turn is a whole number of angles.
RADII_PX = np.arange(0.5, 50.0)
N_ANGLES = 48
# A view is a cutout moved until its brightest pixel is this one.
_MIDDLE = 53
_SIZE = 2 * _MIDDLE
# Half the side of the square whose light tells the centre between pixels.
_CORE = 2
# Angles that a network sees at both ends of a circle, which has none.
WRAP = 8
SHAPE = (len(RADII_PX), N_ANGLES + 2 * WRAP, 3)


def view_brightest(
    flux: NDArray[np.float32],
) -> tuple[Looks, NDArray[np.float64], NDArray[np.float64]]:
    """Move cutouts by whole pixels until their brightest light is in the middle.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        e-/s or any unit proportional to it; NaN where there is no data.

    Returns
    -------
    views : Looks
        In the cutouts' own noise; what lies beyond a cutout has no data.
    x_arcsec, y_arcsec : ndarray, shape (n,)
        Of the circles' centre from the cutout's middle.
    """
    looks, middle = first_looks(flux, measure_noise(flux)), (flux.shape[1] - 1) / 2.0
    padded = np.pad(flux, ((0, 0), (_MIDDLE, _MIDDLE), (_MIDDLE, _MIDDLE)), constant_values=np.nan)
    columns, rows = (np.rint(peak + middle).astype(np.int64) for peak in brightest_peak(flux))
    parts = [image[row : row + _SIZE, column : column + _SIZE]
             for image, row, column in zip(padded, rows, columns, strict=True)]  # fmt: skip
    shown = np.array(parts, np.float32).reshape(-1, _SIZE, _SIZE)
    views = Looks(shown, looks.sky, looks.sigma, looks.turn)
    beside = _centroid(above_noise(views.flux, views.sky, views.sigma))
    x, y = (
        (pixels + fraction - middle) * PIXEL_SCALE_ARCSEC
        for pixels, fraction in zip((columns, rows), beside, strict=True)
    )
    return views, x, y


def polar_images(stretch: Stretch, views: Looks) -> NDArray[np.float32]:
    """Views in circles, stretched: the light, and what of it stands out in two ways.

    From the median of its circle, and from the light opposite, which the lens, being symmetric, has
    in common: there the two images of a source lie side by side, one positive, one negative.

    Parameters
    ----------
    stretch : Stretch
        Its `faint_sigma`, `span`, `contrast_fraction` and `contrast_span` count.
    views : Looks
        Of `view_brightest`, perhaps turned.

    Returns
    -------
    ndarray, shape (n, 50, 48, 3), float32
        By radius and by angle from x towards y; within [-1, 1].
    """
    circles = _circles(above_noise(views.flux, views.sky, views.sigma))
    for turn in set(views.turn.tolist()) - {0}:
        rows = views.turn == turn
        # A turn takes (x, y) to (y, -x).
        circles[rows] = np.roll(circles[rows], -turn * N_ANGLES // TURNS, axis=2)
    light, _, contrast = stretch.planes(circles, np.median(circles, 2, keepdims=True), np.arcsinh)
    opposite = np.roll(circles, N_ANGLES // 2, axis=2)
    # The difference of two pixels has twice the variance of one.
    noise = 1.0 + stretch.contrast_fraction * np.abs(circles + opposite)
    difference = np.arcsinh((circles - opposite) / noise) / stretch.contrast_span
    return np.stack([light, contrast, difference], axis=-1).clip(-1.0, 1.0).astype(np.float32)


def wrapped(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images with the first angles again after the last, and the last before the first."""
    return np.pad(images, ((0, 0), (0, 0), (WRAP, WRAP), (0, 0)), mode="wrap")


def _centroid(scaled: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the light about the middle pixel has its centre from it, pixels: x and y."""
    core = scaled[:, _MIDDLE - _CORE : _MIDDLE + _CORE + 1, _MIDDLE - _CORE : _MIDDLE + _CORE + 1]
    light = (core - core.min(axis=(1, 2), keepdims=True)).astype(np.float64) + 1e-6
    total, offset = light.sum(axis=(1, 2)), np.arange(-_CORE, _CORE + 1)
    return (light.sum(axis=1) @ offset) / total, (light.sum(axis=2) @ offset) / total


def _circles(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values along the circles about the centroids, between pixels bilinearly."""
    angle = 2.0 * np.pi * np.arange(N_ANGLES) / N_ANGLES
    x, y = (
        _MIDDLE + beside[:, None, None] + RADII_PX[:, None] * along
        for beside, along in zip(_centroid(scaled), (np.cos(angle), np.sin(angle)), strict=True)
    )
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    row = np.arange(len(scaled))[:, None, None]
    upper = scaled[row, top, left] * (1 - across) + scaled[row, top, left + 1] * across
    lower = scaled[row, top + 1, left] * (1 - across) + scaled[row, top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
