"""What second looks gain on the test set of a finished training.

    python benchmarks/second_look.py WORKDIR

From what `lensweep train` keeps: first looks from the features of the test set and the bundle's
heads, second ones from the scores. A member after second looks has one turn, as in the ensemble.
"""

import json
import sys
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from lensweep.scanner.network.bundle_store import HEADS, check_bundle
from lensweep.training.evaluation.result_tables import flat
from lensweep.training.fit.bundle import CONFIG, read_scores
from lensweep.training.fit.metrics import measure

SHOWN = {"roc_auc": "ROC AUC", "tpr_at_0.01": "TPR at FPR 1 %", "tpr_at_0.001": "TPR at FPR 0.1 %",
         "tpr_before_first": "TPR before the 1st false positive",
         "tpr_before_tenth": "before the 10th"}  # fmt: skip


def main(workdir: Path) -> None:
    """Print one table: ensemble and members, before and after."""
    bundle = check_bundle(str(workdir / json.loads((workdir / CONFIG).read_text())["name"]))
    trunk = bundle.description.trunks[0]
    if len(bundle.description.trunks) > 1 or trunk.second_look is None:
        sys.exit(f"{bundle.folder}: not one trunk with second looks")
    scores = read_scores(workdir, {trunk.name: trunk.members})
    labels = scores.test["is_lens"].to_numpy(bool)
    features = np.asarray(zarr.open_array(workdir / "features" / trunk.name / "test.zarr")[:])
    with np.load(Path(bundle.folder) / HEADS) as heads:
        first = features @ heads[f"{trunk.name}.weights"] + heads[f"{trunk.name}.biases"]
    second = scores.test[list(trunk.members)].to_numpy()
    again = first.mean(axis=1) >= trunk.second_look
    print(f"| {labels.sum():,} lenses, {(~labels).sum():,} others | "
          f"{' | '.join(SHOWN.values())} |")  # fmt: skip
    print("|---" * (1 + len(SHOWN)) + "|")
    for name, logits in (("first look", first), ("second look", second)):
        show(f"ensemble, {name}", [logits.mean(axis=1)], labels)
        show(f"members, {name}, mean", list(logits.T), labels)
    print(f"\nlooked at again: {share(again & labels, labels)} of the lenses, "
          f"{share(again & ~labels, ~labels)} of the others")  # fmt: skip


def show(name: str, scorers: list[NDArray[np.floating]], labels: NDArray[np.bool_]) -> None:
    """Print the mean figures of some scorers."""
    figures = [flat(measure(logits, labels)) for logits in scorers]
    means = [f"{np.mean([one[key] for one in figures]):.4f}" for key in SHOWN]
    print(f"| {name} | {' | '.join(means)} |")


def share(again: NDArray[np.bool_], of: NDArray[np.bool_]) -> str:
    """A share."""
    return f"{again.sum() / of.sum():.1%}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
