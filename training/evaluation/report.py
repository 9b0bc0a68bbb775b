"""Results as files: Markdown to read, Parquet to go on with, pictures to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lensweep.catalogs.tables import write_frame
from lensweep.training.evaluation.result_plots import draw_curves, draw_roc
from lensweep.training.evaluation.result_tables import (
    ENSEMBLE,
    RATES,
    Evaluation,
    fold_table,
    passed_table,
    pooled_table,
    score_table,
    thesis_table,
)

RESULTS = "results.md"
RATE_WORDS = {
    f"tpr_at_{RATES[0]}": "TPR at FPR 1 %",
    f"tpr_at_{RATES[1]}": "TPR at FPR 0.1 %",
    "tpr_before_first": "TPR before the 1st false positive",
    "tpr_before_tenth": "before the 10th",
}


def write_report(evaluation: Evaluation, out: Path, curves: pd.DataFrame | None = None) -> Path:
    """Write everything about an evaluation into a folder.

    `results.md`; `scores.parquet` (ensemble and members, with and without cuts), `folds.parquet`,
    `pooled.parquet` (out of fold), `passed.parquet` (by kind and parameter), `table_5_1.parquet`;
    `roc.png`, and `learning_curves.png` where there are curves.

    Parameters
    ----------
    evaluation : Evaluation
    out : Path
    curves : DataFrame, optional
        As `read_curves`.

    Returns
    -------
    Path
        `results.md`.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        "scores": score_table(evaluation),
        "folds": fold_table(evaluation.description),
        "pooled": pooled_table(evaluation.description),
        "passed": passed_table(evaluation),
        "table_5_1": thesis_table([evaluation.description]),
    }
    for name, table in tables.items():
        write_frame(table, out / f"{name}.parquet")
    draw_roc(evaluation, out / "roc.png")
    pictures = ["![ROC](roc.png)"]
    if curves is not None and len(curves):
        draw_curves(curves, out / "learning_curves.png")
        pictures.append("![Learning curves](learning_curves.png)")
    page = out / RESULTS
    page.write_text("\n".join([*_page(evaluation, tables), *pictures]) + "\n")
    return page


def read_curves(workdir: Path) -> pd.DataFrame:
    """The learning curves that a training kept.

    Returns
    -------
    DataFrame
        `stage`, `member`, `epoch`, `loss`, `held_out_loss`, `held_out_auc`.
    """
    parts = [
        pd.read_parquet(path).assign(stage="adapting", member=path.parent.name)
        for path in sorted((workdir / "adapting").glob("*/curve.parquet"))
    ]
    screen = workdir / "screen" / "screen-curve.parquet"
    if screen.is_file():
        parts.append(pd.read_parquet(screen).assign(stage="screen", member=""))
    parts += [
        pd.read_parquet(path).assign(stage="heads", member=path.stem)
        for path in sorted((workdir / "folds").glob("member-*.parquet"))
    ]
    columns = ["stage", "member", "epoch", "loss", "held_out_loss", "held_out_auc"]
    return pd.concat(parts).reindex(columns=columns) if parts else pd.DataFrame()


def _page(evaluation: Evaluation, tables: dict[str, pd.DataFrame]) -> list[str]:
    description, labels = evaluation.description, evaluation.labels
    lines = [
        f"# {description.name} on {evaluation.data}", "",
        f"{int(labels.sum()):,} lenses and {int((~labels).sum()):,} others. Intervals are of 95 %, "
        "with lenses and others resampled; cuts: Einstein radius 0.5 to 2.5 arcsec, unlensed "
        "source to 25.5 mag. A rate is left out where less than one false positive would make "
        "it.", "",
        *_score_lines(tables["scores"]), "",
    ]  # fmt: skip
    if len(tables["folds"]):
        lines += ["## Out of fold", "", *_fold_lines(tables["folds"], tables["pooled"]), ""]
    lines += _leak_lines(description.training)
    lines += ["## The thesis' Table 5-1", "", *_thesis_lines(tables["table_5_1"]), ""]
    lines += ["## What passes", "", "Thresholds that 1 % and 0.1 % of these non-lenses pass.", ""]
    return [*lines, *_passed_lines(tables["passed"]), ""]


def _score_lines(scores: pd.DataFrame) -> list[str]:
    rows = []
    for cuts, of_set in scores.groupby("cuts"):
        suffix = ", with cuts" if cuts else ""
        ensemble = of_set[of_set["scorer"] == ENSEMBLE].iloc[0]
        members = of_set[of_set["scorer"] != ENSEMBLE]
        rows.append((f"ensemble{suffix}", *_figures(ensemble), f"{ensemble['n_lenses']:,}"))
        spread = [
            _spread(members[name].mean(), members[name].std(ddof=min(1, len(members) - 1)))
            for name in ("roc_auc", "f1", *RATE_WORDS)
        ]
        rows.append((f"members, mean ± std{suffix}", *spread, f"{ensemble['n_lenses']:,}"))
        by = f"tpr_at_{RATES[1]}"
        best = members.loc[members[by if members[by].notna().any() else "roc_auc"].idxmax()]
        rows.append((f"best member ({best['scorer']}){suffix}", *_figures(best),
                     f"{best['n_lenses']:,}"))  # fmt: skip
    return table_lines(("scores", "ROC AUC", "F1", *RATE_WORDS.values(), "lenses"), rows)


def _figures(row: pd.Series) -> list[str]:
    rates = (rate_words(row, name) for name in RATE_WORDS)
    return [f"{row['roc_auc']:.4f}", f"{row['f1']:.3f}", *rates]


def rate_words(row: Mapping[Any, Any], name: str) -> str:
    """A rate and its interval; nothing where there are too few non-lenses to tell it."""
    if not np.isfinite(row[name]):
        return ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}" + (f" ({low:.3f}-{high:.3f})" if np.isfinite(low) else "")


def _spread(mean: float, std: float) -> str:
    return f"{mean:.3f} ± {std:.3f}" if np.isfinite(mean) else ""


def _fold_lines(folds: pd.DataFrame, pooled: pd.DataFrame) -> list[str]:
    rows = [
        ("all", "together" + (", with cuts" if row["cuts"] else ""), *_figures(row))
        for _, row in pooled.iterrows()
    ]
    for row in folds.to_dict("records"):
        plain = row["fold"] in ("mean", "std")
        values = [f"{row[name]:.4f}" for name in ("roc_auc", "f1")]
        values += [_shown(row[n], "{:.3f}") if plain else rate_words(row, n) for n in RATE_WORDS]
        rows.append((row["backbone"], row["fold"], *values))
    return table_lines(("trunk", "fold", "ROC AUC", "F1", *RATE_WORDS.values()), rows)


def _thesis_lines(table: pd.DataFrame) -> list[str]:
    rows = [
        (
            row["model"], _shown(row["our_parameters_millions"], "{:.1f}M"),
            _percent(row["our_roc_auc"], row["our_roc_auc_std"]),
            _percent(row["our_f1"], row["our_f1_std"]), row["our_protocol"],
            _shown(row["parameters_millions"], "{:.0f}M"),
            _shown(100.0 * row["roc_auc"], "{:.2f}%"), _shown(100.0 * row["f1"], "{:.2f}%"),
        )
        for row in table.to_dict("records")
    ]  # fmt: skip
    header = ("model", "parameters", "ROC AUC", "F1-score", "how", "thesis: parameters",
              "thesis: ROC AUC", "thesis: F1-score")  # fmt: skip
    note = (
        "Mean ± standard deviation over the folds, on other data than the thesis'; parameters with "
        "the dense layers for ImageNet on top, as there."
    )
    return [note, "", *table_lines(header, rows)]


def _percent(mean: float, std: float) -> str:
    return f"{100.0 * mean:.2f} ± {100.0 * std:.2f}%" if np.isfinite(mean) else ""


def _shown(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else ""


def _leak_lines(training: dict[str, Any]) -> list[str]:
    """What leaks, of one training or of each that was merged; nothing where nothing does."""
    merged = training.get("merged", {})
    leaks = [("", training)] if not merged else [(f"{name}: ", one) for name, one in merged.items()]
    lines = []
    for name, one in leaks:
        if one.get("leak"):
            lines += [f"* {name}{line}" for line in _leak_sentences(one["leak"])]
    return ["## Leak", "", *lines, ""] if lines else []


def _leak_sentences(leak: dict[str, Any]) -> list[str]:
    share = leak["held_out_with_a_copy_in_training"]
    lines = [
        f"augmented first, split after: {share:.1%} of the held-out cutouts have a copy of the "
        "same object in training; the out-of-fold numbers above are flattered by that"
    ]
    for name in ("leaking", "grouped"):
        values = leak.get(name)
        if isinstance(values, dict):
            lines.append(
                f"{name} folds: ROC AUC {values['roc_auc']:.4f}, F1 {values['f1']:.3f}, TPR at "
                f"FPR 1 % {values['tpr_at_fpr']['0.01']:.3f}"
            )
    return lines


def _passed_lines(passed: pd.DataFrame) -> list[str]:
    names = [f"above_{rate}" for rate in RATES]
    rows = [
        (
            row["by"], row["value"], f"{row['n']:,}",
            *(f"{row[n]:.3f} ({row[f'{n}_low']:.3f}-{row[f'{n}_high']:.3f})" for n in names),
        )
        for row in passed.to_dict("records")
    ]  # fmt: skip
    return table_lines(("by", "value", "n", "above 1 %", "above 0.1 %"), rows)


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (header, ("---",) * len(header), *rows)]
