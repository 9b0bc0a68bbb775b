"""Trunk features of a data set, computed once and kept; heads then train in seconds."""

import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from scanner import cutout_store
from scanner.progress import Progress
from scanner.stretch import Stretch
from training.adapt import turn_at_random

BLOCK = 512
BATCH = 64


def compute_features(
    trunk: keras.Model, store: Path, kept: Path, turned: bool, seed: int, progress: Progress
) -> NDArray[np.float32]:
    """Compute the features of all cutouts of a store; what is kept is not computed again.

    Parameters
    ----------
    trunk : keras.Model
    store : Path
        Cutout store.
    kept : Path
        A `.npy` file beside which the progress is kept.
    turned : bool
        Flip and quarter-turn every cutout at random first.
    seed : int
    progress : Progress

    Returns
    -------
    ndarray, shape (n, k), float32
    """
    _, n_cutouts = cutout_store.read_attributes(store)
    finished = kept.with_suffix(".json")
    start = json.loads(finished.read_text())["finished"] if finished.is_file() else 0
    stage = progress.stage("features", n_cutouts, start, unit="cutouts")
    features = np.lib.format.open_memmap(
        kept, "r+" if start else "w+", np.float32, (n_cutouts, trunk.output_shape[-1])
    )
    stretch = Stretch()
    for first in range(start, n_cutouts, BLOCK):
        flux = cutout_store.read_column(store, "flux", first, first + BLOCK)
        scaled = stretch(np.asarray(flux, np.float32))
        if turned:
            scaled = turn_at_random(scaled, np.random.default_rng([seed, 8, first]))
        features[first : first + len(flux)] = trunk.predict(scaled, BATCH, verbose=0)
        features.flush()
        finished.write_text(json.dumps({"finished": first + len(flux)}))
        progress.advance(stage, len(flux))
    return np.asarray(features)
