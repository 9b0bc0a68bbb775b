"""From a config to an ensemble bundle: simulate, adapt once, features once, a head per fold."""

import dataclasses
import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from scanner import cutout_store
from scanner.cutout_store import CUTOUT_SIZE
from scanner.ensemble import MANIFEST, Calibration, Description, Trunk, save_bundle, sha256_of
from scanner.errors import InputError
from scanner.progress import Progress
from scanner.stretch import Stretch
from training.adapt import adapt
from training.backbones import build_trunk
from training.config import TrainConfig
from training.dataset import SHARD, make_dataset, read_truth
from training.features import compute_features
from training.folds import assign_folds
from training.heads import train_head
from training.metrics import FALSE_POSITIVE_RATES, by_kind, measure, threshold


def train(config: TrainConfig, workdir: Path, client: Client, progress: Progress) -> Path:
    """Train an ensemble; a stopped run continues.

    Three simulated data sets, apart by object: one adapts the trunk, one trains and
    cross-validates the heads, one measures the committee.

    Parameters
    ----------
    config : TrainConfig
    workdir : Path
        Keeps all intermediate results and receives the bundle.
    client : distributed.Client
        Where the simulation runs.
    progress : Progress

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    InputError
        If the folder holds the work of another config, or the weights cannot be used.
    """
    trunk = build_trunk(config.backbone, Path(config.weights))
    _claim(workdir, config)
    if (workdir / config.name / MANIFEST).is_file():
        return workdir / config.name
    sizes = {"adapt": config.n_adapt, "train": config.n_train, "test": config.n_test}
    for offset, (name, size) in enumerate(sizes.items()):
        if size:
            make_dataset(workdir / name, size, config.seed + offset, client, progress)
    if config.adapted_blocks:
        labels = read_truth(workdir / "adapt")["is_lens"].to_numpy(bool)
        adapt(trunk, config, workdir / "adapt" / "cutouts.zarr", labels, workdir, progress)
    round_kernels(trunk)
    weights, biases, out_of_fold = _cross_validate(trunk, config, workdir, progress)
    return _write_bundle(trunk, config, workdir, weights, biases, out_of_fold, progress)


def round_kernels(trunk: keras.Model) -> None:
    """Round convolution kernels to half precision, as bundles keep them, before heads see them."""
    trunk.set_weights(
        [w.astype(np.float16).astype(np.float32) if w.ndim == 4 else w
         for w in trunk.get_weights()]
    )  # fmt: skip


def _claim(workdir: Path, config: TrainConfig) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    path, text = workdir / "config.json", json.dumps(dataclasses.asdict(config), indent=1)
    if not path.is_file():
        path.write_text(text)
    elif path.read_text() != text:
        raise InputError(
            f"training folder {workdir}: holds the work of another config; name a new folder, or "
            f"give the config in {path.name} to continue it"
        )


def _cross_validate(
    trunk: keras.Model, config: TrainConfig, workdir: Path, progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Train a head per fold; return weights (k, folds), biases and out-of-fold logits."""
    store = workdir / "train" / "cutouts.zarr"
    plain, turned = (
        compute_features(trunk, store, workdir / f"{name}.npy", turn, config.seed, progress)
        for name, turn in (("train", False), ("train_turned", True))
    )
    labels = read_truth(workdir / "train")["is_lens"].to_numpy(bool)
    folds = assign_folds(labels, np.arange(len(labels)), config.n_folds, config.seed)
    columns, biases = [], []
    out_of_fold = np.empty(len(labels))
    for fold in range(config.n_folds):
        seen = folds != fold
        head, bias = train_head(
            np.concatenate([plain[seen], turned[seen]]), np.tile(labels[seen], 2), config, fold
        )
        out_of_fold[~seen] = plain[~seen] @ head + bias
        columns.append(head)
        biases.append(bias)
        progress.note(f"fold {fold}: {measure(out_of_fold[~seen], labels[~seen])}")
    return np.stack(columns, axis=1), np.array(biases), out_of_fold


def _write_bundle(
    trunk: keras.Model,
    config: TrainConfig,
    workdir: Path,
    weights: NDArray[np.float64],
    biases: NDArray[np.float64],
    out_of_fold: NDArray[np.float64],
    progress: Progress,
) -> Path:
    labels = read_truth(workdir / "train")["is_lens"].to_numpy(bool)
    platt = LogisticRegression(C=1e6).fit(out_of_fold[:, None], labels)
    calibration = Calibration(
        float(platt.coef_[0, 0]), float(platt.intercept_[0]), float(labels.mean())
    )
    test = read_truth(workdir / "test")
    test_labels = test["is_lens"].to_numpy(bool)
    store = workdir / "test" / "cutouts.zarr"
    features = compute_features(trunk, store, workdir / "test.npy", False, config.seed, progress)
    members = features @ weights + biases
    committee = members.mean(axis=1)
    thresholds = {
        f"fpr_{rate:g}": threshold(committee[~test_labels], rate) for rate in FALSE_POSITIVE_RATES
    }
    metrics = {
        "out_of_fold": dataclasses.asdict(measure(out_of_fold, labels)),
        "committee_on_test": dataclasses.asdict(measure(committee, test_labels)),
        "members_on_test": [
            dataclasses.asdict(measure(column, test_labels)) for column in members.T
        ],
    }
    kinds = by_kind(committee, test["kind"], (thresholds["fpr_0.01"], thresholds["fpr_0.001"]))
    _write_tables(workdir, test, committee, kinds)
    name = config.backbone
    description = Description(
        name=config.name,
        trunks=(Trunk(name, tuple(f"{name}-fold{fold}" for fold in range(config.n_folds))),),
        stretch=Stretch(),
        band="F814W",
        pixel_scale_arcsec=0.05,
        cutout_size=CUTOUT_SIZE,
        calibration=calibration,
        thresholds=thresholds,
        metrics=metrics,
        training={
            **dataclasses.asdict(config),
            "weights": Path(config.weights).name,
            "weights_sha256": sha256_of(Path(config.weights)),
            "simulation": "training.simulate; seed, seed + 1, seed + 2: adapt, train, test",
            "training_set_sha256": _fingerprint(workdir / "train" / "cutouts.zarr"),
        },
    )
    folder = workdir / config.name
    heads = {name: (weights.astype(np.float32), biases.astype(np.float32))}
    save_bundle(folder, description, {name: trunk}, heads)
    print(json.dumps(metrics["committee_on_test"], indent=1))
    print(kinds.round(3).to_string())
    print(f"wrote {folder}")
    return folder


def _write_tables(
    workdir: Path, test: pd.DataFrame, committee: NDArray[np.float64], kinds: pd.DataFrame
) -> None:
    test.assign(logit_mean=committee).to_parquet(workdir / "test_scores.parquet")
    kinds.to_csv(workdir / "test_by_kind.csv")


def _fingerprint(store: Path) -> str:
    """SHA-256 of a store's pixels."""
    digest = hashlib.sha256()
    _, n_cutouts = cutout_store.read_attributes(store)
    for first in range(0, n_cutouts, SHARD):
        digest.update(cutout_store.read_column(store, "flux", first, first + SHARD).tobytes())
    return digest.hexdigest()
