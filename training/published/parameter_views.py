"""What a network of lens parameters is shown: lenses in circles, turned anew in every pass."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.polar_views import N_ANGLES, SHAPE, circles_of, polar_images
from lensweep.scanner.network.stretch import Stretch

# Lenses are shown the more often the rarer their Einstein radius is: by the root of how many there
# are in its bin, of which none counts as rarer than this many.
_BINS, _FEWEST = 20, 20
_BLOCK = 128


class Views:
    """Batches of lenses in circles, each turned and perhaps mirrored anew, and their parameters.

    Parameters
    ----------
    images : ndarray, shape (n, *SHAPE), float16
    y : ndarray, shape (n, 5), float64
        In units of their spread.
    batch : int
        Lenses in each; all if they are fewer.
    seed : int
    """

    def __init__(
        self, images: NDArray[np.float16], y: NDArray[np.float64], batch: int, seed: int
    ) -> None:
        self._images, self._y, self._seed = images, y, seed
        self._share = share_of_rare(y[:, 0])
        self.size = min(batch, len(images))

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches."""
        return len(self._images) // self.size

    def batches(
        self, first: int, stop: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Batches first:stop."""
        for number in range(first, stop):
            rng = np.random.default_rng([self._seed, 51, number])
            rows = rng.choice(len(self._images), self.size, p=self._share)
            yield turned_at_random(self._images[rows], self._y[rows], rng)


def in_circles(
    flux: NDArray[np.float32], y: NDArray[np.float64]
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Cutouts in circles about their brightest light, and parameters about the circles' middle.

    Parameters
    ----------
    flux : ndarray, shape (n, 100, 100), float32
        e-/s; NaN where there is no data.
    y : ndarray, shape (n, 5), float64
        Of `lensweep.scanner.network.lens_parameters.PARAMETERS`.

    Returns
    -------
    images : ndarray, shape (n, *SHAPE), float16
        In half precision, since they lie within [-1, 1].
    y : ndarray, shape (n, 5), float64
    """
    stretch, told = Stretch(), y.copy()
    images = np.empty((len(flux), *SHAPE), np.float16)
    for first in range(0, len(flux), _BLOCK):
        block = slice(first, first + _BLOCK)
        circles = circles_of(flux[block])
        images[block] = polar_images(stretch, circles)
        told[block, 3:] -= np.stack([circles.x_arcsec, circles.y_arcsec], axis=1)
    return images, told


def turned_at_random(
    images: NDArray[np.floating], y: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn lenses in circles by any angle, mirror half of them, and their parameters with them.

    Parameters
    ----------
    images : ndarray, shape (n, radii, angles, channels)
        As of `lensweep.scanner.network.polar_views.polar_images`.
    y : ndarray, shape (n, 5)
        Of `PARAMETERS`, centres from the middle of the circles; in any units, if both components of
        an ellipticity and of a centre have one.
    rng : numpy.random.Generator
    """
    steps, mirrored = rng.integers(N_ANGLES, size=len(images)), rng.random(len(images)) < 0.5
    origin = (np.arange(N_ANGLES) - steps[:, None]) % N_ANGLES
    origin = np.where(mirrored[:, None], -origin % N_ANGLES, origin)
    out = np.take_along_axis(images, origin[:, None, :, None], axis=2)
    sign, angle = np.where(mirrored, -1.0, 1.0), 2.0 * np.pi * steps / N_ANGLES
    told = [y[:, 0]]
    # An ellipse is turned by twice the angle, a place by once.
    for times, first, second in ((2.0, y[:, 1], y[:, 2]), (1.0, y[:, 3], y[:, 4])):
        cos, sin = np.cos(times * angle), np.sin(times * angle)
        told += [first * cos - sign * second * sin, first * sin + sign * second * cos]
    return out.astype(np.float32), np.stack(told, axis=1).astype(np.float32)


def share_of_rare(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often lenses are shown, in all once; rare ones more often than they are."""
    counts, edges = np.histogram(values, _BINS)
    as_many = counts[np.clip(np.digitize(values, edges) - 1, 0, _BINS - 1)]
    share = 1.0 / np.sqrt(np.maximum(as_many, _FEWEST))
    return np.asarray(share / share.sum())
