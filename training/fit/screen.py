"""The screen: a small network that lets a scan skip most windows before the trunk sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_frame
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import SCREEN, check_bundle
from lensweep.scanner.network.estimators import estimator_file
from lensweep.scanner.network.networks import load_network, on_gpu
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.examples import Examples, read_flux
from lensweep.training.data.stream import Stream
from lensweep.training.fit.classifier import INPUT_SHAPE
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.features import save_trunk
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.loop import Course, fit
from lensweep.training.fit.metrics import measure, threshold
from lensweep.training.fit.on_device import batch_of, of_unstretched
from lensweep.training.fit.residual import convolve, residual

CHANNELS = (16, 32, 64, 128)
LEARNING_RATE = 2e-3
# Of the lenses that the ensemble finds with 0.1 % false positives, this share must pass.
RECALL = 0.995
FOUND_AT_FPR = 0.001
_BLOCK = 512


@dataclass(frozen=True)
class Screening:
    """A trained screen, and how far it is trusted.

    Attributes
    ----------
    network : keras.Model
        As of `build_screen`.
    threshold : float
        Cutouts below this logit need no trunk.
    metrics : dict
        Shares that pass it, on cutouts that neither screen nor ensemble was trained on.
    """

    network: keras.Model
    threshold: float
    metrics: dict[str, float]


def build_screen() -> keras.Model:
    """A small residual network: (n, 100, 100, 3) stretched cutouts to (n, 1) logits.

    One residual block (He et al. 2016) a stage; every stage after the first halves the size.
    """
    images = keras.Input(INPUT_SHAPE)
    x = convolve(images, CHANNELS[0], 5, 2)
    for stage, channels in enumerate(CHANNELS):
        x = residual(x, channels, 1 if stage == 0 else 2)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(1)(x), name="screen")


def train_screen(
    config: TrainConfig, sets: Sequence[Examples], workdir: Path, progress: Progress
) -> keras.Model:
    """Train the screen on the cutouts to adapt on; what is finished is kept.

    In float32: of layers this small, bfloat16 makes a step a quarter slower on a processor.

    Parameters
    ----------
    config : TrainConfig
    sets : sequence of Examples
    workdir : Path
    progress : Progress

    Returns
    -------
    keras.Model
        As of `build_screen`.
    """
    kept = workdir / "screen.keras"
    if kept.is_file():
        return keras.models.load_model(kept, compile=False)
    workdir.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed + 1)
    screen = build_screen()
    course = Course("screen", config.screen_epochs, LEARNING_RATE)
    checkpoint, here = workdir / "screen-checkpoint.npz", on_gpu()
    stream = Stream(
        sets, config.seed + 1, config.augmentation, size=batch_of(checkpoint), unstretched=here
    )
    trained = of_unstretched(screen) if here else screen
    curve = fit(trained, stream, course, checkpoint, progress)
    write_frame(curve, workdir / "screen-curve.parquet")
    save_trunk(screen, kept)
    checkpoint.unlink(missing_ok=True)
    return screen


def kept_screen(ensemble: str) -> keras.Model | None:
    """The screen of the ensemble that a training begins with; None if it has no such network.

    Parameters
    ----------
    ensemble : str
        A shipped one, or a folder.
    """
    bundle = check_bundle(ensemble)
    if bundle.description.screen is None or estimator_file(SCREEN) in bundle.files:
        return None
    return load_network(Path(bundle.folder), SCREEN)


def judge_screen(
    network: keras.Model, examples: Examples, out_of_fold: NDArray[np.float64]
) -> Screening:
    """Choose the screen's threshold on the cutouts of the folds, and say what it loses and saves.

    Parameters
    ----------
    network : keras.Model
    examples : Examples
        Of the folds.
    out_of_fold : ndarray, shape (n,)
        The members' logits of these.
    """
    stretch, parts = Stretch(), []
    for first in range(0, len(examples), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(examples)))
        images = stretch(read_flux(examples.store, rows))
        parts.append(network.predict(images, verbose=0)[:, 0])
    logits = np.concatenate(parts)
    labels = examples.labels
    found = labels & (out_of_fold > threshold(out_of_fold[~labels], FOUND_AT_FPR))
    wanted = logits[found if found.any() else labels]
    cut = float(np.quantile(wanted, 1.0 - RECALL, method="lower"))
    metrics = {
        "found_lenses_passed": float((wanted >= cut).mean()),
        "lenses_passed": float((logits[labels] >= cut).mean()),
        "others_passed": float((logits[~labels] >= cut).mean()),
        "roc_auc": measure(logits, labels).roc_auc,
    }
    return Screening(network, cut, metrics)
