"""Whether a reduced precision keeps a bundle's ranks, compared with float32's."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import PrecisionCheck
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.networks import reduced_precision
from lensweep.scanner.network.reference import kept_pixels, pixels_of
from lensweep.scanner.run import cutout_store

TOP = 100
# Some hundred are what a device takes a moment for; 1.6 MB in the bundle.
N_REFERENCE = 256
_BLOCK = 512


def check_precision(
    bundle: Bundle, stores: Sequence[Path], labels: NDArray[np.bool_]
) -> tuple[str, PrecisionCheck] | None:
    """Compare the ensemble's mean logits in this machine's reduced precision with float32's.

    Of the first look: a second one runs the same network.

    Parameters
    ----------
    bundle : Bundle
    stores : sequence of Path
        Cutout stores; at least `LEAST_WINDOWS` cutouts decide anything.
    labels : ndarray, shape (n,), bool
        Which of their cutouts hold a lens, one store after the other.

    Returns
    -------
    tuple or None
        The reduced precision and the figures, for `record_precision`; None if
        this machine has none.

    Raises
    ------
    ValueError
        If there are not as many labels as cutouts.
    """
    reduced = reduced_precision()
    if reduced is None:
        return None
    exact, fast = Ensemble(bundle, "full"), Ensemble(bundle, reduced)
    scores = [
        (exact.first_look(flux).mean(axis=1), fast.first_look(flux).mean(axis=1))
        for flux in _blocks(stores)
    ]
    full, less = (np.concatenate(parts) for parts in zip(*scores, strict=True))
    if len(full) != len(labels):
        raise ValueError(f"{len(full)} cutouts in {len(stores)} stores, but {len(labels)} labels")
    return reduced, compare(full, less, labels)


def compare(
    full: NDArray[np.float32], reduced: NDArray[np.float32], labels: NDArray[np.bool_]
) -> PrecisionCheck:
    """How well two sets of scores of the same cutouts agree.

    Parameters
    ----------
    full, reduced : ndarray, shape (n,), float32
    labels : ndarray, shape (n,), bool
    """
    first, second = (set(np.argsort(-scores, kind="stable")[:TOP].tolist())
                     for scores in (full, reduced))  # fmt: skip
    change = roc_auc_score(labels, reduced) - roc_auc_score(labels, full)
    return PrecisionCheck(
        len(full),
        float(spearmanr(full, reduced).statistic),
        len(first & second),
        float(abs(change)),
    )


def make_reference(
    bundle: Bundle, store: Path
) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
    """Reference cutouts for a bundle: the first of a store, with their scores in float32.

    Parameters
    ----------
    bundle : Bundle
    store : Path
        Of cutouts in random order that no head was trained on.

    Returns
    -------
    steps, step, logits
        As of `lensweep.scanner.network.reference.write_reference`.
    """
    flux = cutout_store.read_column(store, "flux", 0, N_REFERENCE)
    steps, step = kept_pixels(np.asarray(flux, np.float32))
    exact = Ensemble(bundle, "full", "off")
    return steps, step, exact.first_look(pixels_of(steps, step))


def _blocks(stores: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    for store in stores:
        _, n_cutouts = cutout_store.read_attributes(store)
        for first in range(0, n_cutouts, _BLOCK):
            flux = cutout_store.read_column(store, "flux", first, first + _BLOCK)
            yield np.asarray(flux, np.float32)
