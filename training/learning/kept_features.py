"""What an ensemble's trunks make of a run's candidates: computed once, and kept with the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.files import make_folder, whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths

# So many at a time are kept, should the command be stopped: half a minute's work of two cores.
BATCH = 256
Looks = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Kept:
    """Features of some windows.

    Attributes
    ----------
    windows : MultiIndex
        Mosaic and number of each.
    looks : list of ndarray, shape (turns, n, features), float32
        By trunk; see `lensweep.scanner.network.inference.Ensemble.features`.
    """

    windows: pd.MultiIndex
    looks: Looks

    def of(self, windows: pd.MultiIndex) -> Looks:
        """Those of some of them, in the order asked for."""
        rows = self.windows.get_indexer(windows)
        return [look[:, rows] for look in self.looks]


def features_of(root: Path, bundle: Bundle, windows: pd.MultiIndex, progress: Progress) -> Looks:
    """Features of windows of a run, from an earlier command where it kept them.

    Parameters
    ----------
    root : Path
        The run's folder.
    bundle : Bundle
    windows : MultiIndex
        Mosaic and number of each.
    progress : Progress

    Returns
    -------
    list of ndarray, shape (turns, n, features), float32
        By trunk.
    """
    path = RunPaths(root).features(bundle.sha256)
    kept = _read(path, len(bundle.description.trunks))
    missing = windows if kept is None else windows.difference(kept.windows, sort=False)
    stage = progress.stage("features", len(windows), len(windows) - len(missing), unit="windows")
    if len(missing):
        ensemble = Ensemble(bundle, screen="off")
        for first in range(0, len(missing), BATCH):
            few = missing[first : first + BATCH]
            made = Kept(few, ensemble.features(_read_flux(root, few)))
            kept = made if kept is None else _joined(kept, made)
            _write(kept, path)
            progress.advance(stage, len(few))
    assert kept is not None
    return kept.of(windows)


def _read_flux(root: Path, windows: pd.MultiIndex) -> NDArray[np.float32]:
    paths = RunPaths(root)
    return cutout_store.gather([(paths.cutouts(mosaic), window) for mosaic, window in windows]).flux


def _joined(one: Kept, other: Kept) -> Kept:
    looks = [np.concatenate(pair, axis=1) for pair in zip(one.looks, other.looks, strict=True)]
    return Kept(one.windows.append(other.windows), looks)


def _read(path: Path, n_trunks: int) -> Kept | None:
    if not path.is_file():
        return None
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        windows = pd.MultiIndex.from_arrays([arrays["mosaic"], arrays["window"]])
        return Kept(windows, [arrays[f"looks_{number}"] for number in range(n_trunks)])


def _write(kept: Kept, path: Path) -> None:
    make_folder(path.parent)
    arrays: dict[str, Any] = {f"looks_{n}": look for n, look in enumerate(kept.looks)}
    arrays["mosaic"] = kept.windows.get_level_values(0).to_numpy(str)
    arrays["window"] = kept.windows.get_level_values(1).to_numpy(np.int64)
    with whole_file(path) as aside, aside.open("wb") as file:
        np.savez(file, **arrays)
