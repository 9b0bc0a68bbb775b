"""How the highest of many scores thin out: exponentially, or faster where the scores say so.

The logarithm of how many score higher falls by slope e + curvature e^2 / 2 at an excess e above the
first. Without curvature that is the exponential tail; with it, steepness grows linearly, as in
the linear failure-rate distribution (Bain 1974, Technometrics 16, 551) and in the tail of a normal
one: what a network says of the surest has a ceiling, if a soft one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Scores = NDArray[np.float64]

# Curvature is believed where chance would hardly give it: twice the gain in log-likelihood that one
# exponential sample in a hundred exceeds. Curvature cannot be negative, so half of them gain
# nothing, and the gains of the other half are distributed as chi-squared with one degree of freedom
# (Chernoff 1954, Ann. Math. Stat. 25, 573): this is its quantile at 0.98.
LEAST_GAIN = 5.41
# In units of the slope per mean excess: more is hardly told apart from no slope at all.
_MOST_CURVED = 30.0


@dataclass(frozen=True)
class Tail:
    """What lies beyond a score.

    Attributes
    ----------
    slope : float
        Steepness at the beginning: logarithms per unit of score.
    curvature : float
        By how much the steepness grows per unit of score.
    """

    slope: float
    curvature: float = 0.0

    def drop(self, excess: Scores) -> Scores:
        """By how much the logarithm has fallen at an excess of at least 0."""
        return np.asarray(excess * (self.slope + 0.5 * self.curvature * excess))

    def steepness(self, excess: Scores) -> Scores:
        """How fast it falls there, per unit of score."""
        return np.asarray(self.slope + self.curvature * excess)

    def excess_at(self, drop: float) -> float:
        """Where it has fallen by so much: the inverse of `drop`."""
        # The quadratic's root in the form that has no difference of equals.
        root = np.sqrt(self.slope**2 + 2.0 * self.curvature * drop)
        return float(2.0 * drop / (self.slope + root))


def fit_tail(excess: Scores, counts: NDArray[np.float64], may_curve: bool = True) -> Tail:
    """The tail at its maximum likelihood; an exponential one unless curvature is significant.

    Parameters
    ----------
    excess : ndarray, shape (n,), float64
        Scores less the one where the tail begins; what is not above it does not matter.
    counts : ndarray, shape (n,), float64
        How many each stands for.
    may_curve : bool
        False: an exponential tail.
    """
    inside = excess > 0.0
    excess, counts = excess[inside], counts[inside]
    mean = float(np.average(excess, weights=counts)) if inside.any() else 0.0
    mean = max(mean, float(np.finfo(np.float32).eps))
    straight = Tail(1.0 / mean)
    if not may_curve or not inside.any():
        return straight

    def curved(ratio: float) -> Tail:
        # Of all slopes the likeliest, for a curvature of so many times the slope.
        slope = counts.sum() / float(counts @ (excess + 0.5 * ratio * excess**2))
        return Tail(slope, ratio * slope)

    def log_likelihood(tail: Tail) -> float:
        return float(counts @ (np.log(tail.steepness(excess)) - tail.drop(excess)))

    best = minimize_scalar(
        lambda ratio: -log_likelihood(curved(ratio)),
        bounds=(0.0, _MOST_CURVED / mean), method="bounded",
    )  # fmt: skip
    gain = 2.0 * (-float(best.fun) - log_likelihood(straight))
    return curved(float(best.x)) if gain > LEAST_GAIN else straight
