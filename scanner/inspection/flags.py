"""What deserves a second thought about a candidate: edges, missing pixels, light of a point."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.network.stretch import sky_and_noise

EDGE, HALF_VALID, POINT_LIKE = "edge", "half-valid", "quasar-like"
# Half a window: what the ensemble saw reaches no further.
EDGE_REACH_PX = 50
HALF_VALID_FRACTION = 0.75
# Within 2 arcsec of the position; images of a lensed quasar lie no further from its middle.
CORE_REACH_PX = 40
# A star's light within 0.1 arcsec is 0.53 to 0.74 of that within 0.3 (PSFs of simulations), a
# galaxy's less. Above the second it is sharper than any star: a cosmic ray, or a hot pixel.
POINT_SHARES = (0.55, 0.85)
# Fainter peaks are noise to such a ratio.
LEAST_PEAK_SIGMA = 30.0
_NEAR_PX, _WIDE_PX = 2.0, 6.0


def flags_of(flux: NDArray[np.float32], valid_fraction: float) -> list[str]:
    """Name what deserves a second thought about a stamp.

    Parameters
    ----------
    flux : ndarray, shape (200, 200), float32
        NaN where there is no data; the candidate in the middle.
    valid_fraction : float
        Of the window that was scored.

    Returns
    -------
    list of str
        Of `EDGE` (pixels without data within 2.5 arcsec), `HALF_VALID` (less than three quarters
        of the window hold data) and `POINT_LIKE` (a bright source as sharp as a star).
    """
    found = []
    if not np.isfinite(_middle(flux, EDGE_REACH_PX)).all():
        found.append(EDGE)
    if valid_fraction < HALF_VALID_FRACTION:
        found.append(HALF_VALID)
    if _is_point_like(flux):
        found.append(POINT_LIKE)
    return found


def _is_point_like(flux: NDArray[np.float32]) -> bool:
    """Whether one of the peaks near the middle is as sharp as a star."""
    sky, sigma = sky_and_noise(flux[None])
    core = (_middle(flux, CORE_REACH_PX) - sky[0]) / sigma[0]
    # Rims are sharp, too: what has no data near it only.
    whole = ~ndimage.binary_dilation(~np.isfinite(core), iterations=round(_WIDE_PX))
    core = np.nan_to_num(core)
    peaks = (core == ndimage.maximum_filter(core, 7)) & (core > LEAST_PEAK_SIGMA) & whole
    y, x = np.indices(core.shape)
    for row, column in np.argwhere(peaks):
        distance = np.hypot(y - row, x - column)
        ring = core[(distance > _WIDE_PX) & (distance <= _WIDE_PX + 2.0)]
        raised = core - np.median(ring)
        near, wide = (raised[distance <= reach].sum() for reach in (_NEAR_PX, _WIDE_PX))
        if POINT_SHARES[0] * wide < near < POINT_SHARES[1] * wide:
            return True
    return False


def _middle(flux: NDArray[np.float32], reach_px: int) -> NDArray[np.float32]:
    half = flux.shape[0] // 2
    inner = slice(half - reach_px, half + reach_px)
    return flux[inner, inner]
