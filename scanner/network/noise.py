"""What is measured of a cutout before any network sees it: sky, noise, brightest light.

A scan measures where it cuts, and keeps the numbers beside the pixels: a process that has a device
only hands pixels on.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.blank import peak_of_noise_units
from lensweep.scanner.network.stretch import above_noise, noise_is_known, sky_and_noise

# Cutouts that are measured together: 5 MB, and as much again for each step.
_BLOCK = 128


@dataclass(frozen=True)
class Noise:
    """Measured of cutouts, one number each.

    Attributes
    ----------
    sky, sigma : ndarray, shape (n,), float32
        As of `lensweep.scanner.network.stretch.sky_and_noise`.
    peak_sn : ndarray, shape (n,), float32
        As of `lensweep.scanner.network.blank.peak_signal_to_noise`.
    """

    sky: NDArray[np.float32]
    sigma: NDArray[np.float32]
    peak_sn: NDArray[np.float32]

    def __getitem__(self, rows: NDArray[np.generic]) -> "Noise":
        return Noise(self.sky[rows], self.sigma[rows], self.peak_sn[rows])


NOISE_FIELDS = tuple(field.name for field in dataclasses.fields(Noise))


def measure_noise(flux: NDArray[np.float32]) -> Noise:
    """Measure cutouts.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        NaN where there is no data.
    """
    columns = np.empty((len(NOISE_FIELDS), len(flux)), np.float32)
    for first in range(0, len(flux), _BLOCK):
        block = slice(first, first + _BLOCK)
        sky, sigma = sky_and_noise(flux[block])
        scaled = above_noise(flux[block], sky, sigma)
        columns[:, block] = sky, sigma, peak_of_noise_units(scaled, noise_is_known(sky, sigma))
    return Noise(*columns)
