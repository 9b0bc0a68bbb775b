"""The thesis' Table 5-2 anew: how the scores of a graded list go with its grades. Numbers only."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lensweep.catalogs.grade_scales import GRADES
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.grading import GradedScores

CONTROL = "random field"
# A lens counts as found from this mean probability of the members on.
FOUND = 0.5
RESAMPLES = 5000
CONFIDENCE = 0.95
# Scales of grades, best first.
SCALES = (GRADES, ("confident", "probable"))
# Mean and standard deviation of the predicted probability by trunk and LensFlow grade: Table 5-2
# of the thesis that this implements.
THESIS = {
    "xception": {"A": (0.982, 0.041), "B": (0.618, 0.297), "C": (0.553, 0.336)},
    "inception": {"A": (0.872, 0.314), "B": (0.852, 0.290), "C": (0.639, 0.354)},
    "resnet": {"A": (0.767, 0.385), "B": (0.775, 0.356), "C": (0.657, 0.447)},
}


def grade_order(grades: Sequence[str]) -> tuple[str, ...]:
    """The grades of a list, best first.

    A list on a scale that is not known is taken in alphabetical order, best first.

    Raises
    ------
    InputError
        If there are no grades.
    """
    found = set(grades)
    if not found:
        raise InputError("the list has no grades: name one with a column grade")
    for scale in SCALES:
        if found <= set(scale):
            return tuple(grade for grade in scale if grade in found)
    return tuple(sorted(found))


def summarise_grades(scores: GradedScores, lensflow_letters: bool, seed: int) -> pd.DataFrame:
    """Describe the scores of every grade and of the random windows.

    Parameters
    ----------
    scores : GradedScores
    lensflow_letters : bool
        Whether the grades are LensFlow's own A, B, C, so that the thesis' numbers belong beside
        them.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        A row per scorer and grade, the random windows last: ``n_listed``, ``n_scored``,
        ``n_found`` (probability of `FOUND` or more), ``mean``, ``std`` (sample), ``median``,
        ``mean_low``, ``mean_high`` (percentile bootstrap, `CONFIDENCE`), ``control_above`` (share
        of random windows that reach the grade's median), ``thesis_mean``, ``thesis_std``.
    """
    graded = scores.lenses[scores.lenses["grade"].notna()]
    rng = np.random.default_rng(seed)
    rows = []
    for scorer in scores.scorers:
        sky = scores.control[f"p_{scorer}"].to_numpy(np.float64)
        for grade in grade_order(graded["grade"].tolist()):
            of_grade = graded[graded["grade"] == grade]
            values = of_grade.loc[of_grade["covered"], f"p_{scorer}"].to_numpy(np.float64)
            thesis = _thesis(scorer).get(grade) if lensflow_letters else None
            rows.append(
                {"scorer": scorer, "grade": grade, "n_listed": len(of_grade)}
                | _described(values, rng)
                | {"control_above": _share_above(sky, values)}
                | dict(zip(("thesis_mean", "thesis_std"), thesis or (np.nan, np.nan), strict=True))
            )
        rows.append(
            {"scorer": scorer, "grade": CONTROL, "n_listed": len(sky)} | _described(sky, rng)
        )
    return pd.DataFrame(rows)


def rank_correlations(scores: GradedScores) -> pd.DataFrame:
    """Spearman's correlation of score and grade; positive when better grades score higher.

    The score is the mean logit, which does not saturate as probabilities do.

    Returns
    -------
    DataFrame
        ``scorer``, ``n``, ``spearman`` and ``p_value`` (two-sided, asymptotic, ties averaged);
        NaN where fewer than three lenses, one grade or one score leave nothing to correlate.
    """
    graded = scores.lenses[scores.lenses["grade"].notna() & scores.lenses["covered"]]
    order = grade_order(scores.lenses["grade"].dropna().tolist())
    quality = -graded["grade"].map({grade: rank for rank, grade in enumerate(order)})
    rows = []
    for scorer in scores.scorers:
        values = graded[f"logit_{scorer}"].to_numpy(np.float64)
        rho = p_value = float("nan")
        if len(values) > 2 and quality.nunique() > 1 and len(np.unique(values)) > 1:
            rho, p_value = stats.spearmanr(values, quality.to_numpy(np.float64))
        rows.append({"scorer": scorer, "n": len(values), "spearman": rho, "p_value": p_value})
    return pd.DataFrame(rows)


def bootstrap_mean(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of a mean; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE,
        method="percentile", rng=rng,
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _described(values: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float | int]:
    low, high = bootstrap_mean(values, rng)
    return {
        "n_scored": len(values),
        "n_found": int((values >= FOUND).sum()),
        "mean": float(values.mean()) if len(values) else float("nan"),
        "std": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        "median": float(np.median(values)) if len(values) else float("nan"),
        "mean_low": low,
        "mean_high": high,
    }


def _share_above(sky: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    if not len(sky) or not len(values):
        return float("nan")
    return float((sky >= np.median(values)).mean())


def _thesis(scorer: str) -> dict[str, tuple[float, float]]:
    """The thesis' numbers for a trunk: its Inception and ResNet stand for any version of them."""
    return next((row for name, row in THESIS.items() if scorer.lower().startswith(name)), {})
