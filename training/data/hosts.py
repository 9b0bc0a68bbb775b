"""What a real cutout holds: its noise, and the galaxy in its middle."""

from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.data.real_cutouts import MIDDLE_PX

# Drizzling correlates neighbours within about a pixel, which lowers the scatter of pixels but
# hardly that of sums over blocks: these tell what the noise was before.
_BLOCK_PX = 4
_MIN_BLOCKS = 100
_CLIP_SIGMA, _CLIP_ROUNDS = 2.5, 6
_DETECTION_SIGMA, _MIN_AREA_PX = 3.0, 12
_MAX_OFFSET_PX = 4.0
# Kron's (1980) magnitude with the factor of SExtractor's MAG_AUTO, within 6 isophotal radii.
_KRON_FACTOR, _KRON_REACH = 2.5, 6.0


@dataclass(frozen=True)
class Noise:
    """The empty parts of a cutout.

    Attributes
    ----------
    sky : float
        Level, e-/s per pixel.
    sigma : float
        Noise per pixel as before drizzling, e-/s.
    """

    sky: float
    sigma: float


@dataclass(frozen=True)
class Host:
    """A galaxy as measured.

    Attributes
    ----------
    magnitude : float
        AB, Kron.
    half_light_arcsec : float
        As seen, through the PSF.
    axis_ratio, angle_rad : float
        From second moments of its isophote; of the major axis, from x towards y.
    """

    magnitude: float
    half_light_arcsec: float
    axis_ratio: float
    angle_rad: float


def measure_noise(flux: NDArray[np.float32]) -> Noise | None:
    """Measure sky and noise of a cutout from sums over blocks of 4 x 4 pixels, clipped.

    Parameters
    ----------
    flux : ndarray, shape (100, 100), float32, e-/s
        NaN where invalid.

    Returns
    -------
    Noise or None
        None if fewer than 100 of the 625 blocks are valid and alike, or nothing varies.
    """
    side = CUTOUT_SIZE // _BLOCK_PX
    sums = flux.reshape(side, _BLOCK_PX, side, _BLOCK_PX).astype(np.float64).sum(axis=(1, 3))
    # Second differences along a row: a galaxy's smooth light, which may fill the cutout, cancels.
    steps = (2.0 * sums[:, 1:-1] - sums[:, :-2] - sums[:, 2:]) / np.sqrt(6.0)
    level, scatter = _clipped(sums), _clipped(steps)
    if level is None or scatter is None or not scatter[1] > 0.0:
        return None
    # The sum of 16 pixels scatters four times as much as one.
    return Noise(level[0] / _BLOCK_PX**2, scatter[1] / _BLOCK_PX)


def _clipped(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Median and scatter (from the median deviation) without outliers; None of too few."""
    values = values[np.isfinite(values)]
    middle = sigma = 0.0
    for _ in range(_CLIP_ROUNDS):
        if len(values) < _MIN_BLOCKS:
            return None
        middle = float(np.median(values))
        sigma = float(1.4826 * np.median(np.abs(values - middle)))
        values = values[np.abs(values - middle) <= _CLIP_SIGMA * sigma]
    return middle, sigma


def measure_host(flux: NDArray[np.float32], noise: Noise, zero_point_ab: float) -> Host | None:
    """Measure the galaxy in the middle of a cutout, with sep.

    Parameters
    ----------
    flux : ndarray, shape (100, 100), float32, e-/s
    noise : Noise
    zero_point_ab : float
        AB magnitude of 1 e-/s.

    Returns
    -------
    Host or None
        None if no source lies within 4 pixels of the middle, or its light cannot be summed.
    """
    invalid = ~np.isfinite(flux)
    light = np.where(invalid, 0.0, flux - noise.sky).astype(np.float32)
    sep.set_sub_object_limit(CUTOUT_SIZE**2)
    found = sep.extract(light, _DETECTION_SIGMA, err=noise.sigma, mask=invalid,
                        minarea=_MIN_AREA_PX)  # fmt: skip
    if not len(found):
        return None
    away = np.hypot(found["x"] - MIDDLE_PX, found["y"] - MIDDLE_PX)
    one = found[int(np.argmin(away))]
    if away.min() > _MAX_OFFSET_PX or not one["b"] > 0.0:
        return None
    x, y, a, b, theta = (float(one[name]) for name in ("x", "y", "a", "b", "theta"))
    theta = float(np.clip(theta, -np.pi / 2, np.pi / 2))
    kron, _ = sep.kron_radius(light, [x], [y], [a], [b], [theta], _KRON_REACH, mask=invalid)
    reach = _KRON_FACTOR * float(kron[0])
    if not 0.0 < reach < np.inf:
        return None
    total, _, _ = sep.sum_ellipse(light, [x], [y], [a], [b], [theta], reach, mask=invalid)
    if not total[0] > 0.0:
        return None
    radius, _ = sep.flux_radius(light, [x], [y], [_KRON_REACH * a], 0.5, normflux=total,
                                mask=invalid)  # fmt: skip
    return Host(
        float(zero_point_ab - 2.5 * np.log10(total[0])), float(radius[0]) * PIXEL_SCALE_ARCSEC,
        b / a, theta,
    )  # fmt: skip
