"""Cross-validation: a head per fold on a shared trunk, or a network per fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_frame
from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.training.data.examples import Examples
from lensweep.training.data.folds import assign_folds
from lensweep.training.fit.adapt import ENDED, adapt, discard_unfinished
from lensweep.training.fit.classifier import build_trunk, round_kernels
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.features import View, compute_features, save_trunk
from lensweep.training.fit.heads import Head, train_head
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.metrics import measure
from lensweep.training.fit.second_look import SecondLook

# Heads see every cutout as it is and once augmented.
VIEWS = 2


@dataclass(frozen=True)
class Members:
    """Trained members, and what they make of the cutouts that they were not trained on.

    Attributes
    ----------
    trunks : dict of str to Path
        By name, as `lensweep.training.fit.features.save_trunk` wrote them.
    heads : tuple of Head
        One per fold.
    out_of_fold : ndarray, shape (n_train,), float64
        Every cutout's logit by the member that has not seen it.
    test_logits : ndarray, shape (n_test, folds), float64
    """

    trunks: dict[str, Path]
    heads: tuple[Head, ...]
    out_of_fold: NDArray[np.float64]
    test_logits: NDArray[np.float64]


def cross_validate(
    config: TrainConfig,
    rounds: Sequence[list[Examples]],
    train: Examples,
    test: Examples,
    folds: NDArray[np.int64],
    workdir: Path,
    client: Client,
    progress: Progress,
) -> Members:
    """Train a member per fold; what a stopped run has finished is kept.

    Parameters
    ----------
    config : TrainConfig
    rounds : sequence of list of Examples
        On which a shared trunk is adapted, round after round.
    train, test : Examples
    folds : ndarray of int, shape (n_train,)
        In which every cutout of `train` is held out.
    workdir : Path
    client : distributed.Client
    progress : Progress
    """
    heads, trunks = [], {}
    out_of_fold = np.empty(len(train))
    test_logits = np.empty((len(test), config.n_folds))
    for fold in range(config.n_folds):
        name = config.backbone if config.shares_trunk else f"{config.backbone}-fold{fold}"
        seen = folds != fold
        if name not in trunks:
            rows = None if config.shares_trunk else np.flatnonzero(seen)
            sets = rounds if config.shares_trunk else [[train]]
            trunks[name] = ready_trunk(name, config, sets, rows, workdir, progress)
            shown = _features(trunks[name], train, test, config, workdir, client, progress)
        views, tested = shown[:-1], shown[-1]
        kept = workdir / "folds" / f"member-{fold}"
        head = _head(views, train.labels, folds, fold, config, kept)
        heads.append(head)
        out_of_fold[~seen] = head.logits(views[0][~seen])
        test_logits[:, fold] = head.logits(tested)
        reached = measure(out_of_fold[~seen], train.labels[~seen])
        progress.note(
            f"fold {fold}: ROC AUC {reached.roc_auc:.4f}, F1 {reached.f1:.3f}, "
            f"TPR at FPR 1 % {reached.tpr_at_fpr['0.01']:.3f}"
        )
    if config.second_look is not None:
        (trunk,) = trunks.values()
        look_again = SecondLook(trunk, config, workdir, client, progress)
        test_logits = look_again.of_members(heads, test, test_logits)
        out_of_fold = look_again.of_held_out(heads, train, folds, out_of_fold)
    return Members(trunks, tuple(heads), out_of_fold, test_logits)


def grouped_instead(
    config: TrainConfig, train: Examples, members: Members, workdir: Path
) -> NDArray[np.float64]:
    """Out-of-fold logits of heads on the same features, with folds that no object straddles."""
    folds = assign_folds(train.labels, train.objects, config.n_folds, config.seed)
    (trunk,) = members.trunks.values()
    kept = workdir / "features" / trunk.stem
    views = [np.asarray(zarr.open_array(kept / f"train-{n}.zarr")[:]) for n in range(VIEWS)]
    out_of_fold = np.empty(len(train))
    for fold in range(config.n_folds):
        kept = workdir / "folds" / f"grouped-{fold}"
        head = _head(views, train.labels, folds, fold, config, kept)
        out_of_fold[folds == fold] = head.logits(views[0][folds == fold])
    return out_of_fold


def ready_trunk(
    name: str,
    config: TrainConfig,
    rounds: Sequence[list[Examples]],
    rows: NDArray[np.int64] | None,
    workdir: Path,
    progress: Progress,
) -> Path:
    """A trunk with everything but its heads trained, and rounded as bundles keep it; on disk.

    A stopped one continues in the round in which it was.
    """
    path = workdir / "trunks" / f"{name}.keras"
    if path.is_file():
        return path
    trunk = build_trunk(config)
    folders = [
        workdir / "adapting" / (f"{name}-{number + 1}" if number else name)
        for number in range(len(rounds))
    ]
    if config.adapts:
        for number, (sets, unfinished) in enumerate(zip(rounds, folders, strict=True)):
            _adapt_round(trunk, config.of_round(number), sets, unfinished, progress, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Kept to show what rounding costs.
    trunk.save_weights(path.with_suffix(".unrounded.weights.h5"))
    round_kernels(trunk)
    save_trunk(trunk, path)
    for unfinished in folders:
        discard_unfinished(unfinished)
    keras.backend.clear_session()
    return path


def _adapt_round(
    trunk: keras.Model,
    config: TrainConfig,
    sets: list[Examples],
    unfinished: Path,
    progress: Progress,
    rows: NDArray[np.int64] | None,
) -> None:
    """Adapt a trunk in place, or give it the weights with which this round once ended."""
    ended = unfinished / ENDED
    if ended.is_file():
        trunk.set_weights(keras.models.load_model(ended, compile=False).get_weights())
        return
    curve = adapt(trunk, config, sets, unfinished, progress, rows)
    write_frame(curve, unfinished / "curve.parquet")
    save_trunk(trunk, ended)


def _features(
    trunk: Path,
    train: Examples,
    test: Examples,
    config: TrainConfig,
    workdir: Path,
    client: Client,
    progress: Progress,
) -> list[NDArray[np.float32]]:
    """Features of all views of the training set, then those of the test set."""
    folder = workdir / "features" / trunk.stem
    asked = [(train, number, f"train-{number}") for number in range(VIEWS)] + [(test, 0, "test")]
    return [
        compute_features(
            trunk, examples, View(number, config.augmentation, config.seed),
            folder / f"{name}.zarr", client, progress,
        )
        for examples, number, name in asked
    ]  # fmt: skip


def _head(
    views: list[NDArray[np.float32]],
    labels: NDArray[np.bool_],
    folds: NDArray[np.int64],
    fold: int,
    config: TrainConfig,
    kept: Path,
) -> Head:
    """One fold's head, from an earlier run if it was finished."""
    weights, curve = kept.with_suffix(".npz"), kept.with_suffix(".parquet")
    if weights.is_file():
        with np.load(weights, allow_pickle=False) as arrays:
            return Head(arrays["weights"], float(arrays["bias"]), pd.read_parquet(curve))
    seen = folds != fold
    head = train_head(
        np.concatenate([view[seen] for view in views]), np.tile(labels[seen], len(views)),
        (views[0][~seen], labels[~seen]), config, fold,
    )  # fmt: skip
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_frame(head.curve, curve)
    with whole_file(weights) as aside, aside.open("wb") as file:
        np.savez(file, weights=head.weights, bias=head.bias)
    return head
