"""Labelled cutouts on disk, checked before anything is trained on them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.run import cutout_store
from lensweep.training.data.labelled_set import BAND, SHARD, read_truth

LABEL, KIND, OBJECT = "is_lens", "kind", "object_id"


@dataclass(frozen=True)
class Examples:
    """The first cutouts of a data set, and what they are.

    Attributes
    ----------
    folder : Path
        With `cutouts.zarr` and `truth/`.
    truth : DataFrame
        A row per cutout: `is_lens`, `kind` and whatever else is known.
    fingerprint : str
        SHA-256 of their pixels.
    """

    folder: Path
    truth: pd.DataFrame
    fingerprint: str

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def store(self) -> Path:
        """The cutout store."""
        return self.folder / "cutouts.zarr"

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Which cutouts hold a lens."""
        return np.asarray(self.truth[LABEL], bool)

    @property
    def objects(self) -> NDArray[np.int64]:
        """What each cutout shows: copies, visits and overlapping windows share a number."""
        if OBJECT not in self.truth:
            return np.arange(len(self.truth))
        return np.asarray(pd.factorize(self.truth[OBJECT])[0], np.int64)


def read_flux(store: Path, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read some cutouts of a store, in the order asked for.

    Parameters
    ----------
    store : Path
    rows : ndarray of int, shape (n,)
        May repeat.

    Returns
    -------
    ndarray, shape (n, 100, 100), float32
        e-/s; NaN where there is no data.
    """
    return np.asarray(cutout_store.read_rows(store, "flux", rows), np.float32)


def open_examples(
    folder: Path, n_cutouts: int | None = None, both_classes: bool = True, band: str = BAND
) -> Examples:
    """Open a data set and check that it can be trained on; its pixels are read once.

    Parameters
    ----------
    folder : Path
    n_cutouts : int, optional
        How many to take, from the first; all by default.
    both_classes : bool
        Refuse a set of one class. One that is joined to others may be of one, such as hard
        negatives; `check_classes` then looks at all together.
    band : str
        That its cutouts are to be of.

    Raises
    ------
    InputError
        If the store or its truth is missing or too short, a column is missing, all are of one
        class or of another band, or a cutout has no data.
    """
    if not list((folder / "truth").glob("*.parquet")):
        raise InputError(
            f"data set {folder}: no truth/*.parquet in it; simulate, collect or mine it"
        )
    truth = read_truth(folder)
    _check_columns(folder, truth)
    attributes, n_stored = cutout_store.read_attributes(folder / "cutouts.zarr")
    if n_stored != len(truth):
        raise InputError(
            f"data set {folder}: {n_stored} cutouts, but {len(truth)} rows of truth; it is not "
            "finished: repeat the command that makes it"
        )
    if attributes.band != band:
        raise InputError(
            f"data set {folder}: its cutouts are {attributes.band}, but {band} is needed here"
        )
    wanted = len(truth) if n_cutouts is None else n_cutouts
    if len(truth) < wanted:
        raise InputError(
            f"data set {folder}: {len(truth)} cutouts, but {wanted} are asked for; make more"
        )
    fingerprint = _read_pixels(folder, wanted)
    examples = Examples(folder, truth.iloc[:wanted], fingerprint)
    if both_classes:
        check_classes([examples])
    return examples


def check_classes(sets: Sequence[Examples]) -> None:
    """Refuse sets that together are of one class.

    Raises
    ------
    InputError
        If all their cutouts are lenses, or none is.
    """
    labels = np.concatenate([one.labels for one in sets])
    if labels.all() or not labels.any():
        which = "lenses" if labels.all() else "non-lenses"
        names = ", ".join(str(one.folder) for one in sets)
        raise InputError(
            f"data set {names}: all {len(labels)} cutouts are {which}; both are needed"
        )


def _check_columns(folder: Path, truth: pd.DataFrame) -> None:
    missing = sorted({LABEL, KIND} - set(truth.columns))
    if missing:
        raise InputError(
            f"data set {folder}: its truth has no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, truth.columns))}: rename the columns that say whether a cutout "
            f"holds a lens to {LABEL}, and what it shows to {KIND}"
        )
    if truth[LABEL].isna().any() or not truth[LABEL].isin([True, False]).all():
        raise InputError(f"data set {folder}: {LABEL} must be true or false in every row")


def _read_pixels(folder: Path, n_cutouts: int) -> str:
    """SHA-256 of the first cutouts' pixels, each of which must hold data."""
    digest, empty = hashlib.sha256(), []
    for first in range(0, n_cutouts, SHARD):
        stop = min(first + SHARD, n_cutouts)
        flux = cutout_store.read_column(folder / "cutouts.zarr", "flux", first, stop)
        digest.update(flux.tobytes())
        empty += (first + np.flatnonzero(~np.isfinite(flux).any(axis=(1, 2)))).tolist()
    if empty:
        rows = ", ".join(map(str, empty[:5]))
        raise InputError(
            f"data set {folder}: {len(empty)} cutouts without a valid pixel (rows {rows}...): "
            "leave them out"
        )
    return digest.hexdigest()
