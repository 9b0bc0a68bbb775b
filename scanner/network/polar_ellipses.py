"""The light of a lens alone, in circles about it: ellipses, without what stands out from them.

What `lensweep.training.published.lens_light` does for one image with photutils in seconds, here for
many at once in milliseconds: on every circle the logarithm-like asinh of an elliptical galaxy's
light is a mean level and a wave of two and of four crests.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Light, in units of the noise, at which asinh turns from linear to logarithmic.
_FAINT_SIGMA = 2.0
_WAVES = (2, 4)
# What is brighter than a fit by more of its own scatter, or fainter, is no part of the lens.
_BRIGHTER, _FAINTER = (2.5, 1.5, 1.5, 1.5), 3.0
# In asinh: what noise alone scatters when a circle's own scatter is none.
_LEAST_SCATTER = 0.03
# How much a fit shies from waves, in values of a circle: gaps cannot make them.
_SHY = {0: 1e-3, 2: 0.5, 4: 2.0}
# Waves of a galaxy change slowly outwards; an arc's do not. In circles.
_SMOOTH = 9
# A circle of which less is known tells nothing.
_LEAST_VALUES = 12


def ellipses_of(circles: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The lens' light on circles about it; its mean never rises outwards, as a ring of arcs does.

    Parameters
    ----------
    circles : ndarray, shape (n, radii, angles), float32
        In units of the noise.
    known : ndarray, shape (n, radii, angles), bool
        Where there is data.

    Returns
    -------
    ndarray, shape (n, radii, angles), float32
        0 on circles of which too little is known.
    """
    light = np.arcsinh(circles.astype(np.float64) / _FAINT_SIGMA)
    waves = _waves(circles.shape[2])
    fitted = np.zeros((*circles.shape[:2], len(waves)))
    fitted[..., 0] = _median(light, known)
    for brighter in _BRIGHTER:
        left = light - fitted @ waves
        scatter = 1.4826 * _median(np.abs(left), known)[..., None] + _LEAST_SCATTER
        fitted = _fit(light, known & (left < brighter * scatter) & (left > -_FAINTER * scatter))
    told = known.sum(axis=2) >= _LEAST_VALUES
    fitted[~told] = 0.0
    fitted[..., 1:] = ndimage.median_filter(fitted[..., 1:], (1, _SMOOTH, 1), mode="nearest")
    level = np.minimum.accumulate(np.where(told, fitted[..., 0], np.inf), axis=1)
    fitted[..., 0] = np.where(np.isfinite(level), level, 0.0)
    # No pixel is brighter than e^12 times the noise.
    model = _FAINT_SIGMA * np.sinh((fitted @ waves).clip(-12.0, 12.0))
    return np.where(told[..., None], model, 0.0).astype(np.float32)


def _waves(n_angles: int) -> NDArray[np.float64]:
    """One, and cosine and sine of every wave, by angle."""
    angle = 2.0 * np.pi * np.arange(n_angles) / n_angles
    return np.stack([np.ones(n_angles)] + [f(n * angle) for n in _WAVES for f in (np.cos, np.sin)])


def _fit(light: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Least squares on every circle, over the values that are kept."""
    waves = _waves(light.shape[2])
    n, weight = len(waves), kept.astype(np.float64)
    products = np.einsum("ip,jp->pij", waves, waves).reshape(-1, n * n)
    shy = np.diag([_SHY[0]] + [_SHY[wave] for wave in _WAVES for _ in range(2)])
    normal = (weight @ products).reshape(*light.shape[:2], n, n) + shy
    return np.asarray(np.linalg.solve(normal, ((weight * light) @ waves.T)[..., None])[..., 0])


def _median(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of every circle's known values; 0 where there is none."""
    # Unknown values come last in order, so that the median is that of the first ones.
    ordered = np.sort(np.where(known, values, np.inf), axis=2)
    count = known.sum(axis=2)
    low, high = (np.maximum(count - 1, 0) // 2, count // 2)
    high = np.minimum(high, values.shape[2] - 1)
    middle = sum(np.take_along_axis(ordered, at[..., None], 2)[..., 0] for at in (low, high)) / 2.0
    return np.where(count > 0, middle, 0.0)
