"""How much of a network is trained, at which size, and which network: one small table.

    python benchmarks/exploration.py WORKDIR XCEPTION VGG16 [N_TRAIN] [N_TEST] [N_ADAPT]

XCEPTION and VGG16 are files of ImageNet weights without the top. Every row has the same N_TRAIN
(2,800) cutouts in seven folds and the same N_TEST (3,000) others; what is adapted is adapted in two
passes of the same N_ADAPT (6,000), apart from both. WORKDIR keeps what is finished: given again, a
stopped run continues.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pretraining import FROZEN, SHOWN

from lensweep.deploy.cluster import open_client
from lensweep.ground.progress import open_progress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.evaluation.result_tables import flat
from lensweep.training.fit.bundle import read_scores
from lensweep.training.fit.merge_bundles import join_scores
from lensweep.training.fit.metrics import measure
from lensweep.training.train import train

ADAPTED: dict[str, Any] = {"adapt_epochs": 2, "adapt_learning_rate": 2e-4}
# What of `TrainConfig` differs from a frozen Xception at 100 px.
ROWS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "frozen, 150 px": {"input_size": 150},
    "frozen, 200 px": {"input_size": 200},
    "frozen, 299 px": {"input_size": 299},
    "frozen, learned stem": {"stem": "learned", **ADAPTED},
    "last 4 blocks": {"trainable": "last-4", **ADAPTED},
    "last 7 blocks": {"trainable": "last-7", **ADAPTED},
    "last 10 blocks": {"trainable": "last-10", **ADAPTED},
    "the whole trunk": {"trainable": "all", **ADAPTED},
    "VGG16, frozen": {"backbone": "vgg16"},
}
BOTH = ("frozen", "VGG16, frozen")


def main(workdir: Path, weights: dict[str, str], sizes: dict[str, int]) -> None:
    """Train every row, print it when it is done."""
    print("| Xception | scores |", " | ".join(SHOWN.values()), "|")
    print("|---" * (2 + len(SHOWN)) + "|")
    data = workdir / "data"
    with open_progress() as progress, open_client() as client:
        for seed, (name, size) in enumerate(sizes.items(), FROZEN.seed):
            make_dataset(data / name, size, seed, client, progress)
        for name, changes in ROWS.items():
            config = dataclasses.replace(FROZEN, data=str(data.absolute()), **changes)
            config = dataclasses.replace(
                config, weights=weights[config.backbone], n_train=sizes["train"],
                n_test=sizes["test"], n_adapt=sizes["adapt"] if config.adapts else 0,
            )  # fmt: skip
            train(config, workdir / name, client, progress)
            show(name, [workdir / name])
    show("frozen, and VGG16, frozen", [workdir / name for name in BOTH])


def show(name: str, workdirs: list[Path]) -> None:
    """Print a row: out of fold all together, and the ensemble on the test set."""
    parts = []
    for workdir in workdirs:
        description = check_bundle(str(workdir / FROZEN.name)).description
        backbone = description.training["backbone"]
        parts.append(read_scores(workdir, {backbone: description.members}))
    scores = join_scores(parts)
    members = [member for names in scores.members.values() for member in names]
    for what, table, columns in (
        ("out of fold", scores.out_of_fold, list(scores.members)),
        ("ensemble, test set", scores.test, members),
    ):
        logits = table[columns].to_numpy().mean(axis=1)
        found = flat(measure(logits, np.asarray(table["is_lens"], bool)))
        print(f"| {name} | {what} |", " | ".join(f"{found[key]:.3f}" for key in SHOWN), "|",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    given = [*sys.argv[1:], *("2800", "3000", "6000")[len(sys.argv) - 4 :]]
    main(
        Path(given[0]),
        {"xception": given[1], "vgg16": given[2]},
        {"adapt": int(given[5]), "train": int(given[3]), "test": int(given[4])},
    )
