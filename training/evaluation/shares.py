"""What share of planted lenses is found, with its interval; lenses may count unequally."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, norm

from lensweep.scanner.results.calibration import CONFIDENCE, Calibration

RESAMPLINGS = 999


def weighted_share(
    found: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    """A weighted share, and the ends of its interval; NaN where nothing weighs.

    The wider of a bootstrap's and of Wilson's (1927) of so many equal ones as tell as much (Kish
    1965): where nearly all or nearly none are found, few of the resampled differ.
    """
    found, weights = found[weights > 0.0], weights[weights > 0.0]
    if not len(weights):
        return float("nan"), float("nan"), float("nan")
    share = float(np.average(found, weights=weights))
    low, high = _wilson(share, float(weights.sum() ** 2 / (weights**2).sum()))
    if found.all() or not found.any():
        return share, low, high
    ends = bootstrap(
        (found.astype(np.float64), weights),
        lambda hit, weight, axis: (hit * weight).sum(axis) / weight.sum(axis),
        paired=True, vectorized=True, n_resamples=RESAMPLINGS, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(2018),
    ).confidence_interval  # fmt: skip
    return share, min(low, float(ends.low)), max(high, float(ends.high))


def _wilson(share: float, n: float) -> tuple[float, float]:
    z = float(norm.ppf(0.5 + 0.5 * CONFIDENCE))
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + step) / (1 + z**2 / n) for step in (-half, half))
    return max(0.0, min(share, low)), min(1.0, max(share, high))


def found_net(planted: pd.DataFrame, score: float) -> NDArray[np.bool_]:
    """Which planted lenses reach a score where nothing reached it before."""
    after, before = planted["logit_mean"] >= score, planted["logit_before"] >= score
    return np.asarray(after & ~before)


def scores_at(
    false_per_extent: float, calibration: Calibration, resampled: Sequence[Calibration]
) -> NDArray[np.float64]:
    """The score that so many false candidates reach, and those that it might as well have been."""
    return np.array([one.false.score_at(false_per_extent) for one in (calibration, *resampled)])


def completeness_at(
    planted: pd.DataFrame, weights: NDArray[np.float64], cuts: NDArray[np.float64]
) -> tuple[float, float, float]:
    """What share of planted lenses reaches a score that nothing reached before, and its interval.

    Parameters
    ----------
    planted : DataFrame
        Lenses as of `find_again`.
    weights : ndarray, shape (n,)
        How much each counts.
    cuts : ndarray, shape (1 + m,)
        The score, and m others that it might have been: how many false candidates reach it was
        counted on so much sky and no more.

    Returns
    -------
    share, low, high : float
        NaN where nothing weighs.
    """
    share, low, high = weighted_share(found_net(planted, float(cuts[0])), weights)
    if not weights.any():
        return share, low, high
    after, before = (planted[name].to_numpy() for name in ("logit_mean", "logit_before"))
    found = (after >= cuts[1:, None]) & (before < cuts[1:, None])
    rng = np.random.default_rng(2018)
    counts = weights * rng.poisson(1.0, found.shape)
    counts, found = counts[counts.any(axis=1)], found[counts.any(axis=1)]
    drawn = (counts * found).sum(axis=1) / counts.sum(axis=1)
    if len(drawn):
        ends = np.quantile(drawn, (0.025, 0.975))
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return share, low, high
