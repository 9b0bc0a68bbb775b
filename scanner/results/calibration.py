"""What a score is worth on a field: lenses against false candidates, per square degree of sky.

p = density f(x) / (density f(x) + n(x)). f is how the best merged scores of planted lenses are
distributed, those that no candidate shows included; n, how many merged candidates a square degree
without lenses holds at a score; the density is of lenses per square degree. Among sources or listed
positions the same holds per position.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression
from scipy.special import expit

from lensweep.scanner.results.tail import Scores, fit_tail

CONFIDENCE = 0.95
# The best that many are described by a tail. Of an exponential one the scale is then known to one
# part in ten; the best lenses are a fifth of what a survey plants, and end before their peak.
FALSE_TAIL, LENS_TAIL = 100, 50
# Between the tails the curve is tied to ranks: this share of all apart, or this share of how far it
# is to the nearer end, whichever is less.
TIE_STEP, TIE_SHARE = 0.05, 0.5
# Where fewer false candidates than these score as high, what is said rests on the tail.
FEWEST_SEEN = 10
# Of fewer the intervals, which resample them, say too little of what was not seen.
LEAST_LENSES, LEAST_FALSE = 30, 50
RESAMPLINGS = 200
_GRID = 512
# Ranks at which intervals are computed: all of the first hundred, then steps of 2 %.
_EVERY_RANK, _RANK_STEP = 100, 1.02


class Curve:
    """How much of something scores at least x: tied to ranks, with fitted tails at both ends.

    Between its ranks the logarithm is interpolated monotonically (Fritsch & Butland 1984). Above
    the score at rank `tail` it falls as `lensweep.scanner.results.tail` fits; below the score
    that all but as many reach, what is left thins out exponentially.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Finite.
    counts : ndarray, shape (n,)
        What each stands for, in objects: ranks are sums of them.
    per_count : float
        What one object adds to the curve.
    tail : int
        How many of the highest make the upper tail, and of the lowest the lower one; a quarter of
        all if that is less.
    """

    def __init__(
        self, scores: Scores, counts: NDArray[np.float64], per_count: float, tail: int
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        scores, counts = scores[order], counts[order]
        ranks = np.cumsum(counts)
        total = float(ranks[-1])
        end = max(min(tail, 0.25 * total), float(ranks[min(1, len(ranks) - 1)]))
        ties = _ties(end, total)
        # Lowest score first, each once.
        places, kept = np.unique(np.interp(ties, ranks, scores), return_index=True)
        ties = ties[kept]
        if len(places) == 1:
            # A resampling of very few may be of one: a logit is as good a width as any.
            places, ties = np.append(places - 1.0, places), np.append(ties + 0.5, ties)
        self._logs = np.log(ties * per_count)
        self.lowest, self.edge = float(places[0]), float(places[-1])
        self._total = total * per_count
        self._below = max(self._total - float(np.exp(self._logs[0])), 0.0)
        self._tail = fit_tail(scores - self.edge, counts)
        self._low_slope = fit_tail(self.lowest - scores, counts, may_curve=False).slope
        self._body = PchipInterpolator(places, self._logs)

    def above(self, score: Scores) -> Scores:
        """How much scores at least that."""
        inside = np.clip(score, self.lowest, self.edge)
        beyond = self._tail.drop(np.maximum(score - self.edge, 0.0))
        body = np.exp(self._body(inside) - beyond)
        return np.asarray(np.where(score < self.lowest, self._total - self._left(score), body))

    def density(self, score: Scores) -> Scores:
        """How much there is per unit of score."""
        inside = np.clip(score, self.lowest, self.edge)
        beyond = self._tail.steepness(np.maximum(score - self.edge, 0.0))
        steepness = np.where(score > self.edge, beyond, -self._body(inside, 1))
        body = self.above(score) * np.maximum(steepness, 0.0)
        low = self._left(score) * self._low_slope
        return np.asarray(np.where(score < self.lowest, low, body))

    def _left(self, score: Scores) -> Scores:
        """How much scores less than that, below the ranks."""
        depth = np.maximum(self.lowest - score, 0.0)
        return np.asarray(self._below * np.exp(-self._low_slope * depth))

    def score_at(self, amount: float) -> float:
        """The score that so much reaches or exceeds; the lowest tie if all of it is less."""
        if amount <= np.exp(self._logs[-1]):
            return self.edge + self._tail.excess_at(float(self._logs[-1] - np.log(amount)))
        grid = np.linspace(self.lowest, self.edge, 64 * _GRID)
        return float(np.interp(-np.log(amount), -self._body(grid), grid))


def _ties(end: float, total: float) -> NDArray[np.float64]:
    """Ranks from that of the upper tail to that of the lower."""
    ties = [end]
    while total - ties[-1] > 1.5 * end:
        near = min(ties[-1], total - ties[-1])
        ties.append(ties[-1] + max(0.5 * end, min(TIE_STEP * total, TIE_SHARE * near)))
    # Of very few, the tails leave nothing between them but a middle.
    return np.array(ties if len(ties) > 1 else [end, 0.5 * (end + total)])


@dataclass(frozen=True)
class Calibration:
    """Scores of lenses and of false candidates, and what follows from them.

    Attributes
    ----------
    lens_scores : ndarray, shape (m,), float64
        Best merged score of every planted lens; -inf where there is no candidate.
    lens_weights : ndarray, shape (m,), float64
        How much each counts.
    false_scores : ndarray, shape (k,), float64
        Of all merged candidates where there are no lenses.
    extent : float
        How much was searched for these: square degrees, or positions.
    """

    lens_scores: Scores
    lens_weights: NDArray[np.float64]
    false_scores: Scores
    extent: float
    _false_counts: NDArray[np.float64] | None = None

    @cached_property
    def false(self) -> Curve:
        """False candidates per unit of `extent`."""
        counts = self._false_counts
        counts = np.ones(len(self.false_scores)) if counts is None else counts
        used = counts > 0.0
        return Curve(self.false_scores[used], counts[used], 1.0 / self.extent, FALSE_TAIL)

    @cached_property
    def lenses(self) -> Curve:
        """Share of all lenses."""
        used = np.isfinite(self.lens_scores) & (self.lens_weights > 0.0)
        weights = self.lens_weights[used]
        # As many objects as tell as much with equal weights (Kish 1965).
        counts = weights * weights.sum() / (weights**2).sum()
        per_count = weights.sum() / self.lens_weights.sum() / counts.sum()
        return Curve(self.lens_scores[used], counts, float(per_count), LENS_TAIL)

    @cached_property
    def _log_ratio(self) -> tuple[Scores, Scores]:
        """log f/n on a grid of scores. A higher score is never worth less."""
        both = np.concatenate([self.lens_scores[np.isfinite(self.lens_scores)], self.false_scores])
        grid = np.linspace(both.min(), both.max(), _GRID)
        lenses, false = self.lenses.density(grid), self.false.density(grid)
        known = (lenses > 0.0) & (false > 0.0)
        ratio = np.log(lenses[known]) - np.log(false[known])
        weight = (lenses / lenses.sum() + false / false.sum())[known]
        return grid[known], isotonic_regression(ratio, weights=weight).x

    def probability(self, score: Scores, density: float) -> Scores:
        """Probability that a candidate of a score is a lens.

        Parameters
        ----------
        score : ndarray of float
        density : float
            Lenses per unit of `extent`.
        """
        return np.asarray(expit(np.log(density) + np.interp(score, *self._log_ratio)))

    def extrapolated(self, score: Scores) -> NDArray[np.bool_]:
        """Where fewer than `FEWEST_SEEN` false candidates were seen at a score or above."""
        ranked = np.sort(self.false_scores)
        return len(ranked) - np.searchsorted(ranked, score) < FEWEST_SEEN

    def resampled(self, rng: np.random.Generator) -> "Calibration":
        """Another that the same evidence might have been: each count is Poisson (bootstrap)."""
        found = np.isfinite(self.lens_scores) & (self.lens_weights > 0.0)
        lenses, false = np.zeros(len(found), np.int64), np.zeros(len(self.false_scores))
        # What is left of nothing has no distribution.
        while not (lenses[found].any() and false.any()):
            lenses = rng.poisson(1.0, len(lenses))
            false = rng.poisson(1.0, len(false)).astype(np.float64)
        return dataclasses.replace(
            self, lens_weights=self.lens_weights * lenses, _false_counts=false
        )

    def resamplings(self) -> list["Calibration"]:
        """`RESAMPLINGS` others, always the same ones."""
        rng = np.random.default_rng(2018)
        return [self.resampled(rng) for _ in range(RESAMPLINGS)]


@dataclass(frozen=True)
class Expectation:
    """Lenses among the first candidates of a list: what to expect, and the ends of an interval.

    Attributes
    ----------
    lenses, low, high : ndarray, shape (n,), float64
        Down to and with each rank.
    """

    lenses: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def expect(
    calibration: Calibration, score: Scores, density: float, seed: int = 2018,
    resamplings: int = RESAMPLINGS,
) -> Expectation:  # fmt: skip
    """How many of the first candidates are lenses.

    The interval (`CONFIDENCE`) is of the number itself: it holds what the calibration does not
    know, by resampling what it was made from, and that a probability is no verdict. That the
    density is what it is said to be is taken for granted.

    Parameters
    ----------
    calibration : Calibration
    score : ndarray, shape (n,)
        In the list's order.
    density : float
    seed : int
    resamplings : int
    """
    rng, n = np.random.default_rng(seed), len(score)
    if n == 0:
        return Expectation(*np.empty((3, 0)))
    ranks = _ranks(n)
    drawn = np.empty((resamplings, len(ranks)))
    for counts in drawn:
        p = calibration.resampled(rng).probability(score, density)
        counts[:] = np.cumsum(rng.random(n) < p)[ranks]
    tail = 0.5 * (1.0 - CONFIDENCE)
    ends = np.quantile(drawn, (tail, 1.0 - tail), axis=0)
    low, high = (np.interp(np.arange(n), ranks, end) for end in ends)
    return Expectation(np.cumsum(calibration.probability(score, density)), low, high)


def _ranks(n: int) -> NDArray[np.int64]:
    """Some places of a list of n, the last among them."""
    n_steps = np.log(max(n / _EVERY_RANK, 1.0)) / np.log(_RANK_STEP)
    steps = _EVERY_RANK * _RANK_STEP ** np.arange(n_steps)
    every = np.arange(min(n, _EVERY_RANK))
    return np.unique(np.concatenate([every, steps[steps < n].astype(np.int64), [n - 1]]))
