"""Defects of Hubble mosaics that are taken for lenses: one named generator each.

A defect is laid over an image that is recorded already.
"""

from collections.abc import Callable

import numpy as np

from lensweep.training.simulation.light import Image
from lensweep.training.simulation.observation import (
    Observation,
    add_cosmic_rays,
    add_trail,
    blank_edge,
    blank_gap,
)


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
