"""Print what a bundle's manifest and its training folder say of its performance.

    python benchmarks/ensemble_report.py WORKDIR

WORKDIR is that of `lensweep train`: its bundle, and the scores of its test set.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scanner.ensemble import check_bundle

THETA_E_ARCSEC = (0.3, 0.5, 0.8, 1.2, 2.5)
SIGNAL_TO_NOISE = (15.0, 30.0, 60.0, 120.0, np.inf)


def main(workdir: Path) -> None:
    """Print the tables of docs/results.md."""
    name = json.loads((workdir / "config.json").read_text())["name"]
    description = check_bundle(str(workdir / name)).description
    metrics = description.metrics
    print("| scores | ROC AUC | F1 | TPR at FPR 0.1 | 0.01 | 0.001 | lenses + others |")
    print("|---|---|---|---|---|---|---|")
    print_row("out of fold, one member each", metrics["out_of_fold"])
    print_row("committee, test set", metrics["committee_on_test"])
    print_row("mean member, test set", mean_of(metrics["members_on_test"]))
    best = max(metrics["members_on_test"], key=lambda one: one["tpr_at_fpr"]["0.001"])
    print_row("best member at 0.001, test set", best)

    scores = pd.read_parquet(workdir / "test_scores.parquet")
    lenses = scores[scores["kind"] == "lensed_galaxy"]
    cut = description.thresholds["fpr_0.01"]
    print(f"\nRecall of lensed galaxies above {cut:+.2f}, the 1 % threshold:\n")
    for column, edges in (("theta_e_arcsec", THETA_E_ARCSEC), ("signal_to_noise", SIGNAL_TO_NOISE)):
        print(f"| {column} | recall | n |\n|---|---|---|")
        for interval, rows in lenses.groupby(pd.cut(lenses[column], edges), observed=True):
            print(f"| {interval} | {(rows['logit_mean'] > cut).mean():.2f} | {len(rows)} |")
        print()
    print("| kind | above 1 % | n |\n|---|---|---|")
    for kind, rows in scores.groupby("kind"):
        print(f"| {kind} | {(rows['logit_mean'] > cut).mean():.3f} | {len(rows)} |")


def print_row(label: str, values: dict[str, Any]) -> None:
    """One line of the first table."""
    rates = " | ".join(f"{values['tpr_at_fpr'][rate]:.3f}" for rate in ("0.1", "0.01", "0.001"))
    print(f"| {label} | {values['roc_auc']:.4f} | {values['f1']:.3f} | {rates} | "
          f"{values['n_lenses']} + {values['n_others']} |")  # fmt: skip


def mean_of(members: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every figure over the members."""
    first = members[0]
    mean = {key: np.mean([one[key] for one in members]) for key in ("roc_auc", "f1")}
    rates = {
        rate: np.mean([one["tpr_at_fpr"][rate] for one in members]) for rate in first["tpr_at_fpr"]
    }
    counts = {key: first[key] for key in ("n_lenses", "n_others")}
    return {**mean, "tpr_at_fpr": rates, **counts}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
