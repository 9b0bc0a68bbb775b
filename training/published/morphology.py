"""Nine numbers of a cutout's middle galaxy, with sep: what a catalogue of one band can say.

The feature vectors of Williams et al. (2017) and Agnello et al. (2015) are photometry of several
bands; these nine are ours, for F814W alone: concentration, asymmetry and clumpiness as of
Conselice (2003), Gini and M20 as of Lotz, Primack & Madau (2004), but in a fixed aperture.
"""

import math
from typing import Any, Self

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.base import BaseEstimator, TransformerMixin

from lensweep.scanner.network.stretch import in_noise_units
from lensweep.training.published.stamps import check_stamps

FEATURES = (
    "signal_to_noise", "half_light", "concentration", "axis_ratio", "asymmetry", "clumpiness",
    "gini", "m20", "companions",
)  # fmt: skip
_DETECTION_SIGMA, _MIN_AREA_PX = 3.0, 8
# A galaxy farther than this from the middle is not what the cutout is about.
_MAX_OFFSET_PX = 20.0
# Where nothing is detected, its middle is measured as if this were there: pixels, rms.
_NOTHING_PX = 3.0
# Aperture in units of the rms along the axes, twice the isophote's; within these bounds.
_REACH, _LEAST_PX, _MOST_PX = 6.0, 8.0, 45.0
_CORE_PX, _SMOOTHING_PX = 2.0, 5
# Mean magnitude of the difference of two normal variables.
_NOISE_CHANGES = 2.0 / math.sqrt(math.pi)
_BRIGHTEST = 0.2


class Morphology(TransformerMixin, BaseEstimator):
    """From cutouts, shape (n, height, width), to `FEATURES`, shape (n, 9)."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Nothing is learned."""
        check_stamps(X)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Measure cutouts."""
        scaled, _ = in_noise_units(check_stamps(X))
        return np.array([measure_morphology(image) for image in scaled]).reshape(-1, len(FEATURES))

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.input_tags.allow_nan, tags.requires_fit = True, False
        return tags


def measure_morphology(scaled: NDArray[np.float32]) -> list[float]:
    """Measure one cutout.

    Parameters
    ----------
    scaled : ndarray, shape (height, width), float32
        In units of its noise, 0 where there is no data.

    Returns
    -------
    list of float
        `FEATURES`; all finite.
    """
    found, segments = _detect(scaled)
    x, y, a, b, own = _middle(found, scaled.shape)
    # What belongs to another galaxy is not this one's light.
    light = np.where((segments == 0) | (segments == own), scaled, np.float32(0.0))
    reach = float(np.clip(_REACH * a, _LEAST_PX, _MOST_PX))
    distance = np.hypot(*(np.indices(scaled.shape) - np.array([y, x])[:, None, None]))
    inside = distance <= reach
    total = max(float(light[inside].sum()), 1e-3)
    r20, r50, r80 = _radii(light, x, y, reach, total)
    others = float(found["flux"].sum()) - (float(found["flux"][own - 1]) if own else 0.0)
    values = [
        np.arcsinh(total / np.sqrt(inside.sum())),
        np.log(r50),
        np.log(r80 / r20),
        b / a,
        _asymmetry(light, x, y, reach, total),
        _clumpiness(light, inside & (distance > _CORE_PX)) / total,
        _gini(light[inside]),
        _m20(light[inside], distance[inside]),
        np.log1p(max(others, 0.0) / total),
    ]
    return [float(value) for value in np.clip(np.nan_to_num(values), -10.0, 10.0)]


def _detect(scaled: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    sep.set_sub_object_limit(scaled.size)
    return sep.extract(  # type: ignore[no-any-return]
        np.ascontiguousarray(scaled), _DETECTION_SIGMA, err=1.0, minarea=_MIN_AREA_PX,
        segmentation_map=True,
    )  # fmt: skip


def _middle(found: NDArray[Any], shape: tuple[int, ...]) -> tuple[float, float, float, float, int]:
    """Position, rms along the axes and number (from 1; 0: none) of the galaxy in the middle."""
    y, x = (np.array(shape) - 1.0) / 2.0
    near = np.flatnonzero(np.hypot(found["x"] - x, found["y"] - y) <= _MAX_OFFSET_PX)
    if not len(near):
        return float(x), float(y), _NOTHING_PX, _NOTHING_PX, 0
    row = int(near[np.argmax(found["flux"][near])])
    a = max(float(found["a"][row]), 0.5)
    b = float(np.clip(found["b"][row], 0.05 * a, a))
    return float(found["x"][row]), float(found["y"][row]), a, b, row + 1


def _radii(
    light: NDArray[np.float32], x: float, y: float, reach: float, total: float
) -> tuple[float, float, float]:
    """Radii of a fifth, half and four fifths of the light, pixels."""
    radii, _ = sep.flux_radius(
        np.ascontiguousarray(light), [x], [y], [reach], [0.2, 0.5, 0.8], normflux=[total]
    )
    r20, r50, r80 = np.clip(np.nan_to_num(radii[0], nan=0.5), 0.5, reach)
    return float(r20), float(r50), float(r80)


def _asymmetry(light: NDArray[np.float32], x: float, y: float, reach: float, total: float) -> float:
    """What half a turn about the centre changes, less what noise alone would, over the light."""
    row, col = round(y), round(x)
    half = min(int(reach), row, col, light.shape[0] - 1 - row, light.shape[1] - 1 - col)
    part = light[row - half : row + half + 1, col - half : col + half + 1]
    changed = float(np.abs(part - part[::-1, ::-1]).sum())
    return (changed - _NOISE_CHANGES * part.size) / (2.0 * total)


def _clumpiness(light: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    rough = light - ndimage.uniform_filter(light, _SMOOTHING_PX)
    return float(np.maximum(rough, 0.0)[where].sum())


def _gini(values: NDArray[np.float32]) -> float:
    ranked = np.sort(np.abs(values.astype(np.float64)))
    n = len(ranked)
    weights = 2.0 * np.arange(1, n + 1) - n - 1.0
    return float((weights * ranked).sum() / max(ranked.mean() * n * (n - 1), 1e-12))


def _m20(values: NDArray[np.float32], distance: NDArray[np.float64]) -> float:
    """How far out the brightest fifth of the light is: log10 of its share of the second moment."""
    positive = np.maximum(values.astype(np.float64), 0.0)
    order = np.argsort(-positive, kind="stable")
    shares = np.cumsum(positive[order]) / max(positive.sum(), 1e-12)
    moments = positive * distance**2
    brightest = order[: int(np.searchsorted(shares, _BRIGHTEST)) + 1]
    return float(np.log10(max(moments[brightest].sum(), 1e-6) / max(moments.sum(), 1e-3)))
