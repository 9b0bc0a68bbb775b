"""What real galaxies have beside smooth profiles: the patches of discs, and shells.

A network that never sees any of it takes whatever is not smooth for an arc. The strengths are our
choice, by eye, beside Hubble's images of such galaxies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensweep.training.simulation.light import Image

# Where a logarithmic spiral would wind for ever.
_CORE = 0.05
# Farther out no shell lies: an object is drawn within 7 arcsec.
OUTERMOST_ARCSEC = 4.5


@dataclass(frozen=True)
class Texture:
    """Brighter and fainter patches of a disc: the product of short pieces of spiral waves.

    Attributes
    ----------
    orders, windings, phases, heights : ndarray, shape (n,), float64
        Of each wave: crests in a turn, radians by the logarithm of the radius, radians, and half
        the logarithm of how much brighter a crest is than a trough. Crests lie where
        order x azimuth + winding x log(radius) + phase is a multiple of 2 pi.
    """

    orders: NDArray[np.float64]
    windings: NDArray[np.float64]
    phases: NDArray[np.float64]
    heights: NDArray[np.float64]

    def __call__(self, u: Image, v: Image) -> Image:
        """Factor on the brightness at places of the disc's own plane.

        Parameters
        ----------
        u, v : ndarray, shape (ny, nx)
            In half-light radii, or in whatever is the object's own length.

        Returns
        -------
        ndarray, shape (ny, nx)
        """
        log_radius = 0.5 * np.log(u**2 + v**2 + _CORE**2).astype(np.float32)
        azimuth = np.arctan2(v, u).astype(np.float32)
        total = np.zeros(azimuth.shape, np.float32)
        for order, winding, phase, height in zip(
            self.orders, self.windings, self.phases, self.heights, strict=True
        ):
            wave = np.float32(order) * azimuth + np.float32(winding) * log_radius
            total += np.float32(height) * np.cos(wave + np.float32(phase))
        return np.exp(total).astype(np.float64)


def draw_texture(rng: np.random.Generator, strength: float, pitch_rad: float) -> Texture:
    """Draw the patches of a flocculent disc.

    Parameters
    ----------
    rng : numpy.random.Generator
    strength : float
        Standard deviation of the logarithm of the brightness.
    pitch_rad : float
        Of the arms that the pieces follow, which lie along azimuth = log(radius) / tan(pitch).
    """
    n_waves = 12
    orders = rng.integers(1, 9, n_waves).astype(np.float64)
    # Each piece follows the arms roughly: waves that do not would make rays or rings of it.
    windings = -orders / np.tan(pitch_rad) * rng.uniform(0.5, 1.5, n_waves)
    windings += rng.normal(0.0, 3.0, n_waves)
    heights = rng.rayleigh(1.0, n_waves)
    heights *= strength * np.sqrt(2.0 / np.sum(heights**2))
    return Texture(orders, windings, rng.uniform(0.0, 2.0 * np.pi, n_waves), heights)


@dataclass(frozen=True)
class Shell:
    """A shell of stars about an elliptical: a piece of a circle that ends sharply outwards.

    Attributes
    ----------
    radius_arcsec, thickness_arcsec : float
    angle_rad, opening_rad : float
        Its middle, and half its width.
    """

    radius_arcsec: float
    thickness_arcsec: float
    angle_rad: float
    opening_rad: float

    def __call__(self, dx: Image, dy: Image, gain: float = 1.0) -> Image:
        """Brightness, up to a factor, at offsets dx, dy in arcsec, both of shape (ny, nx)."""
        depth = (self.radius_arcsec - np.hypot(dx, dy)) / self.thickness_arcsec
        turned = np.angle(np.exp(1j * (np.arctan2(dy, dx) - self.angle_rad)))
        inside = np.where(depth > 0.0, np.exp(-np.abs(depth)), np.exp(-((6.0 * depth) ** 2)))
        wedge = np.exp(-((turned / self.opening_rad) ** 4))
        return np.asarray(gain * (inside * wedge + 1e-12))


def draw_shells(rng: np.random.Generator, r_eff_arcsec: float) -> tuple[Shell, ...]:
    """Draw one to four shells, on alternate sides of a galaxy, as radial mergers leave them.

    They lie at two to six half-light radii, and within 4.5 arcsec.
    """
    axis, wide = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.4, 1.0)
    radii = r_eff_arcsec * np.sort(rng.uniform(2.0, 6.0, int(rng.integers(1, 5))))
    radii = np.minimum(radii, OUTERMOST_ARCSEC)
    return tuple(
        Shell(float(radius), float(radius * rng.uniform(0.08, 0.3)),
              float(axis + np.pi * (number % 2) + rng.normal(0.0, 0.2)), float(wide))
        for number, radius in enumerate(radii)
    )  # fmt: skip
