"""How the scores of a graded list are shown: a page of Markdown, and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lensweep.ground.figures import picture
from lensweep.scanner.lenses.grade_table import CONFIDENCE, CONTROL, FOUND, THESIS
from lensweep.scanner.lenses.grades_request import LENSFLOW
from lensweep.scanner.lenses.grading import GradedScores

_UNCOVERED_SHOWN = 200
_POINT, _MEAN, _THESIS = "#3b6ea5", "#15171a", "#c8553d"


@dataclass(frozen=True)
class GradeReport:
    """Scores of a graded list and what they come to.

    Attributes
    ----------
    scores : GradedScores
    summary : DataFrame
        As `lensweep.scanner.lenses.grade_table.summarise_grades`.
    correlations : DataFrame
        As `lensweep.scanner.lenses.grade_table.rank_correlations`.
    scheme : str
        Whose grades they are.
    facts : dict of str to str
        Ensemble, list, seed: what the files say of themselves.
    """

    scores: GradedScores
    summary: pd.DataFrame
    correlations: pd.DataFrame
    scheme: str
    facts: dict[str, str]


def markdown(report: GradeReport) -> str:
    """The report as Markdown."""
    lines = [
        "# Scores by grade",
        "",
        *_facts(report),
        "",
        *_summary(report.summary),
        "",
        "Spearman's correlation of mean logit and grade (positive: better grades score higher)",
        "",
        *_correlations(report.correlations),
        "",
        *(_published() if report.facts["list"] == LENSFLOW else ()),
        *_uncovered(report.scores.lenses),
    ]
    return "\n".join(lines) + "\n"


def _facts(report: GradeReport) -> list[str]:
    lenses, control = report.scores.lenses, report.scores.control
    return [
        *(f"* {key}: {value}" for key, value in report.facts.items()),
        f"* grades: {report.scheme}",
        f"* {int(lenses['covered'].sum())} of {len(lenses)} listed lenses covered;"
        f" {len(control)} random windows",
        f"* found: mean probability of the members of {FOUND:g} or more; interval:"
        f" {CONFIDENCE:.0%}, bootstrap; std: of the sample",
    ]


def _summary(summary: pd.DataFrame) -> list[str]:
    published = bool(summary["thesis_mean"].notna().any())
    header = ("scorer", "grade", "found", "scored", "listed", "mean", "std", "median",
              "interval of the mean", "random windows above the median")  # fmt: skip
    rows = [(*_summary_row(row), *[_thesis(row)] * published) for _, row in summary.iterrows()]
    return _table((*header, *["thesis"] * published), rows)


def _correlations(correlations: pd.DataFrame) -> list[str]:
    rows = [
        (row["scorer"], f"{row['n']}", _number(row["spearman"], "+.3f"),
         _number(row["p_value"], ".2g"))
        for _, row in correlations.iterrows()
    ]  # fmt: skip
    return _table(("scorer", "n", "rho", "p"), rows)


def _published() -> list[str]:
    """What the thesis found for the same list; of another list's grades it says nothing."""
    rows = [
        (grade, *("{:.3f} ± {:.3f}".format(*row[grade]) for row in THESIS.values()))
        for grade in ("A", "B", "C")
    ]
    return [
        "Table 5-2 of the thesis, on LensFlow's own grades A, B, C (mean ± standard deviation)",
        "",
        *_table(("grade", *THESIS), rows),
        "",
    ]


def draw_grades(report: GradeReport, path: Path) -> None:
    """Draw every lens' score by grade, a panel per scorer; written aside and renamed."""
    names = report.scores.scorers
    with picture(path, (4.2 * len(names), 4.8)) as figure:
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for panel, scorer in zip(panels, names, strict=True):
            _draw_scorer(panel, report, scorer)
        panels[0].set_ylabel("mean probability of the members")
        keys: dict[str, Any] = {}
        for panel in panels:
            handles, labels = panel.get_legend_handles_labels()
            keys |= dict(zip(labels, handles, strict=True))
        # Below the panels, where it hides no lens.
        figure.legend(
            list(keys.values()), list(keys), loc="outside lower center", ncols=2, fontsize=8
        )
        figure.suptitle(f"grades: {report.scheme}", fontsize=9, parse_math=False)


def _draw_scorer(panel: Axes, report: GradeReport, scorer: str) -> None:
    rows = report.summary[report.summary["scorer"] == scorer].reset_index(drop=True)
    lenses, rng = report.scores.lenses, np.random.default_rng(0)
    for place, row in rows.iterrows():
        sky = row["grade"] == CONTROL
        table = report.scores.control if sky else lenses[lenses["grade"] == row["grade"]]
        values = table[f"p_{scorer}"].dropna().to_numpy()
        spread = place + rng.uniform(-0.28, 0.28, len(values))
        panel.plot(spread, values, ".", color="#9aa3ad" if sky else _POINT,
                   markersize=2 if sky else 5, alpha=0.6, zorder=1)  # fmt: skip
        if row["n_scored"]:
            ends = [row["mean"] - row["mean_low"], row["mean_high"] - row["mean"]]
            ends = [[end] for end in np.nan_to_num(ends)]
            panel.errorbar(place, row["mean"], ends, fmt="D", color=_MEAN, capsize=4, zorder=3,
                           markersize=5, label="mean and its interval")  # fmt: skip
        if np.isfinite(row["thesis_mean"]):
            panel.errorbar(place + 0.36, row["thesis_mean"], row["thesis_std"], fmt="s",
                           color=_THESIS, capsize=2, markersize=4, zorder=2,
                           label="thesis, ± standard deviation")  # fmt: skip
    panel.set_xticks(
        range(len(rows)), [f"{row['grade']}\n{row['n_scored']} of {row['n_listed']}"
                           for _, row in rows.iterrows()], parse_math=False,
    )  # fmt: skip
    panel.set_xlim(-0.6, len(rows) - 0.4)
    panel.set_ylim(-0.03, 1.03)
    panel.set_title(scorer, fontsize=11, parse_math=False)


def _summary_row(row: pd.Series) -> tuple[str, ...]:
    interval = f"{row['mean_low']:.3f} to {row['mean_high']:.3f}"
    return (
        row["scorer"], row["grade"], f"{row['n_found']}", f"{row['n_scored']}",
        f"{row['n_listed']}", _number(row["mean"], ".3f"), _number(row["std"], ".3f"),
        _number(row["median"], ".3f"), interval if np.isfinite(row["mean_low"]) else "",
        _number(row["control_above"], ".3f"),
    )  # fmt: skip


def _thesis(row: pd.Series) -> str:
    thesis = f"{row['thesis_mean']:.3f} ± {row['thesis_std']:.3f}"
    return thesis if np.isfinite(row["thesis_mean"]) else ""


def _uncovered(lenses: pd.DataFrame) -> list[str]:
    missing = lenses[~lenses["covered"]]
    shown = [
        f"* {row['known_name']}: RA {row['known_ra_deg']:.6f}, Dec {row['known_dec_deg']:.6f}, "
        + ("outside of the fields" if pd.isna(row["valid_fraction"])
           else f"valid fraction {row['valid_fraction']:.2f}")
        for _, row in missing.head(_UNCOVERED_SHOWN).iterrows()
    ]  # fmt: skip
    more = len(missing) - len(shown)
    return [f"Not covered: {len(missing)}", "", *shown, *([f"* and {more} more"] if more else [])]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = (header, ("---",) * len(header), *rows)
    return [f"| {' | '.join(line)} |" for line in lines]


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else ""
