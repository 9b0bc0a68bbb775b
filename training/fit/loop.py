"""The training loop for whole networks: warm-up, decay, averaged weights, exact restart."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lensweep.ground.atomic import sweep
from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.training.data.stream import BATCH
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.on_device import learning_rate_of

CHECKPOINT_SECONDS = 300.0
# Batches to a point of the learning curve.
BATCHES_PER_POINT = 16
LABEL_SMOOTHING = 0.02
WEIGHT_DECAY = 1e-4
WARM_UP = 0.05
# The averaged weights remember a twentieth of the steps, and no more than this many.
LONGEST_MEMORY = 1000


class Feed(Protocol):
    """Batches by number, such as a `lensweep.training.data.stream.Stream`."""

    @property
    def size(self) -> int:
        """Cutouts in a batch."""

    @property
    def batches_per_epoch(self) -> int:
        """At least one."""

    def batches(self, first: int, stop: int) -> Iterator[tuple[Any, Any]]:
        """What the network is given, and what it is to say; batch i is always the same."""


@dataclass(frozen=True)
class Course:
    """How one training goes.

    Attributes
    ----------
    name : str
        Shown in the progress.
    epochs : int
    learning_rate : float
        Highest, after the warm-up, for batches of `BATCH`.
    """

    name: str
    epochs: int
    learning_rate: float


def compile_classifier(
    classifier: keras.Model, course: Course, n_steps: int, batch: int = BATCH, loss: Any = None
) -> None:
    """AdamW with warm-up, cosine decay, clipped gradients and averaged weights.

    Parameters
    ----------
    classifier : keras.Model
        Images to one logit.
    course : Course
    n_steps : int
        Of the whole training.
    batch : int
        Cutouts in each.
    loss : optional
        Of Keras; by default cross-entropy with a little smoothing.
    """
    loss = loss or keras.losses.BinaryCrossentropy(
        from_logits=True, label_smoothing=LABEL_SMOOTHING
    )
    rate = learning_rate_of(batch, course.learning_rate)
    warm_up = int(WARM_UP * n_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 20.0,
        decay_steps=max(1, n_steps - warm_up),
        alpha=0.02,
        warmup_target=rate,
        warmup_steps=warm_up,
    )
    memory = min(LONGEST_MEMORY, max(1, n_steps // 20))
    classifier.compile(
        keras.optimizers.AdamW(
            schedule, weight_decay=WEIGHT_DECAY, clipnorm=1.0, use_ema=True,
            ema_momentum=1.0 - 1.0 / memory,
        ),
        loss,
        # XLA is several times slower on processors.
        jit_compile=False,
    )  # fmt: skip


def fit(
    classifier: keras.Model,
    stream: Feed,
    course: Course,
    checkpoint: Path,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    loss: Any = None,
) -> pd.DataFrame:
    """Train a network on a stream of cutouts; a stopped training continues exactly.

    Parameters
    ----------
    classifier : keras.Model
        Images to one logit; ends with its averaged weights.
    stream : Feed
    course : Course
    checkpoint : Path
        `.npz` file of the unfinished training; to be removed once its end is kept.
    progress : Progress
    clock : callable
        Seconds that never run backwards.
    loss : optional
        As of `compile_classifier`.

    Returns
    -------
    DataFrame
        The learning curve: `epoch` (fractional) and the mean training `loss` since the last point.
    """
    per_epoch = stream.batches_per_epoch
    n_steps = course.epochs * per_epoch
    batch = stream.size
    compile_classifier(classifier, course, n_steps, batch, loss)
    classifier.optimizer.build(classifier.trainable_variables)
    start, curve, losses = _restore(classifier, checkpoint)
    stage = progress.stage(course.name, n_steps * batch, start * batch, unit="cutouts")
    saved = clock()
    for step, (images, labels) in enumerate(stream.batches(start, n_steps), start=start + 1):
        # Of this batch alone: Keras begins its mean anew at every call.
        losses.append(float(np.asarray(classifier.train_on_batch(images, labels))))
        progress.advance(stage, batch)
        if step % BATCHES_PER_POINT == 0 or step == n_steps:
            curve.append((step / per_epoch, float(np.mean(losses))))
            losses.clear()
        if clock() - saved >= CHECKPOINT_SECONDS:
            _save(classifier, checkpoint, step, batch, curve, losses)
            saved = clock()
    classifier.optimizer.finalize_variable_values(classifier.trainable_variables)
    return pd.DataFrame(curve, columns=["epoch", "loss"])


def _state(classifier: keras.Model) -> list[keras.Variable]:
    """All that a step changes: weights, dropout's random state, the optimizer."""
    return [*classifier.variables, *classifier.optimizer.variables]


def _save(
    classifier: keras.Model,
    path: Path,
    step: int,
    batch: int,
    curve: list[tuple[float, float]],
    losses: list[float],
) -> None:
    arrays: dict[str, Any] = {f"{n:05d}": np.asarray(v) for n, v in enumerate(_state(classifier))}
    # Of killed trainings: they are large.
    sweep(path.parent, f".{path.name}.*.partial")
    with whole_file(path) as aside, aside.open("wb") as file:
        np.savez(
            file, step=step, batch=batch, curve=np.array(curve).reshape(-1, 2),
            losses=np.array(losses), **arrays,
        )  # fmt: skip


def _restore(
    classifier: keras.Model, path: Path
) -> tuple[int, list[tuple[float, float]], list[float]]:
    if not path.is_file():
        return 0, [], []
    with np.load(path, allow_pickle=False) as arrays:
        for number, variable in enumerate(_state(classifier)):
            variable.assign(arrays[f"{number:05d}"])
        curve = [(float(epoch), float(loss)) for epoch, loss in arrays["curve"]]
        return int(arrays["step"]), curve, arrays["losses"].tolist()
