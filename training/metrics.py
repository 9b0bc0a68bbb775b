"""How well scores tell lenses from the rest."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

FALSE_POSITIVE_RATES = (0.3, 1e-1, 1e-2, 1e-3)


@dataclass(frozen=True)
class Metrics:
    """Performance on labelled cutouts.

    Attributes
    ----------
    roc_auc, f1 : float
        F1 at logit 0.
    tpr_at_fpr : dict of str to float
        True-positive rate where non-lenses pass at a rate; keys like `0.01`.
    tpr_before_first, tpr_before_tenth : float
        True-positive rate before the first and the tenth false positive (Metcalf et al. 2019).
    n_lenses, n_others : int
    """

    roc_auc: float
    f1: float
    tpr_at_fpr: dict[str, float]
    tpr_before_first: float
    tpr_before_tenth: float
    n_lenses: int
    n_others: int


def measure(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> Metrics:
    """Measure the performance of one score.

    Parameters
    ----------
    logits : ndarray, shape (n,)
    labels : ndarray of bool, shape (n,)
    """
    lenses, others = logits[labels], np.sort(logits[~labels])[::-1]
    return Metrics(
        float(roc_auc_score(labels, logits)),
        float(f1_score(labels, logits > 0.0)),
        {
            f"{rate:g}": float((lenses > threshold(others, rate)).mean())
            for rate in FALSE_POSITIVE_RATES
        },
        float((lenses > others[0]).mean()),
        float((lenses > others[min(9, len(others) - 1)]).mean()),
        len(lenses),
        len(others),
    )


def threshold(other_logits: NDArray[np.floating], rate: float) -> float:
    """The logit that a share `rate` of non-lenses exceeds."""
    ranked = np.sort(other_logits)[::-1]
    return float(ranked[min(int(rate * len(ranked)), len(ranked) - 1)])


def by_kind(
    logits: NDArray[np.floating], kinds: pd.Series, cuts: tuple[float, ...]
) -> pd.DataFrame:
    """Share of every kind of cutout above some thresholds.

    Returns
    -------
    DataFrame
        Index `kind`, a column per threshold and `n`.
    """
    table = pd.DataFrame({f"above_{cut:.2f}": logits > cut for cut in cuts})
    table["kind"] = kinds.to_numpy()
    grouped = table.groupby("kind")
    return grouped.mean().assign(n=grouped.size())
