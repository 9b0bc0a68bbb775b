"""Trunk features of a data set, computed once on a cluster and kept; heads then train in seconds.

A worker loads a trunk once, by path and hash; it never travels with a task.
"""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.network.batch_size import Batches
from lensweep.scanner.network.bundle_store import sha256_of
from lensweep.scanner.network.looks import first_looks, turned_looks
from lensweep.scanner.network.networks import freeze, on_gpu
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.augment import AUGMENTATIONS
from lensweep.training.data.examples import Examples, read_flux
from lensweep.training.data.rows import fill_rows
from lensweep.training.fit.keras_on_tensorflow import keras

BATCH, GPU_BATCH = 32, 256


@dataclass(frozen=True)
class View:
    """How cutouts are shown to the trunk.

    Attributes
    ----------
    number : int
        0 as they are; others augmented, each differently.
    augmentation : str
        One of `lensweep.training.data.augment.AUGMENTATIONS`.
    seed : int
    turn : int
        Quarter turns after all that.
    """

    number: int
    augmentation: str
    seed: int
    turn: int = 0

    def show(self, flux: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """Augment the cutouts first, first + 1, ... of those that are asked for."""
        if not self.number:
            return flux
        rng = np.random.default_rng([self.seed, 8, self.number, first])
        return AUGMENTATIONS[self.augmentation](flux, rng)


def save_trunk(trunk: keras.Model, path: Path) -> None:
    """Write a trunk for the workers to load."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.keras")
    trunk.save(partial)
    partial.replace(path)


def compute_features(
    trunk: Path,
    examples: Examples,
    view: View,
    kept: Path,
    client: Client,
    progress: Progress,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Compute the features of cutouts; what an earlier run has computed is kept.

    Parameters
    ----------
    trunk : Path
        As `save_trunk` wrote it.
    examples : Examples
    view : View
    kept : Path
        The Zarr array's folder.
    client : distributed.Client
    progress : Progress
    rows : ndarray of int, shape (n,), optional
        Which cutouts; all by default.

    Returns
    -------
    ndarray, shape (n, features), float32
    """
    rows = np.arange(len(examples)) if rows is None else rows
    listed = kept.with_suffix(".rows.npy")
    listed.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(listed) as aside, aside.open("wb") as file:
        np.save(file, rows)
    loaded = (str(trunk.absolute()), sha256_of(trunk))
    made_from = {
        "trunk_sha256": loaded[1], "cutouts": str(examples.store.absolute()),
        "cutouts_sha256": examples.fingerprint,
        "rows_sha256": hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest(),
    }  # fmt: skip
    return fill_rows(
        kept, (len(rows), _width(*loaded)), made_from | dataclasses.asdict(view), _features, client,
        progress, store=examples.store.absolute(), view=view, trunk=loaded,
        rows=listed.absolute(),
    )  # fmt: skip


def _features(
    start: int,
    stop: int,
    store: Path,
    view: View,
    trunk: tuple[str, str],
    rows: Path,
) -> NDArray[np.float32]:
    flux = view.show(read_flux(store, np.load(rows, mmap_mode="r")[start:stop]), start)
    return run_trunk(_load_trunk(*trunk), flux, view.turn)


def run_trunk(network: Batches, flux: NDArray[np.float32], turn: int = 0) -> NDArray[np.float32]:
    """Features of some cutouts, in batches of one size, so that none depends on its company.

    They are turned in units of their noise, as `lensweep.scanner.network.inference` does it.
    """
    looks = first_looks(flux, measure_noise(flux))
    return network(turned_looks(looks, range(turn, turn + 1)))


@functools.lru_cache(maxsize=1)
def _width(path: str, _sha256: str) -> int:
    """Features of a trunk, which is loaded for that once and not for every view."""
    return int(keras.models.load_model(path, compile=False).output_shape[-1])


@functools.lru_cache(maxsize=1)
def _load_trunk(path: str, _sha256: str) -> Batches:
    """A frozen trunk, once per worker; another file under the same name is loaded anew."""
    network = freeze(keras.models.load_model(path, compile=False), Stretch())
    return Batches(network, GPU_BATCH if on_gpu() else BATCH)
