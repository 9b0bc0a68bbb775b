"""What scores come to, as tables: whole sets, folds, and the thesis' Table 5-1. Numbers only."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.scanner.network.ensemble import Description
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.metrics import Metrics, measure, passed_by, threshold, within_cuts

PUBLISHED = Path(__file__).parent.parent / "published" / "table_5_1.csv"
ENSEMBLE = "ensemble"
RATES = ("0.01", "0.001")


@dataclass(frozen=True)
class Evaluation:
    """A bundle's scores of labelled cutouts.

    Attributes
    ----------
    description : Description
        Of the bundle.
    data : str
        Which cutouts.
    truth : DataFrame
        A row per cutout.
    logits : ndarray, shape (n, members)
    """

    description: Description
    data: str
    truth: pd.DataFrame
    logits: NDArray[np.floating]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Which cutouts hold a lens."""
        return np.asarray(self.truth["is_lens"], bool)

    @property
    def ensemble(self) -> NDArray[np.float64]:
        """Mean logit of the members."""
        return np.asarray(np.mean(self.logits, axis=1, dtype=np.float64))


def score_table(evaluation: Evaluation) -> pd.DataFrame:
    """Performance of the ensemble and of every member, without the cuts and with them.

    Returns
    -------
    DataFrame
        `scorer`, `cuts` (whether the lenses are those of `metrics.within_cuts`), and the columns
        of `flat`.
    """
    inside, labels = within_cuts(evaluation.truth), evaluation.labels
    sets = [(False, np.ones(len(labels), bool))]
    if labels[inside].any():
        sets.append((True, inside))
    columns = {ENSEMBLE: evaluation.ensemble}
    for number, member in enumerate(evaluation.description.members):
        columns[member] = np.asarray(evaluation.logits[:, number], np.float64)
    return pd.DataFrame(
        {"scorer": scorer, "cuts": cuts, **flat(measure(logits[rows], labels[rows]))}
        for cuts, rows in sets for scorer, logits in columns.items()
    )  # fmt: skip


def pooled_table(description: Description) -> pd.DataFrame:
    """Out-of-fold performance over all folds together, without the cuts and with them.

    Returns
    -------
    DataFrame
        `cuts` and the columns of `flat`; empty for a bundle that does not say.
    """
    known = description.metrics
    return pd.DataFrame(
        {"cuts": cuts, **flat(Metrics(**known[name]))}
        for cuts, name in ((False, "out_of_fold"), (True, "out_of_fold_within_cuts"))
        if name in known
    )


def fold_table(description: Description) -> pd.DataFrame:
    """Out-of-fold performance: a row per trunk and fold, then mean and standard deviation.

    Returns
    -------
    DataFrame
        `backbone`, `fold` (a number, `mean` or `std`; the sample's) and the columns of `flat`;
        empty for a bundle that does not say.
    """
    rows = []
    for backbone, folds in description.metrics.get("folds", {}).items():
        table = pd.DataFrame(flat(Metrics(**one)) for one in folds)
        numbers = table.select_dtypes("number")
        for name, row in (("mean", numbers.mean()), ("std", numbers.std(ddof=1))):
            table.loc[name] = row
        rows.append(
            table.rename_axis("fold").reset_index().assign(backbone=backbone)
            .astype({"fold": str})
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def flat(metrics: Metrics) -> dict[str, float]:
    """Metrics as one row, every rate with its 95 % interval (`_low`, `_high`).

    A TPR is NaN at a false-positive rate of less than one of the non-lenses: it would be that at
    no false positive; an interval, where the bundle was measured without.
    """
    rates = {
        f"tpr_at_{rate}": metrics.tpr_at_fpr[rate]
        if float(rate) * metrics.n_others >= 1.0 else float("nan")
        for rate in RATES
    }  # fmt: skip
    rates["tpr_before_first"] = metrics.tpr_before_first
    rates["tpr_before_tenth"] = metrics.tpr_before_tenth
    row: dict[str, float] = {"roc_auc": metrics.roc_auc, "f1": metrics.f1}
    for name, rate in rates.items():
        row[name] = rate
        known = not np.isnan(rate)
        key = name.removeprefix("tpr_at_").removeprefix("tpr_before_")
        interval = metrics.intervals.get(key) if known else None
        row[f"{name}_low"], row[f"{name}_high"] = interval or (np.nan, np.nan)
    return row | {"n_lenses": metrics.n_lenses, "n_others": metrics.n_others}


def passed_table(evaluation: Evaluation) -> pd.DataFrame:
    """Shares above the thresholds that 1 % and 0.1 % of these non-lenses pass.

    By kind, Einstein radius, source magnitude and signal-to-noise: `metrics.passed_by`.
    """
    others = evaluation.ensemble[~evaluation.labels]
    cuts = {f"above_{rate}": threshold(others, float(rate)) for rate in RATES}
    truth = evaluation.truth.reset_index(drop=True)
    return passed_by(evaluation.ensemble, truth, cuts)


def thesis_table(descriptions: Iterable[Description]) -> pd.DataFrame:
    """The thesis' Table 5-1, with our out-of-fold numbers beside it where there are any.

    Parameters
    ----------
    descriptions : iterable of Description
        Of bundles; every trunk is taken from the first that has it.

    Returns
    -------
    DataFrame
        Columns of `published/table_5_1.csv`; `our_parameters_millions`, with the dense layers on
        top as there; mean and standard deviation over our folds, and what protocol they followed.
    """
    table = pd.read_csv(PUBLISHED).set_index("backbone")
    for column in ("our_parameters_millions", "our_roc_auc", "our_roc_auc_std", "our_f1",
                   "our_f1_std"):  # fmt: skip
        table[column] = np.nan
    table["our_protocol"] = ""
    for description in reversed(list(descriptions)):
        folds = fold_table(description)
        for backbone, rows in folds.groupby("backbone") if len(folds) else ():
            if backbone not in table.index:
                table.loc[backbone, "model"] = backbone
            mean, std = (rows[rows["fold"] == name].iloc[0] for name in ("mean", "std"))
            for name in ("roc_auc", "f1"):
                table.loc[backbone, [f"our_{name}", f"our_{name}_std"]] = mean[name], std[name]
            table.loc[backbone, "our_protocol"] = _protocol(description, str(backbone))
    for name in table.index:
        table.loc[name, "our_parameters_millions"] = BACKBONES[str(name)].parameters / 1e6
    return table.reset_index()


def _protocol(description: Description, backbone: str) -> str:
    training: dict[str, Any] = description.training
    own = training.get("merged", {}).get(backbone, training)
    return f"{own.get('protocol', 'grouped')}, {own.get('init', 'imagenet')}, " + str(
        own.get("trainable", "")
    )
