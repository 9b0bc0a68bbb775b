"""Defects of Hubble mosaics that are taken for lenses: one named generator each.

A defect is laid over an image that is recorded already.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lensweep.training.simulation.detector import add_cosmic_rays
from lensweep.training.simulation.light import Image
from lensweep.training.simulation.observation import Observation


def satellite_trail(image: Image, observation: Observation, rng: np.random.Generator) -> None:
    """A straight trail across the whole image."""
    add_trail(image, observation, rng, 0.0)


def asteroid_trail(image: Image, observation: Observation, rng: np.random.Generator) -> None:
    """A short curved trail: Hubble's own motion bends an asteroid's path."""
    add_trail(image, observation, rng, float(rng.choice([-1, 1]) * rng.uniform(0.002, 0.02)))


def cosmic_ray_residue(image: Image, observation: Observation, rng: np.random.Generator) -> None:
    """Many cosmic rays that too few exposures could not reject."""
    add_cosmic_rays(image, observation, rng, float(rng.uniform(5.0, 60.0)))


def mosaic_edge(image: Image, observation: Observation, rng: np.random.Generator) -> None:
    """No data beyond a straight edge."""
    blank_edge(image, rng, 0.6)


def chip_gap(image: Image, observation: Observation, rng: np.random.Generator) -> None:
    """A band without data."""
    blank_gap(image, rng)


DEFECTS: dict[str, Callable[[Image, Observation, np.random.Generator], None]] = {
    generator.__name__: generator
    for generator in (satellite_trail, asteroid_trail, cosmic_ray_residue, mosaic_edge, chip_gap)
}


def add_trail(
    image: Image, observation: Observation, rng: np.random.Generator, curvature_per_px: float
) -> None:
    """Add a satellite trail (no curvature) or an asteroid's arc (parallax bends it), in place."""
    floor = observation.floor
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    angle = rng.uniform(0.0, np.pi)
    x -= rng.uniform(0.25, 0.75) * nx
    y -= rng.uniform(0.25, 0.75) * ny
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    across = across - 0.5 * curvature_per_px * along**2
    width = rng.uniform(1.0, 1.8) if curvature_per_px else rng.uniform(1.2, 4.0)
    trail = np.exp(-0.5 * (across / width) ** 2)
    if curvature_per_px:
        reach = rng.uniform(15.0, 60.0)
        trail *= 1.0 / (1.0 + np.exp((np.abs(along) - reach) / 1.5))
    image += floor * 10.0 ** rng.uniform(0.4, 1.6) * trail


def blank_edge(image: NDArray[np.floating], rng: np.random.Generator, max_fraction: float) -> None:
    """Blank the part of an image beyond a straight edge with NaN, in place: a mosaic's border."""
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx]
    angle = rng.choice([0.0, 0.5, 1.0, 1.5]) * np.pi
    if rng.random() < 0.6:
        angle = rng.uniform(0.0, 2.0 * np.pi)
    projection = (x - nx / 2) * np.cos(angle) + (y - ny / 2) * np.sin(angle)
    image[projection > np.quantile(projection, 1.0 - rng.uniform(0.02, max_fraction))] = np.nan


def blank_gap(image: NDArray[np.floating], rng: np.random.Generator) -> None:
    """Blank a band across an image with NaN, in place: the gap between ACS/WFC's two chips."""
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx]
    angle = rng.uniform(0.0, np.pi)
    across = (x - nx / 2) * np.cos(angle) + (y - ny / 2) * np.sin(angle)
    image[np.abs(across - rng.uniform(-40.0, 40.0)) < rng.uniform(2.0, 12.0)] = np.nan
