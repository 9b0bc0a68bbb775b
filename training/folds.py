"""Cross-validation folds: stratified by label, grouped by object."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from scanner.errors import InputError


def assign_folds(
    labels: NDArray[np.bool_], objects: NDArray[np.int64], n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Assign every cutout to the fold in which it is held out.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    objects : ndarray of int, shape (n,)
        Cutouts of one object (copies, overlapping windows, visits) share its number, and a fold.
    n_folds : int
    seed : int

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If there is one class only, or there are fewer objects than folds.
    """
    if labels.all() or not labels.any():
        raise InputError(f"labels: all {len(labels)} cutouts are of one class; both are needed")
    n_objects = len(np.unique(objects))
    if n_objects < n_folds:
        raise InputError(f"{n_objects} objects for {n_folds} folds: ask for fewer folds")
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(labels), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, objects)):
        folds[held_out] = fold
    return folds
