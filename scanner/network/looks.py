"""What crosses to a device: pixels as they were cut, and the few numbers that the graph needs."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.noise import Noise
from lensweep.scanner.network.stretch import NOISE_UNKNOWN


@dataclass(frozen=True)
class Looks:
    """Looks of a network at cutouts.

    Attributes
    ----------
    flux : ndarray, shape (n, size, size), float32
        e-/s; NaN where there is no data.
    sky, sigma : ndarray, shape (n,), float32
        As of `lensweep.scanner.network.stretch.sky_and_noise`.
    turn : ndarray, shape (n,), int32
        Quarter turns, as of `lensweep.scanner.network.second_look.turned`.
    """

    flux: NDArray[np.float32]
    sky: NDArray[np.float32]
    sigma: NDArray[np.float32]
    turn: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: slice | NDArray[np.generic]) -> "Looks":
        return Looks(*(column[rows] for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The arrays, in the order of a network's inputs."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))


def first_looks(flux: NDArray[np.float32], noise: Noise) -> Looks:
    """Cutouts as they are."""
    return Looks(flux, noise.sky, noise.sigma, np.zeros(len(flux), np.int32))


def turned_looks(looks: Looks, turns: range) -> Looks:
    """The same cutouts after each of some turns, one turn after the other."""
    again = [np.tile(column, (len(turns),) + (1,) * (column.ndim - 1)) for column in looks.columns]
    again[-1] = np.repeat(np.array(turns, np.int32), len(looks))
    return Looks(*again)


def empty_looks(n: int, size_px: int) -> Looks:
    """Looks at nothing: what fills a batch up."""
    sky, sigma = np.full((2, n), np.array(NOISE_UNKNOWN)[:, None] * np.ones(n), np.float32)
    return Looks(np.zeros((n, size_px, size_px), np.float32), sky, sigma, np.zeros(n, np.int32))
