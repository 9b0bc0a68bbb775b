"""How well scores tell lenses from the rest."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from lensweep.scanner.lenses.recall import binomial_interval

FALSE_POSITIVE_RATES = (0.3, 1e-1, 1e-2, 1e-3)
RESAMPLINGS = 2000
# Lenses outside this range are so small or faint that most are lost to the pixels and the noise.
THETA_E_RANGE_ARCSEC = (0.5, 2.5)
FAINTEST_SOURCE_MAG = 25.5
BINS = {
    "theta_e_arcsec": (0.3, 0.5, 0.8, 1.2, 1.7, 2.5),
    "source_magnitude": (18.0, 22.0, 23.5, 24.5, 25.5, 27.0),
    "signal_to_noise": (15.0, 30.0, 60.0, 120.0, np.inf),
}


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
    intervals : dict of str to (float, float)
        95 % intervals of the true-positive rates, with lenses and others resampled: keys as of
        `tpr_at_fpr`, `first` and `tenth`. Empty in bundles that were measured without.
    """

    roc_auc: float
    f1: float
    tpr_at_fpr: dict[str, float]
    tpr_before_first: float
    tpr_before_tenth: float
    n_lenses: int
    n_others: int
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


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
        rate_intervals(lenses, others),
    )


def rate_intervals(
    lenses: NDArray[np.floating], others: NDArray[np.floating]
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of true-positive rates; lenses and non-lenses are both resampled.

    Where twelve non-lenses set a threshold, that they are twelve counts for more than how many
    lenses there are. Of others that are drawn anew, with replacement, the (k + 1)th highest is the
    old one at a share of Beta(k + 1, n - k) from the top, and of the lenses a binomial number
    exceeds it: the same as drawing them all, in a thousandth of the time.

    Parameters
    ----------
    lenses : ndarray
        Logits.
    others : ndarray
        Logits, highest first.
    """
    rng, n = np.random.default_rng(2018), len(others)
    places = {f"{rate:g}": _place(rate, n) for rate in FALSE_POSITIVE_RATES}
    places |= {"first": 0, "tenth": min(9, n - 1)}
    ranked = np.sort(lenses)
    found = {}
    for name, place in places.items():
        share = rng.beta(place + 1.0, n - place, RESAMPLINGS)
        cuts = others[np.minimum((share * n).astype(np.int64), n - 1)]
        above = len(ranked) - np.searchsorted(ranked, cuts, side="right")
        drawn = rng.binomial(len(ranked), above / len(ranked)) / len(ranked)
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = (float(low), float(high))
    return found


def _place(rate: float, n: int) -> int:
    """Where in a ranking of non-lenses the threshold of a rate is."""
    return min(int(rate * n), n - 1)


def threshold(other_logits: NDArray[np.floating], rate: float) -> float:
    """The logit that a share `rate` of non-lenses exceeds."""
    ranked = np.sort(other_logits)[::-1]
    return float(ranked[_place(rate, len(ranked))])


def within_cuts(truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Which cutouts count with the cuts: all non-lenses, and lenses of the stated range.

    0.5 to 2.5 arcsec of Einstein radius and unlensed sources to 25.5 mag; where a truth does not
    say, the lens is left out.

    Parameters
    ----------
    truth : DataFrame
        `is_lens`, and where known `theta_e_arcsec` and `source_magnitude`.
    """
    low, high = THETA_E_RANGE_ARCSEC
    inside = np.ones(len(truth), bool)
    for column, least, most in (
        ("theta_e_arcsec", low, high), ("source_magnitude", -np.inf, FAINTEST_SOURCE_MAG),
    ):  # fmt: skip
        values = truth.get(column, pd.Series(np.nan, truth.index)).to_numpy(np.float64)
        inside &= (values >= least) & (values <= most)
    return np.asarray(inside | ~truth["is_lens"].to_numpy(bool))


def passed_by(
    logits: NDArray[np.floating], truth: pd.DataFrame, cuts: dict[str, float]
) -> pd.DataFrame:
    """Share above each threshold, by kind and by bins of what lenses were drawn from.

    Parameters
    ----------
    logits : ndarray, shape (n,)
    truth : DataFrame
    cuts : dict of str to float
        Thresholds by name.

    Returns
    -------
    DataFrame
        `by`, `value`, `n`, and for each threshold its share and Wilson's 95 % interval:
        `<name>`, `<name>_low`, `<name>_high`.
    """
    lenses = truth[truth["is_lens"].to_numpy(bool)]
    groups: list[tuple[str, str, NDArray[np.int64]]] = [
        ("kind", str(kind), np.asarray(rows)) for kind, rows in _positions(truth["kind"], truth)
    ]
    for column, edges in BINS.items():
        if column in truth:
            groups += [
                (column, str(name), rows)
                for name, rows in _positions(
                    pd.cut(lenses[column], edges, labels=_names(edges)), truth
                )
            ]
    rows = []
    for by, value, members in groups:
        row: dict[str, str | int | float] = {"by": by, "value": value, "n": len(members)}
        for name, cut in cuts.items():
            passed = int((logits[members] > cut).sum())
            row[name] = passed / len(members)
            row[f"{name}_low"], row[f"{name}_high"] = binomial_interval(passed, len(members))
        rows.append(row)
    return pd.DataFrame(rows)


def _names(edges: tuple[float, ...]) -> list[str]:
    return [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]


def _positions(keys: pd.Series, truth: pd.DataFrame) -> list[tuple[object, NDArray[np.int64]]]:
    """Groups of a column, each with the positions of its rows in the whole table."""
    return [
        (key, truth.index.get_indexer(rows.index))
        for key, rows in keys.groupby(keys, observed=True)
    ]
