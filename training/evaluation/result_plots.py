"""Results as pictures: ROC with a logarithmic axis, and learning curves."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from lensweep.ground.figures import picture
from lensweep.training.evaluation.result_tables import Evaluation
from lensweep.training.fit.metrics import within_cuts

_ENSEMBLE, _CUTS, _MEMBER, _GUIDE = "#15171a", "#c8553d", "#3b6ea5", "#9aa3ad"


def draw_roc(evaluation: Evaluation, path: Path) -> None:
    """Draw true-positive rate against false-positive rate, for the ensemble and each member."""
    with picture(path, (7.0, 5.2)) as figure:
        _draw_rates(figure.subplots(), evaluation)


def _draw_rates(panel: Axes, evaluation: Evaluation) -> None:
    labels, inside = evaluation.labels, within_cuts(evaluation.truth)
    least = 0.5 / max(1, int((~labels).sum()))
    for number, logits in enumerate(np.asarray(evaluation.logits).T):
        _curve(panel, logits, labels, least, _MEMBER, 0.8, "members" if number == 0 else None)
    ensemble = evaluation.ensemble
    if labels[inside].any() and not inside.all():
        label = "ensemble; θ_E 0.5-2.5″, source to 25.5 mag"
        _curve(panel, ensemble[inside], labels[inside], least, _CUTS, 2.0, label)
    _curve(panel, ensemble, labels, least, _ENSEMBLE, 2.0, "ensemble, all lenses")
    for rate in (1e-2, 1e-3):
        if rate > least:
            panel.axvline(rate, color=_GUIDE, linestyle=":", linewidth=1.0, zorder=0)
    panel.set_xscale("log")
    panel.set_xlim(least, 1.0)
    panel.set_ylim(0.0, 1.01)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel("false-positive rate")
    panel.set_ylabel("true-positive rate")
    panel.set_title(
        f"{evaluation.description.name}: {int(labels.sum()):,} lenses, "
        f"{int((~labels).sum()):,} others", fontsize=11, parse_math=False,
    )  # fmt: skip
    panel.grid(color="#e6e8ea", linewidth=0.6, zorder=0)
    panel.legend(loc="lower right", fontsize=9, framealpha=1.0)


def _curve(
    panel: Axes,
    logits: NDArray[np.floating],
    labels: NDArray[np.bool_],
    least: float,
    color: str,
    width: float,
    label: str | None,
) -> None:
    false_rate, true_rate, _ = roc_curve(labels, logits)
    # What comes before the first false positive belongs at the left edge of a logarithmic axis.
    panel.plot(
        np.maximum(false_rate, least), true_rate, color=color, linewidth=width, label=label,
        drawstyle="steps-post", zorder=3 if width > 1.0 else 2,
    )  # fmt: skip


def draw_curves(curves: pd.DataFrame, path: Path) -> None:
    """Draw learning curves: the loss while trunks adapt, and every head's on its held-out part.

    Parameters
    ----------
    curves : DataFrame
        As `lensweep.training.evaluation.report.read_curves`.
    path : Path
    """
    stages = list(dict.fromkeys(curves["stage"]))
    heads = [name for name in stages if name == "heads"]
    panels_needed = len(stages) + len(heads)
    with picture(path, (4.4 * panels_needed, 3.8)) as figure:
        panels = iter(figure.subplots(1, panels_needed, squeeze=False)[0])
        for stage in stages:
            rows = curves[curves["stage"] == stage]
            panel = next(panels)
            _losses(panel, rows)
            panel.set_title(stage, fontsize=11, parse_math=False)
            if stage == "heads":
                _held_out(next(panels), rows)


def _held_out(panel: Axes, rows: pd.DataFrame) -> None:
    for _, of_member in rows.groupby("member"):
        panel.plot(of_member["epoch"], of_member["held_out_auc"], color=_MEMBER, lw=1.0)
    panel.set_title("heads, held-out part", fontsize=11)
    panel.set_xlabel("epoch")
    panel.set_ylabel("ROC AUC")
    panel.grid(color="#e6e8ea", linewidth=0.6)


def _losses(panel: Axes, rows: pd.DataFrame) -> None:
    kinds = (("loss", _MEMBER, "training"), ("held_out_loss", _CUTS, "held out"))
    for column, color, label in kinds:
        for number, (_, of_member) in enumerate(rows.groupby("member")):
            if of_member[column].notna().any():
                panel.plot(
                    of_member["epoch"], of_member[column], color=color, lw=1.0, marker=".",
                    markersize=3,
                    label=label if number == 0 else None,
                )  # fmt: skip
    panel.set_xlabel("epoch")
    panel.set_ylabel("cross-entropy")
    panel.grid(color="#e6e8ea", linewidth=0.6)
    panel.legend(fontsize=9)
