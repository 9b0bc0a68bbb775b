"""Where a cutout's light peaks: what a detection is moved to, and lens parameters are seen from."""

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.stretch import smoothed
from lensweep.scanner.sky.scale import CUTOUT_SIZE

# Near the centre: smoothing of 2 px (an ACS star's width), and a Gaussian weight that lets what is
# 1.5 arcsec off still win.
PEAK_SMOOTHING_PX = 2.0
PEAK_WEIGHT_PX = 30.0
# Cutouts looked at together: 2.5 MB for each step.
PEAK_BLOCK = 64


def brightest_peak(
    flux: NDArray[np.float32], sky: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in each cutout the light peaks, as seen from its centre.

    Parameters
    ----------
    flux : ndarray, shape (n, 100, 100), float32
        NaN where there is no data.
    sky : ndarray, shape (n,), float32
        As of `lensweep.scanner.network.stretch.sky_and_noise`: mosaics may keep their sky, which
        the weight would make a hill of. Taken as 0 where it is not finite.

    Returns
    -------
    dx, dy : ndarray, shape (n,), float32
        Pixels from the cutout's centre.
    """
    axis = np.arange(CUTOUT_SIZE) - (CUTOUT_SIZE - 1) / 2.0
    weight = np.exp(-0.5 * (axis / PEAK_WEIGHT_PX) ** 2).astype(np.float32)
    level = np.where(np.isfinite(sky), sky, np.float32(0.0)).astype(np.float32)[:, None, None]
    brightest = np.empty(len(flux), np.int64)
    for first in range(0, len(flux), PEAK_BLOCK):
        block = flux[first : first + PEAK_BLOCK] - level[first : first + PEAK_BLOCK]
        known = np.where(np.isnan(block), np.float32(0.0), block)
        smooth = smoothed(known, PEAK_SMOOTHING_PX, truncate=4.0)
        smooth *= np.outer(weight, weight)
        brightest[first : first + len(block)] = smooth.reshape(len(block), -1).argmax(axis=1)
    rows, columns = np.divmod(brightest, CUTOUT_SIZE)
    return axis[columns].astype(np.float32), axis[rows].astype(np.float32)
