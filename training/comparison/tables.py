"""What a comparison comes to, as tables: all finders, and the thesis' Tables 5-1 and 5-2."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.training.comparison.finders import FINDERS, REFERENCE, thesis_name
from lensweep.training.comparison.kept import FoldScores
from lensweep.training.comparison.real_stamps import LENS, NONLENS
from lensweep.training.comparison.run import Comparison
from lensweep.training.evaluation.result_tables import PUBLISHED, flat
from lensweep.training.fit.metrics import measure, threshold
from lensweep.training.published.cascade import as_probabilities
from lensweep.training.published.thesis import MIDDLES, NETWORKS

# Faint or invisible in F814W by the account of those who found them with JWST: shown, not counted.
NOT_COUNTED = ("COSJ",)
_RATE = 0.01
_COUNTS = ("false_per_deg2", "false_per_deg2_low", "false_per_deg2_high")


def finder_table(
    comparison: Comparison, false_per_deg2: dict[str, tuple[float, float, float]]
) -> pd.DataFrame:
    """One row per finder that has a fold, over all of its folds together.

    Parameters
    ----------
    comparison : Comparison
    false_per_deg2 : dict of str to tuple
        Candidates on fields without lenses, and their interval, of the finders that were counted
        there.

    Returns
    -------
    DataFrame
        `finder`, `source`, `folds`, `epochs` and `learning_rate` (NaN for what has none), the
        columns of `lensweep.training.evaluation.result_tables.flat`, `roc_auc_std` over folds,
        `false_per_deg2` with its interval; `real_lenses`, `real_others`: above the score that 1 %
        of a fold's held-out non-lenses pass, the mean over folds, of `n_real_lenses` and
        `n_real_others`; `parameters`; `fit_s` and `scored_per_s`, means over folds, and `fit_ratio`
        and `rate_ratio`, these over LensFlow's.
    """
    rows = []
    for name, folds in comparison.scores.items():
        logits, labels = pooled(comparison, folds)
        rows.append(
            {
                "finder": name, "source": FINDERS[name].source, "folds": len(folds),
                **{key: comparison.parameters[name].get(key, np.nan)
                   for key in ("epochs", "learning_rate")},
                **flat(measure(logits, labels)),
                "roc_auc_std": _over_folds(comparison, folds)["roc_auc_std"],
                **dict(zip(_COUNTS, false_per_deg2.get(name, (np.nan,) * 3), strict=True)),
                **_on_real(comparison, folds),
                **_costs(folds),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    reference = table[table["finder"] == REFERENCE] if len(table) else table
    for ratio, cost in (("fit_ratio", "fit_s"), ("rate_ratio", "scored_per_s")):
        base = reference[cost].iloc[0] if len(reference) else np.nan
        table[ratio] = table[cost] / base if len(table) else []
    return table


def pooled(
    comparison: Comparison, folds: dict[int, FoldScores]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Held-out log-odds and labels of all folds that are done, one after the other."""
    logits = np.concatenate([scores.held_out for scores in folds.values()])
    labels = [comparison.stamps.labels[comparison.folds == fold] for fold in folds]
    return logits, np.concatenate(labels)


def thesis_table_5_1(comparison: Comparison) -> pd.DataFrame:
    """The thesis' Table 5-1: a row per network and way of training, the published beside ours.

    Returns
    -------
    DataFrame
        `model`, `middle`, `folds` (0 where it was not run), `parameters`; `roc_auc`, `f1` and their
        `_std` over folds; `thesis_parameters`, `thesis_roc_auc`, `thesis_f1`, of the frozen ones.
    """
    published = pd.read_csv(PUBLISHED).set_index("backbone")
    rows = []
    for middle in MIDDLES:
        for backbone in NETWORKS:
            folds = comparison.scores.get(thesis_name(backbone, middle), {})
            theirs = published.loc[backbone]
            row = {
                "model": theirs["model"], "finder": thesis_name(backbone, middle),
                "middle": middle, "folds": len(folds), **_over_folds(comparison, folds),
            }  # fmt: skip
            if middle == MIDDLES[0]:
                row |= {"thesis_parameters": 1e6 * theirs["parameters_millions"],
                        "thesis_roc_auc": theirs["roc_auc"], "thesis_f1": theirs["f1"]}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows)


def _over_folds(comparison: Comparison, folds: dict[int, FoldScores]) -> dict[str, float]:
    measured = [
        measure(scores.held_out, comparison.stamps.labels[comparison.folds == fold])
        for fold, scores in folds.items()
    ]
    row = {"parameters": np.nan}
    if folds:
        row["parameters"] = float(next(iter(folds.values())).n_parameters)
    for name in ("roc_auc", "f1"):
        values = [getattr(one, name) for one in measured]
        row[name] = float(np.mean(values)) if values else np.nan
        row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return row


def thesis_table_5_2(comparison: Comparison) -> pd.DataFrame:
    """The thesis' Table 5-2: mean and spread of the probability of real images, by grade.

    Where the manifest has no grades, by its labels.

    Returns
    -------
    DataFrame
        `finder`, `group`, `n`, `mean`, `std`.
    """
    if comparison.real is None:
        return pd.DataFrame()
    truth = comparison.real.truth
    groups = truth["grade" if "grade" in truth else "label"].fillna("")
    rows = []
    for name, folds in comparison.scores.items():
        chances = np.mean([as_probabilities(one.real)[:, 1] for one in folds.values()], axis=0)
        for group, members in groups.groupby(groups):
            values = chances[members.index]
            spread = values.std(ddof=1) if len(values) > 1 else np.nan
            rows.append({"finder": name, "group": group, "n": len(values),
                         "mean": values.mean(), "std": spread})  # fmt: skip
    return pd.DataFrame(rows)


def _on_real(comparison: Comparison, folds: dict[int, FoldScores]) -> dict[str, float]:
    """Each fold by its own cut: a mean of several folds' scores is spread less than theirs."""
    if comparison.real is None:
        return dict.fromkeys(("real_lenses", "real_others", "n_real_lenses", "n_real_others"), 0)
    truth = comparison.real.truth
    counted = ~truth["object"].str.startswith(NOT_COUNTED).to_numpy()
    labels = comparison.stamps.labels
    cuts = [threshold(one.held_out[~labels[comparison.folds == fold]], _RATE)
            for fold, one in folds.items()]  # fmt: skip
    above = [one.real > cut for one, cut in zip(folds.values(), cuts, strict=True)]
    found: dict[str, float] = {}
    for word, name in ((LENS, "real_lenses"), (NONLENS, "real_others")):
        members = counted & (truth["label"] == word).to_numpy()
        mean = float(np.mean([one[members].sum() for one in above]))
        found |= {name: mean, f"n_{name}": int(members.sum())}
    return found


def _costs(folds: dict[int, FoldScores]) -> dict[str, Any]:
    of_folds = pd.DataFrame([vars(one) for one in folds.values()])
    means = of_folds[["n_parameters", "fit_s", "scored_per_s"]].mean()
    return dict(means.rename({"n_parameters": "parameters"}))
