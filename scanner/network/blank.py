"""Which windows are blank: nothing in them is bright enough to be a lens."""

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.stretch import in_noise_units, smoothed

# Matched to small galaxies: a Gaussian of 0.29 arcsec FWHM.
SMOOTHING_PX = 2.5
# In units of white noise after smoothing, 0.113 of a pixel's: at the depth of COSMOS (one orbit,
# 0.0085 e-/s per pixel) a smoothed surface brightness of 24.3 mag per square arcsec. The faintest
# of 12,000 simulated lenses peaks at 30; correlated noise alone reaches 5 to 11.
BLANK_SIGNAL_TO_NOISE = 12.0
_TRUNCATE = 3.0
# No sum of this overflows.
_FAR = np.float32(1e9)


def peak_signal_to_noise(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signal-to-noise of the brightest smoothed light in each cutout.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        e-/s or any unit proportional to it; NaN where there is no data, which counts as sky.

    Returns
    -------
    ndarray, shape (n,), float32
        Infinite where a cutout's noise cannot be measured: nothing is known of its faintest
        light, and it is never blank.
    """
    return peak_of_noise_units(*in_noise_units(flux))


def peak_of_noise_units(
    scaled: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The same of cutouts whose noise is known already.

    Parameters
    ----------
    scaled, known
        As of `lensweep.scanner.network.stretch.in_noise_units`.
    """
    smooth = smoothed(scaled.clip(-_FAR, _FAR), SMOOTHING_PX, _TRUNCATE)
    # Noise after smoothing with a Gaussian of width s: 1 / (2 sqrt(pi) s) of a pixel's.
    peak = smooth.max(axis=(1, 2), initial=0.0) * (2.0 * np.sqrt(np.pi) * SMOOTHING_PX)
    return np.asarray(np.where(known, peak, np.inf), np.float32)
