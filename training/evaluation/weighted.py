"""Shares of what counts unequally, with their intervals."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from lensweep.scanner.results.calibration import CONFIDENCE

RESAMPLINGS = 999


def weighted_share(
    found: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    """A weighted share, and the ends of its bootstrap interval; NaN where nothing weighs."""
    found, weights = found[weights > 0.0], weights[weights > 0.0]
    if not len(weights):
        return float("nan"), float("nan"), float("nan")
    share = float(np.average(found, weights=weights))
    if len(weights) < 2 or found.all() or not found.any():
        # What never varies cannot be resampled: the rule of three.
        bound = min(1.0, 3.0 / len(weights))
        return share, share - bound * share, share + bound * (1.0 - share)
    ends = bootstrap(
        (found.astype(np.float64), weights),
        lambda hit, weight, axis: (hit * weight).sum(axis) / weight.sum(axis),
        paired=True, vectorized=True, n_resamples=RESAMPLINGS, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(2018),
    ).confidence_interval  # fmt: skip
    return share, float(ends.low), float(ends.high)
