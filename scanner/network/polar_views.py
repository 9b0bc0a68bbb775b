"""Cutouts in circles about their brightest light: what a network of lens parameters sees.

About its lens an arc lies along one radius, wherever the cutout was cut and however it is turned:
the Einstein radius is a shift along one axis, a turn one along the other. A small network on some
thousand lenses learns from that what takes a large one many more to learn from squares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.polar_ellipses import ellipses_of
from lensweep.scanner.network.stretch import Stretch, above_noise, sky_and_noise
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC

# Circles a pixel apart at first, then ever further, as arcs become longer and wider: to 3.5 arcsec,
# where a large lens has its outer image. A quarter turn is a whole number of angles.
_STEPS = np.arange(56.0)
RADII_PX = 0.5 + _STEPS + 0.005 * _STEPS**2
N_ANGLES = 48
# The light; what of it stands out from the light opposite, and from ellipses; what is known.
N_CHANNELS = 4
SHAPE = (len(RADII_PX), N_ANGLES, N_CHANNELS)
# A value is a mean over as many places, by radius and by angle, so that no light far out is missed.
_PLACES = (2, 4)
# A mean of which fewer places have data is told as none.
_LEAST_KNOWN = 0.3
# A view is a cutout moved until its brightest pixel is this one.
_MIDDLE = 76
_SIZE = 2 * _MIDDLE
# Half the side of the square whose light tells the centre between pixels.
_CORE = 2


@dataclass(frozen=True)
class Circles:
    """Light along circles about the centroids of cutouts' brightest light.

    Attributes
    ----------
    light : ndarray, shape (n, 56, 48), float32
        By radius and by angle from x towards y, above the sky in units of the noise; 0 without
        data.
    share : ndarray, shape (n, 56, 48), float32
        Of a value's places that have data.
    x_arcsec, y_arcsec : ndarray, shape (n,), float64
        The circles' centre from the cutout's middle.
    """

    light: NDArray[np.float32]
    share: NDArray[np.float32]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]


def circles_of(flux: NDArray[np.float32]) -> Circles:
    """See cutouts in circles about their brightest light; some 500 kB of memory for each.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        e-/s or any unit proportional to it; NaN where there is no data.
    """
    middle = (flux.shape[1] - 1) / 2.0
    sky, sigma = sky_and_noise(flux)
    peaks = brightest_peak(flux, sky)
    columns, rows = (np.rint(peak + middle).astype(np.int64) for peak in peaks)
    views = _moved(above_noise(flux, sky, sigma), columns, rows)
    beside = _centroid(views)
    share = _means(_moved(np.isfinite(flux).astype(np.float32), columns, rows), beside)
    # What has no data is 0, and adds nothing to a mean.
    light = np.asarray(_means(views, beside) / np.maximum(share, _LEAST_KNOWN), np.float32)
    light[share < _LEAST_KNOWN] = 0.0
    x, y = (
        (pixels + fraction - middle) * PIXEL_SCALE_ARCSEC
        for pixels, fraction in zip((columns, rows), beside, strict=True)
    )
    return Circles(light, share, x, y)


def polar_images(stretch: Stretch, circles: Circles) -> NDArray[np.float32]:
    """Circles, stretched: the light, what of it stands out in two ways, and what is known.

    From the light opposite, which the lens, being symmetric, has in common: there the two images of
    a source lie side by side, one positive, one negative. And from ellipses, which leaves the arcs.

    Parameters
    ----------
    stretch : Stretch
        Its `faint_sigma`, `span`, `contrast_fraction` and `contrast_span` count.
    circles : Circles

    Returns
    -------
    ndarray, shape (n, *`SHAPE`), float32
        Within [-1, 1].
    """
    light, known = circles.light, circles.share >= _LEAST_KNOWN
    opposite = np.roll(light, N_ANGLES // 2, axis=2)
    both = known & np.roll(known, N_ANGLES // 2, axis=2)
    ellipses = ellipses_of(light, known)
    planes = [
        np.arcsinh(light / stretch.faint_sigma) / stretch.span - 0.5,
        # The difference of two pixels has twice the variance of one.
        np.where(both, _contrast(stretch, light - opposite, light + opposite), 0.0),
        np.where(known, _contrast(stretch, light - ellipses, ellipses), 0.0),
        circles.share - 0.5,
    ]
    return np.stack(planes, axis=-1).clip(-1.0, 1.0).astype(np.float32)


def _contrast(
    stretch: Stretch, over: NDArray[np.float32], light: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As of `Stretch`: a share of the light counts as noise where it is bright."""
    noise = 1.0 + stretch.contrast_fraction * np.abs(light)
    return np.asarray(np.arcsinh(over / noise) / stretch.contrast_span)


def _moved(
    images: NDArray[np.float32], columns: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Images with these pixels in the middle, and 0 beyond their edges."""
    padded = np.pad(images, ((0, 0), (_MIDDLE, _MIDDLE), (_MIDDLE, _MIDDLE)))
    parts = [image[row : row + _SIZE, column : column + _SIZE]
             for image, row, column in zip(padded, rows, columns, strict=True)]  # fmt: skip
    return np.array(parts, np.float32)


def _centroid(scaled: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the light about the middle pixel has its centre from it, pixels: x and y."""
    core = scaled[:, _MIDDLE - _CORE : _MIDDLE + _CORE + 1, _MIDDLE - _CORE : _MIDDLE + _CORE + 1]
    light = (core - core.min(axis=(1, 2), keepdims=True)).astype(np.float64) + 1e-6
    total, offset = light.sum(axis=(1, 2)), np.arange(-_CORE, _CORE + 1)
    return (light.sum(axis=1) @ offset) / total, (light.sum(axis=2) @ offset) / total


def _means(
    views: NDArray[np.float32], centre: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Means along circles about centres, over places evenly spread about every value's own."""
    per_radius, per_angle = _PLACES
    steps = np.gradient(RADII_PX)
    radius = np.concatenate([RADII_PX + share * steps for share in _spread(per_radius)])
    angle = 2.0 * np.pi * (np.arange(N_ANGLES)[:, None] + _spread(per_angle)).ravel() / N_ANGLES
    x, y = (
        _MIDDLE + beside[:, None, None] + radius[:, None] * along
        for beside, along in zip(centre, (np.cos(angle), np.sin(angle)), strict=True)
    )
    places = _bilinear(views, x, y).reshape(len(views), per_radius, -1, N_ANGLES, per_angle)
    return np.asarray(places.mean(axis=(1, 4)))


def _spread(n: int) -> NDArray[np.float64]:
    """n places within -1/2 to 1/2, each in the middle of its share."""
    return (np.arange(n) + 0.5) / n - 0.5


def _bilinear(
    views: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Values between pixels at places of every view's own, shape (n, ...)."""
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    pixels, first = views.reshape(len(views), -1), (top * _SIZE + left).reshape(len(views), -1)

    def at(beside: int) -> NDArray[np.float32]:
        return np.take_along_axis(pixels, first + beside, axis=1).reshape(x.shape)

    upper = at(0) * (1 - across) + at(1) * across
    lower = at(_SIZE) * (1 - across) + at(_SIZE + 1) * across
    return np.asarray(upper * (1 - down) + lower * down)
