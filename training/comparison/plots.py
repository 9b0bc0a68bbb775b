"""A comparison as pictures: ROC of all finders, and what their size is worth."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from sklearn.metrics import roc_curve

from lensweep.ground.figures import picture
from lensweep.training.comparison.run import Comparison
from lensweep.training.comparison.tables import pooled

_GUIDE, _GRID = "#9aa3ad", "#e6e8ea"


def draw_finders(comparison: Comparison, table: pd.DataFrame, path: Path) -> None:
    """Draw the ROC of every finder, and ROC AUC against the number of parameters.

    Parameters
    ----------
    comparison : Comparison
        With scores of one finder at least.
    table : DataFrame
        As `lensweep.training.comparison.tables.finder_table`.
    path : Path
    """
    names = list(comparison.scores)
    colors = dict(zip(names, matplotlib.colormaps["turbo"](np.linspace(0.05, 0.92, len(names))),
                      strict=True))  # fmt: skip
    with picture(path, (12.0, 5.2)) as figure:
        rates, sizes = figure.subplots(1, 2)
        for name in names:
            _draw_roc(rates, comparison, name, colors[name])
        _finish_rates(rates)
        for row in table.to_dict("records"):
            sizes.plot(row["parameters"], row["roc_auc"], "o", color=colors[row["finder"]])
            sizes.annotate(row["finder"], (row["parameters"], row["roc_auc"]), (5, 4),
                           textcoords="offset points", fontsize=8)  # fmt: skip
        sizes.set_xscale("log")
        # Room for the names.
        sizes.margins(0.3, 0.1)
        sizes.set_xlabel("parameters")
        sizes.set_ylabel("ROC AUC, held-out folds together")
        sizes.grid(color=_GRID, linewidth=0.6)


def _draw_roc(panel: Axes, comparison: Comparison, name: str, color: object) -> None:
    logits, labels = pooled(comparison, comparison.scores[name])
    false_rate, true_rate, _ = roc_curve(labels, logits)
    least = 0.5 / max(1, int((~labels).sum()))
    # What comes before the first false positive belongs at the left edge of a logarithmic axis.
    panel.plot(
        np.maximum(false_rate, least), true_rate, color=color, linewidth=1.6, label=name,
        drawstyle="steps-post",
    )  # fmt: skip


def _finish_rates(panel: Axes) -> None:
    for rate in (1e-2, 1e-3):
        panel.axvline(rate, color=_GUIDE, linestyle=":", linewidth=1.0, zorder=0)
    panel.set_xscale("log")
    panel.set_xlim(right=1.0)
    panel.set_ylim(0.0, 1.01)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel("false-positive rate")
    panel.set_ylabel("true-positive rate, held-out folds together")
    panel.grid(color=_GRID, linewidth=0.6)
    panel.legend(loc="upper left", fontsize=8, framealpha=1.0)
