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


def read_stamps(folder: Path, n_cutouts: int | None = None) -> Stamps:
    """Read a labelled set of `lensweep simulate`, `inject` or `collect`.

    Parameters
    ----------
    folder : Path
    n_cutouts : int, optional
        How many to take, from the first; all by default.

    Raises
    ------
    InputError
        As `lensweep.training.data.examples.open_examples`.
    """
    examples = open_examples(folder, n_cutouts)
    flux = read_flux(examples.store, np.arange(len(examples)))
    return Stamps(flux, examples.labels, examples.objects, examples.truth, examples.fingerprint)


def check_stamps(X: Any) -> NDArray[np.float32]:
    """Cutouts as float32, shape (n, height, width); NaN is where there is no data.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    flux = np.asarray(
        check_array(X, dtype=np.float32, allow_nd=True, ensure_2d=False, ensure_all_finite=False)
    )
    if flux.ndim != 3:
        raise ValueError(f"X: cutouts of shape (n, height, width), but got {flux.shape}")
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
    stretch = Stretch()
    plane = np.arcsinh(scaled / np.float32(stretch.faint_sigma)) / np.float32(stretch.span)
    return np.asarray((plane - np.float32(0.5)).clip(-1.0, 1.0)[..., None], np.float32)
