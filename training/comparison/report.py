"""A comparison as a page: all finders, the thesis' tables beside ours, and what was not run."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from lensweep.catalogs.tables import write_frame
from lensweep.scanner.lenses.grade_table import THESIS
from lensweep.training.comparison.fields import read_counted
from lensweep.training.comparison.finders import FINDERS, THESIS_NAMES
from lensweep.training.comparison.plots import draw_finders
from lensweep.training.comparison.run import Comparison
from lensweep.training.comparison.sheets import draw_augmented, draw_classes
from lensweep.training.comparison.tables import finder_table, thesis_table_5_1, thesis_table_5_2
from lensweep.training.evaluation.report import RATE_WORDS, RESULTS, rate_words, table_lines
from lensweep.training.published.stamps import Stamps
from lensweep.training.published.thesis import MIDDLES

# What the thesis says of full training and of random beginnings: ROC AUC below that.
_OVERFITTED = 0.7
# Of two networks one always ranks as the thesis says or against it.
_LEAST_RANKED = 3


def write_comparison(comparison: Comparison, originals: Stamps, out: Path, seed: int) -> Path:
    """Write everything about a comparison into its folder.

    `results.md`; `finders.parquet`, `table_5_1.parquet` and `table_5_2.parquet`; `finders.png`;
    `figure_5_1.png` and `figure_5_2.png`, sheets of samples.

    Parameters
    ----------
    comparison : Comparison
        With scores of one finder at least.
    originals : Stamps
        The labelled set as it is, of which samples are drawn.
    out : Path
    seed : int
        Of the samples.

    Returns
    -------
    Path
        `results.md`.
    """
    finders = finder_table(comparison, read_counted(out, list(comparison.scores)))
    networks, graded = thesis_table_5_1(comparison), thesis_table_5_2(comparison)
    for name, table in (("finders", finders), ("table_5_1", networks), ("table_5_2", graded)):
        write_frame(table, out / f"{name}.parquet")
    draw_finders(comparison, finders, out / "finders.png")
    draw_classes(originals, out / "figure_5_1.png", seed)
    draw_augmented(originals, out / "figure_5_2.png", seed)
    labels = comparison.stamps.labels
    lines = [
        "# Published finders on the same folds", "",
        f"{int(labels.sum()):,} lenses and {int((~labels).sum()):,} others in "
        f"{comparison.folds.max() + 1} folds; held-out folds together. Intervals are of 95 %, with "
        "lenses and others resampled; a rate is left out where less than one false positive would "
        "make it. Times are ratios to LensFlow's, on this machine.", "",
        *_finder_lines(finders), "", *_missing_lines(comparison), "",
        "![Finders](finders.png)", "",
        "## The thesis' Table 5-1", "", *_network_lines(networks), "", *claim_lines(networks), "",
    ]  # fmt: skip
    if len(graded):
        lines += ["## The thesis' Table 5-2", "", *graded_lines(graded), ""]
    lines += ["## The thesis' Figures 5-1 and 5-2", "",
              "![Lenses in green, others in red](figure_5_1.png)",
              "![Augmented, with labels](figure_5_2.png)"]  # fmt: skip
    page = out / RESULTS
    page.write_text("\n".join(lines) + "\n")
    return page


def _finder_lines(table: pd.DataFrame) -> list[str]:
    rows = [
        (
            row["finder"], row["source"], f"{row['folds']}", _number(row["epochs"], "{:.0f}"),
            _number(row["learning_rate"], "{:g}"),
            _area(row), f"{row['f1']:.3f}",
            *(rate_words(row, name) for name in RATE_WORDS),
            _counted(row),
            _share(row["real_lenses"], row["n_real_lenses"]),
            _share(row["real_others"], row["n_real_others"]),
            _size(row["parameters"]), _number(row["fit_ratio"], "{:.3g}"),
            _number(row["rate_ratio"], "{:.3g}"),
        )
        for row in table.to_dict("records")
    ]  # fmt: skip
    header = ("finder", "whose", "folds", "passes", "learning rate", "ROC AUC, ± of folds", "F1",
              *RATE_WORDS.values(), "false candidates per deg²", "real lenses above 1 %",
              "real others above 1 %", "parameters", "training time", "cutouts/s")  # fmt: skip
    return table_lines(header, rows)


def _counted(row: dict[Hashable, Any]) -> str:
    if not np.isfinite(row["false_per_deg2"]):
        return ""
    low, high = row["false_per_deg2_low"], row["false_per_deg2_high"]
    return f"{row['false_per_deg2']:,.0f} ({low:,.0f}-{high:,.0f})"


def _missing_lines(comparison: Comparison) -> list[str]:
    """Which finders have not been run in full, and how they are."""
    n_folds = int(comparison.folds.max()) + 1
    missing = [name for name in FINDERS if len(comparison.scores.get(name, {})) < n_folds]
    if not missing:
        return ["All finders were run on all folds."]
    return [
        f"Not run on all folds: {', '.join(missing)}. The same command goes on with each that is "
        "named with `--finders NAME`, and `--weights BACKBONE=FILE` where Keras cannot download."
    ]


def _network_lines(table: pd.DataFrame) -> list[str]:
    rows = [
        (
            row["model"], row["middle"], f"{row['folds']}" if row["folds"] else "not run",
            _size(row["parameters"]), _percent(row["roc_auc"], row["roc_auc_std"]),
            _percent(row["f1"], row["f1_std"]),
            *(_number(row[f"thesis_{name}"] * scale, form) for name, scale, form in (
                ("parameters", 1e-6, "{:.0f}M"), ("roc_auc", 100.0, "{:.2f}%"),
                ("f1", 100.0, "{:.2f}%"))),
        )
        for row in table.to_dict("records")
    ]  # fmt: skip
    header = ("model", "intermediate layers", "folds", "parameters", "ROC AUC", "F1-score",
              "thesis: parameters", "thesis: ROC AUC", "thesis: F1-score")  # fmt: skip
    note = (
        "Mean ± standard deviation over the folds. The thesis' figures are of frozen layers, of "
        "other data, and augmented before the split."
    )
    return [note, "", *table_lines(header, rows)]


def claim_lines(table: pd.DataFrame) -> list[str]:
    """What the thesis concludes of Table 5-1, and whether these numbers say so.

    Parameters
    ----------
    table : DataFrame
        As `lensweep.training.comparison.tables.thesis_table_5_1`.
    """
    run = table[table["folds"] > 0].set_index(["middle", "model"])
    lines = []
    for other in MIDDLES[1:]:
        both = [
            (model, run.loc[(MIDDLES[0], model)], run.loc[(other, model)])
            for model in table["model"].unique()
            if {(MIDDLES[0], model), (other, model)} <= set(run.index)
        ]
        if both:
            better = [(model, frozen["roc_auc"] > row["roc_auc"], f"{_area(frozen)} against ", row)
                      for model, frozen, row in both]  # fmt: skip
            lines.append(_claim(f"frozen layers do better than {other} ones", better))
        low = [(model, row["roc_auc"] < _OVERFITTED, "", row)
               for (middle, model), row in run.iterrows() if middle == other]  # fmt: skip
        if low:
            lines.append(_claim(f"ROC AUC of {other} layers is below {_OVERFITTED}", low))
    for middle, rows in run.groupby("middle", sort=False):
        lines.append(_size_claim(str(middle), rows))
    return lines or ["Nothing of what the thesis concludes can be told from the rows so far."]


def _size_claim(middle: str, rows: pd.DataFrame) -> str:
    """Whether few parameters are best, by how networks of one kind rank in both.

    Kendall's tau, and by how many of all orders it would be as far from 0 (exact).
    """
    said = "* the fewer parameters, the better: "
    if len(rows) < _LEAST_RANKED:
        return f"{said}cannot be told of {len(rows)} with {middle} layers"
    tau, chance = kendalltau(rows["parameters"], rows["roc_auc"], method="exact")
    return (
        f"{said}rank correlation of both (Kendall's tau) {tau:+.2f}, p = {chance:.2f}, over "
        f"{len(rows)} networks with {middle} layers, where the thesis has -1 over six with frozen "
        "ones"
    )


def _claim(words: str, found: list[tuple[str, bool, str, pd.Series]]) -> str:
    """One conclusion, and for which networks it holds, by which areas."""
    said = ", ".join(f"{model} {'yes' if holds else 'no'} ({before}{_area(row)})"
                     for model, holds, before, row in found)  # fmt: skip
    return f"* {words}: {said}"


def _area(row: pd.Series | dict[Hashable, Any]) -> str:
    """An area, and how single folds differ."""
    return f"{row['roc_auc']:.3f}{_number(row['roc_auc_std'], ' ± {:.3f}')}"


def graded_lines(table: pd.DataFrame) -> list[str]:
    """Table 5-2 in the thesis' form, its figures beside ours, and the other finders in the same.

    Parameters
    ----------
    table : DataFrame
        As `lensweep.training.comparison.tables.thesis_table_5_2`.
    """
    ours = dict(zip(table["group"], table["n"], strict=True))
    cells = {
        (row["finder"], row["group"]): _chance(row["mean"], row["std"])
        for row in table.to_dict("records")
    }
    published = {f"thesis: {name}": _in_the_thesis(grades) for name, grades in THESIS.items()}
    networks = [name for name in table["finder"].unique() if name in THESIS_NAMES]
    others = [name for name in table["finder"].unique() if name not in THESIS_NAMES]
    # A grade that our images do not have is a row of the thesis' figures alone.
    grades = list(dict.fromkeys([*ours, *(g for of_one in published.values() for g in of_one)]))
    lines = [
        "The thesis has the 92 candidates of LensFlow here, by grade; these are the images of the "
        "manifest, by its grades or labels."
    ]
    for names, beside, groups in ((networks, published, grades), (others, {}, list(ours))):
        rows = [
            (
                f"{group} ({ours[group]})" if group in ours else group,
                *(cells.get((name, group), "") for name in names),
                *(of_one.get(group, "") for of_one in beside.values()),
            )
            for group in groups
        ]
        header = ("predicted probability, mean ± std dev", *names, *beside)
        lines += ["", *table_lines(header, rows)] if names else []
    return lines


def _in_the_thesis(grades: dict[str, tuple[float, float]]) -> dict[str, str]:
    return {grade: _chance(*chance) for grade, chance in grades.items()}


def _chance(mean: float, std: float) -> str:
    return f"{mean:.3f}{_number(std, ' ± {:.3f}')}"


def _number(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else ""


def _percent(mean: float, std: float) -> str:
    if not np.isfinite(mean):
        return ""
    return f"{100.0 * mean:.2f}" + (f" ± {100.0 * std:.2f}%" if np.isfinite(std) else "%")


def _share(part: float, whole: float) -> str:
    return f"{part:.3g} of {whole:.0f}" if whole else ""


def _size(parameters: float) -> str:
    if not np.isfinite(parameters):
        return ""
    return f"{parameters / 1e6:.1f}M" if parameters >= 1e5 else f"{parameters:,.0f}"
