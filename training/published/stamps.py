"""Labelled cutouts in memory, as estimators take them; and what networks are shown of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.labelled_set import BAND


@dataclass(frozen=True)
class Stamps:
    """A labelled data set, read whole: 40 kB a cutout.

    Attributes
    ----------
    flux : ndarray, shape (n, 100, 100), float32
        e-/s; NaN where there is no data.
    labels : ndarray of bool, shape (n,)
    objects : ndarray of int, shape (n,)
        Cutouts of one object share a number.
    truth : DataFrame
        A row per cutout.
    fingerprint : str
        SHA-256 of the pixels.
    """

    flux: NDArray[np.float32]
    labels: NDArray[np.bool_]
    objects: NDArray[np.int64]
    truth: pd.DataFrame
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)


def read_stamps(folder: str | Path, n_cutouts: int | None = None, band: str = BAND) -> Stamps:
    """Read a labelled set of `lensweep simulate`, `inject` or `collect`.

    Parameters
    ----------
    folder : str or Path
    n_cutouts : int, optional
        How many to take, from the first; all by default.
    band : str
        That its cutouts are to be of.

    Raises
    ------
    InputError
        As `lensweep.training.data.examples.open_examples`.
    """
    examples = open_examples(Path(folder), n_cutouts, band=band)
    flux = read_flux(examples.store, np.arange(len(examples)))
    return Stamps(flux, examples.labels, examples.objects, examples.truth, examples.fingerprint)


def check_stamps(X: Any, n_bands: int = 1) -> NDArray[np.float32]:
    """Cutouts as float32, shape (n, height, width) or (n, height, width, n_bands); NaN is no data.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    flux = np.asarray(
        check_array(X, dtype=np.float32, allow_nd=True, ensure_2d=False, ensure_all_finite=False)
    )
    if flux.shape[3:] != (() if n_bands == 1 else (n_bands,)) or flux.ndim < 3:
        bands = "" if n_bands == 1 else f", {n_bands}"
        raise ValueError(f"X: cutouts of shape (n, height, width{bands}), but got {flux.shape}")
    return flux


def faint(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first channel of `lensweep.scanner.network.stretch.Stretch`, and that alone.

    What a bundle's networks see holds it, so that a network of one channel can be one of them.

    Parameters
    ----------
    scaled : ndarray, shape (n, height, width), float32
        In units of the noise, 0 where there is no data.

    Returns
    -------
    ndarray, shape (n, height, width, 1), float32
        Within [-1, 1].
    """
    return Stretch().faint(scaled)[..., None]
