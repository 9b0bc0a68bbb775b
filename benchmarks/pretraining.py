"""Frozen ImageNet trunk against the same trunk with random weights, side by side.

    python benchmarks/pretraining.py WORKDIR DATA WEIGHTS [BACKBONE] [N_TRAIN] [N_TEST]

DATA holds labelled sets `train` and `test`, as of `lensweep train`; WEIGHTS is the file of the
ImageNet weights without the top. Heads are trained on seven folds of N_TRAIN cutouts (2,000) and
measured on N_TEST others (1,000), with everything else the same.
"""

import dataclasses
import sys
from pathlib import Path

from lensweep.deploy.cluster import open_client
from lensweep.ground.progress import open_progress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.training.evaluation.result_tables import flat, fold_table
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.metrics import Metrics
from lensweep.training.train import train

FROZEN = TrainConfig(
    name="frozen", seed=11, backbone="xception", init="imagenet", input_size=100, stem="fixed",
    trainable="head", n_adapt=0, adapt_epochs=0, adapt_learning_rate=0.0, n_train=2000,
    n_test=1000, n_folds=7, dropout=0.3, head_epochs=30, head_learning_rate=1e-3,
)  # fmt: skip
SHOWN = {"roc_auc": "ROC AUC", "f1": "F1", "tpr_at_0.01": "TPR at FPR 1 %",
         "tpr_before_tenth": "TPR before the 10th false positive"}  # fmt: skip


def main(workdir: Path, data: Path, weights: str, backbone: str, n_train: int, n_test: int) -> None:
    """Train both and print one table."""
    common = dataclasses.replace(
        FROZEN, backbone=backbone, data=str(data.absolute()), n_train=n_train, n_test=n_test
    )
    configs = {
        "ImageNet": dataclasses.replace(common, weights=weights),
        "random": dataclasses.replace(common, init="random"),
    }
    print(f"| {backbone}, frozen | scores | {' | '.join(SHOWN.values())} |")
    print("|---" * (2 + len(SHOWN)) + "|")
    for name, config in configs.items():
        with open_progress() as progress, open_client() as client:
            bundle = train(config, workdir / config.init, client, progress)
        description = check_bundle(str(bundle)).description
        folds = fold_table(description).set_index("fold")
        values = [f"{folds.loc['mean', key]:.3f} ± {folds.loc['std', key]:.3f}" for key in SHOWN]
        print(f"| {name} | folds, mean ± std | {' | '.join(values)} |")
        ensemble = flat(Metrics(**description.metrics["committee_on_test"]))
        values = [f"{ensemble[key]:.3f}" for key in SHOWN]
        print(f"| {name} | ensemble, test set | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    given = [*sys.argv[1:], *("xception", "2000", "1000")[len(sys.argv) - 4 :]]
    main(Path(given[0]), Path(given[1]), given[2], given[3], int(given[4]), int(given[5]))
