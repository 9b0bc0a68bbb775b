"""Adapt the last blocks of a pretrained trunk to lenses, once; then it is frozen for good.

The blocks below the cut never change, so their output is computed once and kept; an epoch costs
only the blocks above it. The cutouts used here are apart by object from those on which the folds
are trained, so that one trunk can serve all folds without a leak.
"""

import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from scanner import cutout_store
from scanner.progress import Progress
from scanner.stretch import Stretch
from training.backbones import BACKBONES, INPUT_SHAPE, split_trunk
from training.config import TrainConfig

READ_BLOCK = 512
BATCH = 64


class _Features(keras.utils.PyDataset):
    """Batches of the frozen part's output, shuffled anew every epoch."""

    def __init__(self, values: NDArray[np.float16], labels: NDArray[np.float32], seed: int) -> None:
        super().__init__()
        self._values, self._labels, self._seed = values, labels, seed
        self._order = np.random.default_rng([seed, 0]).permutation(len(labels))
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._order) // BATCH

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = np.sort(self._order[index * BATCH : (index + 1) * BATCH])
        return self._values[rows].astype(np.float32), self._labels[rows]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        rng = np.random.default_rng([self._seed, self._epoch])
        self._order = rng.permutation(len(self._labels))


class _Report(keras.callbacks.Callback):
    """Tells a run's progress how many cutouts have been learned from."""

    def __init__(self, progress: Progress, total: int, per_epoch: int) -> None:
        super().__init__()
        self._progress, self._total, self._per_epoch = progress, total, per_epoch
        self._stage: int | None = None

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if self._stage is None:
            done = epoch * self._per_epoch
            self._stage = self._progress.stage("adapting", self._total, done, unit="cutouts")

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        assert self._stage is not None
        self._progress.advance(self._stage, BATCH)


def adapt(
    trunk: keras.Model,
    config: TrainConfig,
    store: Path,
    labels: NDArray[np.bool_],
    workdir: Path,
    progress: Progress,
) -> None:
    """Adapt the last blocks of a trunk, in place.

    Every cutout is shown as it is and once more, flipped and turned at random. Batch
    normalisation keeps its ImageNet statistics. AdamW with warm-up and cosine decay; label
    smoothing 0.02. A stopped run continues at the last finished epoch.

    Parameters
    ----------
    trunk : keras.Model
    config : TrainConfig
    store : Path
        A cutout store.
    labels : ndarray of bool, shape (n,)
        Which of its cutouts hold a lens.
    workdir : Path
        Where unfinished work is kept.
    progress : Progress
    """
    done = workdir / "trunk.weights.h5"
    if done.is_file():
        trunk.load_weights(done)
        return
    # bfloat16 products and float32 weights: half the time on processors that have them.
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    low = BACKBONES[config.backbone].build(
        weights=None, include_top=False, pooling="avg", input_shape=INPUT_SHAPE
    )
    keras.mixed_precision.set_global_policy("float32")
    low.set_weights(trunk.get_weights())
    frozen, tail = split_trunk(low, config.backbone, config.adapted_blocks)
    values, doubled = _frozen_output(frozen, config, store, labels, workdir, progress)
    classifier = _classifier(tail, config, len(values))
    batches = _Features(values, doubled, config.seed)
    per_epoch = BATCH * len(batches)
    classifier.fit(
        batches,
        epochs=config.adapt_epochs,
        verbose=0,
        callbacks=[
            _Report(progress, config.adapt_epochs * per_epoch, per_epoch),
            keras.callbacks.BackupAndRestore(str(workdir / "adapt_backup")),
            keras.callbacks.CSVLogger(str(workdir / "adapt.csv"), append=True),
        ],
    )
    trunk.set_weights(low.get_weights())
    partial = done.with_name("trunk.partial.weights.h5")
    trunk.save_weights(partial)
    partial.replace(done)


def _classifier(tail: keras.Model, config: TrainConfig, n_examples: int) -> keras.Model:
    for layer in tail.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    inputs = keras.Input(tail.input_shape[1:])
    features = keras.layers.Dropout(config.dropout)(tail(inputs))
    outputs = keras.layers.Dense(1, dtype="float32")(features)
    classifier = keras.Model(inputs, outputs)
    steps = config.adapt_epochs * (n_examples // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.adapt_learning_rate / 20.0,
        decay_steps=int(0.95 * steps),
        alpha=0.02,
        warmup_target=config.adapt_learning_rate,
        warmup_steps=int(0.05 * steps),
    )
    classifier.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-4, clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )
    return classifier


def _frozen_output(
    frozen: keras.Model,
    config: TrainConfig,
    store: Path,
    labels: NDArray[np.bool_],
    workdir: Path,
    progress: Progress,
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """The frozen part's output for every cutout, as it is and turned; kept in `workdir`."""
    n = len(labels)
    path, finished = workdir / "frozen.npy", workdir / "frozen.json"
    shape = (2 * n, *frozen.output_shape[1:])
    start = json.loads(finished.read_text())["finished"] if finished.is_file() else 0
    stage = progress.stage("frozen", n, start, unit="cutouts")
    mode = "r+" if start else "w+"
    values = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)
    stretch = Stretch()
    for first in range(start, n, READ_BLOCK):
        flux = cutout_store.read_column(store, "flux", first, first + READ_BLOCK)
        scaled = stretch(np.asarray(flux, np.float32))
        values[first : first + len(flux)] = frozen.predict(scaled, batch_size=BATCH, verbose=0)
        turned = turn_at_random(scaled, np.random.default_rng([config.seed, 7, first]))
        values[n + first : n + first + len(flux)] = frozen.predict(
            turned, batch_size=BATCH, verbose=0
        )
        values.flush()
        finished.write_text(json.dumps({"finished": first + len(flux)}))
        progress.advance(stage, len(flux))
    return values, np.tile(labels, 2).astype(np.float32)


def turn_at_random(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Flip and quarter-turn every image at random: the eight symmetries of the square.

    Parameters
    ----------
    images : ndarray, shape (n, size, size, channels)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        A new array of the same shape.
    """
    out = np.empty_like(images)
    for index, (turns, flip) in enumerate(
        zip(rng.integers(4, size=len(images)), rng.random(len(images)) < 0.5, strict=True)
    ):
        turned = np.rot90(images[index], turns)
        out[index] = turned[:, ::-1] if flip else turned
    return out
