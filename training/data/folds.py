"""Cross-validation folds: stratified by label, grouped by object."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from lensweep.ground.errors import InputError


def assign_folds(
    labels: NDArray[np.bool_],
    objects: NDArray[np.int64],
    n_folds: int,
    seed: int,
    protocol: str = "grouped",
) -> NDArray[np.int64]:
    """Assign every cutout to the fold in which it is held out.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    objects : ndarray of int, shape (n,)
        Cutouts of one object (copies, overlapping windows, visits) share its number.
    n_folds : int
    seed : int
    protocol : str
        ``grouped``: the cutouts of one object share a fold. ``thesis``: they do not, so that a
        network is tested on copies of what it was trained on.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If there is one class only, or a class has fewer objects than there are folds.
    """
    if labels.all() or not labels.any():
        raise InputError(f"labels: all {len(labels)} cutouts are of one class; both are needed")
    for wanted, name in ((True, "lenses"), (False, "non-lenses")):
        n_objects = len(np.unique(objects[labels == wanted]))
        if n_objects < n_folds:
            raise InputError(
                f"{n_objects} objects for {n_folds} folds among the {name}: ask for fewer folds, "
                "or give more of them"
            )
    grouped = protocol == "grouped"
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(labels), np.int64)
    parts = splitter.split(labels, labels, objects if grouped else None)
    for fold, (_, held_out) in enumerate(parts):
        folds[held_out] = fold
    return folds


def leaked_fraction(objects: NDArray[np.int64], folds: NDArray[np.int64]) -> float:
    """Share of cutouts of whose object another fold, and so the training part, has a copy too.

    Parameters
    ----------
    objects, folds : ndarray of int, shape (n,)
    """
    _, number = np.unique(objects, return_inverse=True)
    first = folds[np.unique(number, return_index=True)[1]]
    split = np.zeros(len(first), bool)
    np.logical_or.at(split, number, folds != first[number])
    return float(split[number].mean())
