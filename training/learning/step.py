"""A small step of an ensemble's heads towards what graders say. Numbers only.

All heads of a trunk take the same step, so that their spread stays what it was. The step is the
most probable one of a logistic regression that begins at the ensemble's own logits, with a Gaussian
prior about no step at all: few grades move little. Features are measured from the mean of a run's
candidates, whose mean logit the step therefore leaves as it is; the share of lenses among what was
graded, which is the graders' choice, is fitted beside it and forgotten.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

Values = NDArray[np.float64]
# Graders err: one label in twenty is taken to be false.
DOUBT = 0.05
# From large steps to hardly any, as long as standardised features have unit length.
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FOLDS = 5
# Wrong labels make a step look worse than it is: those that helped other fields lost up to 0.013
# of the held-out ROC AUC, those that harmed them 0.06 and 0.10 (benchmarks/learning.py).
AUC_NOISE = 0.02


@dataclass(frozen=True)
class Axes:
    """How features are measured.

    Attributes
    ----------
    mean, scale : ndarray, shape (features,), float64
        Measured from, and in units of.
    """

    mean: Values
    scale: Values

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Axes":
        """Those of a run's candidates, shape (n, features): unit length on average."""
        spread = features.std(axis=0, dtype=np.float64)
        # What never varies cannot tell lenses from the rest.
        varies = spread > 1e-6 * spread.max()
        scale = np.where(varies, spread, np.inf) * np.sqrt(max(1, int(varies.sum())))
        return cls(features.mean(axis=0, dtype=np.float64), scale)

    def measure(self, features: NDArray[np.floating]) -> Values:
        """Standardised features, shape (n, features)."""
        return np.asarray((features - self.mean) / self.scale, np.float64)


@dataclass(frozen=True)
class Step:
    """What is added to the weights and to the bias of every head.

    Attributes
    ----------
    weights : ndarray, shape (features,), float64
    bias : float
    """

    weights: Values
    bias: float


@dataclass(frozen=True)
class HeldOut:
    """How labels are met that had no part in the step.

    Attributes
    ----------
    log_loss, log_loss_before : float
        Mean, lenses and others weighing the same; lower is better.
    roc_auc, roc_auc_before : float
    """

    log_loss: float
    log_loss_before: float
    roc_auc: float
    roc_auc_before: float

    @property
    def better(self) -> bool:
        """Whether the step helps: labels are met better, and their order is not clearly worse."""
        order_kept = self.roc_auc >= self.roc_auc_before - AUC_NOISE
        return self.log_loss < self.log_loss_before and order_kept


def fit_step(axes: Axes, features: NDArray[np.floating], logits: Values,
             is_lens: NDArray[np.bool_], strength: float) -> Step:  # fmt: skip
    """Fit a step to labels.

    Parameters
    ----------
    axes : Axes
    features : ndarray, shape (n, features)
        What the mean head sees of each graded candidate.
    logits : ndarray, shape (n,), float64
        The ensemble's mean logits of them.
    is_lens : ndarray, shape (n,), bool
    strength : float
        Of the prior; the larger, the smaller the step.
    """
    inside, directions = _compressed(axes.measure(features))
    along, _ = _fit(inside, logits, is_lens, strength)
    weights = (along @ directions) / axes.scale
    return Step(weights, -float(axes.mean @ weights))


def choose_strength(axes: Axes, features: NDArray[np.floating], logits: Values,
                    is_lens: NDArray[np.bool_], seed: int) -> float:  # fmt: skip
    """The prior's strength at which held-out labels are met best."""
    inside, _ = _compressed(axes.measure(features))
    with _one_thread():
        return _choose(inside, logits, is_lens, seed)


def hold_out(axes: Axes, features: NDArray[np.floating], logits: Values,
             is_lens: NDArray[np.bool_], seed: int) -> HeldOut:  # fmt: skip
    """Measure on labels that are held out, in turn, of everything: strength and step alike.

    Parameters
    ----------
    axes, features, logits, is_lens
        As of `fit_step`; two of either label or more.
    seed : int
        Of the folds.
    """
    measured, _ = _compressed(axes.measure(features))
    after, before, ranked = np.empty(len(logits)), np.empty(len(logits)), np.empty(len(logits))
    with _one_thread():
        for train, test in _folds(is_lens, seed):
            strength = _choose(measured[train], logits[train], is_lens[train], seed)
            direction, share = _fit(measured[train], logits[train], is_lens[train], strength)
            _, share_before = _fit(measured[train, :0], logits[train], is_lens[train], 1.0)
            ranked[test] = logits[test] + measured[test] @ direction
            after[test], before[test] = ranked[test] + share, logits[test] + share_before
    return HeldOut(
        _log_loss(after, is_lens), _log_loss(before, is_lens),
        float(roc_auc_score(is_lens, ranked)), float(roc_auc_score(is_lens, logits)),
    )  # fmt: skip


def _one_thread() -> Any:
    """Products so small that several threads are slower than one."""
    return threadpool_limits(1, "blas")


def _choose(measured: Values, logits: Values, is_lens: NDArray[np.bool_], seed: int) -> float:
    losses = np.zeros(len(STRENGTHS))
    for train, test in _folds(is_lens, seed):
        for number, strength in enumerate(STRENGTHS):
            direction, share = _fit(measured[train], logits[train], is_lens[train], strength)
            found = logits[test] + measured[test] @ direction + share
            losses[number] += _log_loss(found, is_lens[test]) * len(test)
    return STRENGTHS[int(losses.argmin())]


def _folds(
    is_lens: NDArray[np.bool_], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    fewest = int(min(is_lens.sum(), (~is_lens).sum()))
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    return list(folds.split(np.zeros(len(is_lens)), is_lens))


def _compressed(measured: Values) -> tuple[Values, Values]:
    """The same rows along their own directions: no more numbers of each than there are rows.

    A step with a Gaussian prior lies among the directions of what it is fitted to.
    """
    left, lengths, directions = np.linalg.svd(measured, full_matrices=False)
    return np.asarray(left * lengths), np.asarray(directions)


def _fit(
    inside: Values, logits: Values, is_lens: NDArray[np.bool_], strength: float
) -> tuple[Values, float]:
    """The step, and the share of lenses among what was graded, as log-odds."""
    weight, wanted = _weights(is_lens), np.where(is_lens, 1.0 - DOUBT, DOUBT)

    def loss(unknown: Values) -> tuple[float, Values]:
        found = logits + inside @ unknown[:-1] + unknown[-1]
        error = weight * (0.5 * (1.0 + np.tanh(0.5 * found)) - wanted)
        value = weight @ (np.logaddexp(0.0, found) - wanted * found)
        value += 0.5 * strength * (unknown[:-1] @ unknown[:-1])
        return float(value), np.append(inside.T @ error + strength * unknown[:-1], error.sum())

    found = minimize(loss, np.zeros(inside.shape[1] + 1), jac=True, method="L-BFGS-B")
    return np.asarray(found.x[:-1], np.float64), float(found.x[-1])


def _weights(is_lens: NDArray[np.bool_]) -> Values:
    """Lenses and others weigh the same, however many of each were graded."""
    return np.asarray(
        np.where(is_lens, 0.5 / max(1, is_lens.sum()), 0.5 / max(1, (~is_lens).sum()))
    )


def _log_loss(logits: Values, is_lens: NDArray[np.bool_]) -> float:
    return float(_weights(is_lens) @ np.logaddexp(0.0, np.where(is_lens, -logits, logits)))
