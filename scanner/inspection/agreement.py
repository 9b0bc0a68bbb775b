"""What several graders say together: means, how far they agree, and how good each of them is."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from lensweep.scanner.inspection.blind import CANDIDATE, DUD, LENS, REPEAT
from lensweep.scanner.lenses.recall import binomial_interval

# A mean of grades counts in steps from not a lens to sure.
STEPS = {"X": 0, "C": 1, "B": 2, "A": 3}
LETTERS = {step: grade for grade, step in STEPS.items()}
# What a grader calls a lens: probable, or better.
CALLED = 2


@dataclass(frozen=True)
class Agreement:
    """What graders say of the same candidates.

    Attributes
    ----------
    candidates : DataFrame
        A row per candidate that somebody graded, by ``candidate_id``: ``grade`` (nearest to the
        mean), ``mean_grade`` (0 not a lens, 1 C, 2 B, 3 A), ``n_graders``, ``disagreement``
        (between the highest and the lowest grade, in steps), and ``grade_<name>`` of each grader.
    pairs : DataFrame
        A row per two graders: ``one``, ``other``, ``n`` candidates graded by both, Cohen's
        ``kappa`` and the one with ``linear`` weights; NaN where it is not defined.
    fleiss : float
        Fleiss' kappa of the candidates that all have graded; NaN where it is not defined.
    n_all : int
        Their number.
    graders : DataFrame
        A row per grader: ``grader``, ``n`` candidates graded, and of blind pages how many of how
        many, with an interval: ``found``, ``of_lenses`` (planted lenses called B or A),
        ``called``, ``of_duds`` (galaxies that are none called B or A), ``same``, ``of_repeats``
        (candidates shown twice given one grade).
    """

    candidates: pd.DataFrame
    pairs: pd.DataFrame
    fleiss: float
    n_all: int
    graders: pd.DataFrame


def compare(graders: Sequence[str], rows: Sequence[pd.DataFrame]) -> Agreement:
    """Compare graders.

    Parameters
    ----------
    graders : sequence of str
        Names, all different.
    rows : sequence of DataFrame
        Of each: ``candidate_id``, ``grade`` (empty for none) and ``what`` the row was
        (`lensweep.scanner.inspection.blind`).
    """
    graded = {
        name: one[(one["what"] == CANDIDATE) & (one["grade"] != "")].set_index("candidate_id")
        for name, one in zip(graders, rows, strict=True)
    }
    steps = pd.DataFrame({name: one["grade"].map(STEPS) for name, one in graded.items()})
    everybody = steps.dropna()
    return Agreement(
        _means(steps), _pairs(steps), fleiss_kappa(everybody.to_numpy(np.int64)), len(everybody),
        pd.DataFrame([_grader(name, one) for name, one in zip(graders, rows, strict=True)]),
    )  # fmt: skip


def fleiss_kappa(steps: NDArray[np.int64]) -> float:
    """Fleiss' kappa (Fleiss 1971, Psychological Bulletin 76, 378, equations 1 to 7).

    Parameters
    ----------
    steps : ndarray, shape (subjects, graders), int
        Values of `STEPS`.

    Returns
    -------
    float
        NaN with fewer than two graders, without subjects, or where all gave one grade.
    """
    n_subjects, n_graders = steps.shape
    if n_subjects == 0 or n_graders < 2:
        return float("nan")
    counts = (steps[:, :, None] == np.array(list(STEPS.values()))).sum(axis=1)
    agreed = ((counts**2).sum(axis=1) - n_graders) / (n_graders * (n_graders - 1))
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return float((agreed.mean() - chance) / (1.0 - chance)) if chance < 1.0 else float("nan")


def cohen_kappa(one: NDArray[np.int64], other: NDArray[np.int64], weights: str | None) -> float:
    """Cohen's kappa (Cohen 1960; weighted: 1968); NaN where both gave one and the same grade."""
    if len(set(one.tolist()) | set(other.tolist())) < 2:
        return float("nan")
    return float(cohen_kappa_score(one, other, labels=sorted(LETTERS), weights=weights))


def _means(steps: pd.DataFrame) -> pd.DataFrame:
    mean = steps.mean(axis=1)
    # Halves go up: between B and C it is a B.
    letters = np.floor(mean + 0.5).map(LETTERS)
    table = pd.DataFrame({
        "grade": letters, "mean_grade": mean, "n_graders": steps.notna().sum(axis=1),
        "disagreement": steps.max(axis=1) - steps.min(axis=1),
    })  # fmt: skip
    letter_of = LETTERS | {None: ""}
    given = {
        f"grade_{name}": [letter_of[None if np.isnan(step) else step] for step in steps[name]]
        for name in steps
    }
    return table.assign(**given).rename_axis("candidate_id").reset_index()


def _pairs(steps: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for one, other in itertools.combinations(steps.columns, 2):
        both = steps[[one, other]].dropna().to_numpy(np.int64).T
        kappas = [cohen_kappa(both[0], both[1], weights) for weights in (None, "linear")]
        rows.append((one, other, both.shape[1], *kappas))
    return pd.DataFrame(rows, columns=["one", "other", "n", "kappa", "linear"])


def _grader(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    graded = rows[rows["grade"] != ""].assign(step=lambda one: one["grade"].map(STEPS))
    lenses, duds = (graded[graded["what"] == what]["step"] for what in (LENS, DUD))
    shown = graded[graded["what"] == CANDIDATE].set_index("candidate_id")["step"]
    again = graded[graded["what"] == REPEAT].set_index("candidate_id")["step"]
    twice = again.index.intersection(shown.index)
    same = int((again[twice] == shown[twice]).sum())
    return {
        "grader": name, "n": len(shown),
        **_share("found", int((lenses >= CALLED).sum()), "of_lenses", len(lenses)),
        **_share("called", int((duds >= CALLED).sum()), "of_duds", len(duds)),
        **_share("same", same, "of_repeats", len(twice)),
    }  # fmt: skip


def _share(name: str, count: int, of_name: str, of: int) -> dict[str, Any]:
    low, high = binomial_interval(count, of)
    return {name: count, of_name: of, f"{name}_low": low, f"{name}_high": high}
