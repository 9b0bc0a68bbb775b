"""Train what the config does not freeze: stem, last blocks or the whole trunk.

Done once on cutouts that are apart by object from those of the folds, so that one trunk can serve
all folds without a leak; or, as the thesis did, for every fold on its own training part.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.atomic import write_json
from lensweep.ground.progress import Progress
from lensweep.scanner.network.networks import on_gpu, processor_has_bfloat16
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.augment import AUGMENTATIONS
from lensweep.training.data.examples import Examples, read_flux
from lensweep.training.data.stream import BATCH, Batch, Stream
from lensweep.training.fit.classifier import add_head, choose_trainable, rebuild_trunk, split_trunk
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.loop import Course, fit
from lensweep.training.fit.on_device import batch_of, of_unstretched

READ_BLOCK = 512
# What a round leaves for the next one.
ENDED = "ended.keras"


def adapt(
    trunk: keras.Model,
    config: TrainConfig,
    sets: Sequence[Examples],
    workdir: Path,
    progress: Progress,
    rows: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Train the parts of a trunk that the config does not freeze, in place.

    On GPUs, and on processors that have bfloat16, products are computed in it and weights kept in
    float32: half the time; elsewhere all is float32. Every pass sees the cutouts augmented anew,
    but where only the last blocks of the trunk are trained on a set for all folds: there the frozen
    part's output is computed once, for every cutout as it is and once more augmented. On a GPU
    batches are larger, and turned and stretched there.

    Parameters
    ----------
    trunk : keras.Model
    config : TrainConfig
    sets : sequence of Examples
    workdir : Path
        Keeps unfinished work.
    progress : Progress
    rows : ndarray of int, optional
        Which cutouts, counted through all sets; all by default.

    Returns
    -------
    DataFrame
        The learning curve, as of `lensweep.training.fit.loop.fit`.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    course = Course("adapting", config.adapt_epochs, config.adapt_learning_rate)
    fast = on_gpu() or processor_has_bfloat16()
    low = rebuild_trunk(config, trunk, "mixed_bfloat16" if fast else "float32")
    choose_trainable(low, config)
    keras.utils.set_random_seed(config.seed)
    stream: Stream
    checkpoint, unstretched = workdir / "checkpoint.npz", False
    if config.last_blocks and config.stem == "fixed" and rows is None:
        frozen, adapted = split_trunk(low, config)
        stream = _KeptOutput(frozen, config, sets, workdir, batch_of(checkpoint), progress)
    else:
        adapted, unstretched = low, on_gpu()
        stream = Stream(
            sets, config.seed, config.augmentation, rows, batch_of(checkpoint), unstretched
        )
    classifier = add_head(adapted, config.dropout)
    trained = of_unstretched(classifier) if unstretched else classifier
    curve = fit(trained, stream, course, checkpoint, progress)
    trunk.set_weights(low.get_weights())
    return curve


def discard_unfinished(workdir: Path) -> None:
    """Remove what only an unfinished adaptation needs."""
    for name in ("checkpoint.npz", "frozen.npy", "frozen.json", ENDED):
        (workdir / name).unlink(missing_ok=True)


class _KeptOutput(Stream):
    """Epochs over what the frozen part made of every cutout, as it is and augmented once."""

    def __init__(
        self,
        frozen: keras.Model,
        config: TrainConfig,
        sets: Sequence[Examples],
        workdir: Path,
        size: int,
        progress: Progress,
    ) -> None:
        super().__init__([*sets, *sets], config.seed, config.augmentation, size=size)
        self._values = _frozen_output(frozen, config, sets, workdir, progress)

    def batch(self, number: int) -> Batch:
        rows = self.rows_of(number)
        return self._values[rows].astype(np.float32), self.labels_of(rows)


def _frozen_output(
    frozen: keras.Model,
    config: TrainConfig,
    sets: Sequence[Examples],
    workdir: Path,
    progress: Progress,
) -> NDArray[np.float16]:
    """The frozen part's output for every cutout, as it is and augmented; kept in `workdir`."""
    path, finished = workdir / "frozen.npy", workdir / "frozen.json"
    blocks = [
        (view, one, first)
        for view in range(2) for one in sets for first in range(0, len(one), READ_BLOCK)
    ]  # fmt: skip
    n = 2 * sum(len(one) for one in sets)
    start = json.loads(finished.read_text())["blocks"] if finished.is_file() else 0
    stage = progress.stage("frozen", len(blocks), start, unit="blocks")
    values = np.lib.format.open_memmap(
        path, "r+" if start else "w+", np.float16, (n, *frozen.output_shape[1:])
    )
    stretch, augment = Stretch(), AUGMENTATIONS[config.augmentation]
    sizes = [min(READ_BLOCK, len(one) - first) for _, one, first in blocks]
    offsets = np.cumsum([0, *sizes])
    for number in range(start, len(blocks)):
        view, one, first = blocks[number]
        flux = read_flux(one.store, np.arange(first, first + sizes[number]))
        if view:
            flux = augment(flux, np.random.default_rng([config.seed, 7, number]))
        values[offsets[number] : offsets[number + 1]] = frozen.predict(
            stretch(flux), batch_size=BATCH, verbose=0
        )
        values.flush()
        write_json(finished, {"blocks": number + 1})
        progress.advance(stage, 1)
    return values
