"""Weights that make planted lenses a population: Collett's (2015), or one that is flat in its axes.

Lenses are drawn as training draws them: nearly, not exactly, as Collett has them. Weights mend the
marginal distributions of Einstein radius and of source magnitude by iterative proportional
fitting (Deming & Stephan 1940), within the ranges that are drawn. Lensed quasars are no part of
Collett's population: they weigh nothing.
"""

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.training.simulation.seen import MIN_CLEAR_PIXELS

# Quantiles of the Euclid table of Collett's (2015, ApJ 811, 20) LensPop: lenses that are visible
# there, with a signal-to-noise above 20 and magnified three times.
QUANTILES = (0.01, 0.05, 0.16, 0.50, 0.84, 0.95, 0.99)
COLLETT = {
    "theta_e_arcsec": (0.17, 0.25, 0.37, 0.65, 1.11, 1.51, 2.01),
    "source_magnitude": (22.6, 23.5, 24.4, 25.5, 26.7, 27.5, 27.9),
}
EDGES = {
    "theta_e_arcsec": (0.3, 0.5, 0.8, 1.2, 1.7, 2.5),
    "source_magnitude": (21.5, 23.5, 24.5, 25.5, 26.5),
}
_ROUNDS = 100


def collett_weights(lenses: pd.DataFrame) -> NDArray[np.float64]:
    """Weights with which lenses are as Collett's, as far as they reach; their mean is 1.

    Parameters
    ----------
    lenses : DataFrame
        ``kind``, ``theta_e_arcsec``, ``source_magnitude``.
    """
    targets = {name: _collett_shares(name) for name in EDGES}
    return _fitted(lenses, targets)


def is_clear(lenses: pd.DataFrame) -> NDArray[np.bool_]:
    """Of which lenses the arcs are clear to the eye: `MIN_CLEAR_PIXELS` exceed 3 sigma of noise.

    Parameters
    ----------
    lenses : DataFrame
        ``n_clear_pixels``; NaN where a lens was not even visible.
    """
    return np.asarray(lenses["n_clear_pixels"].to_numpy(np.float64) >= MIN_CLEAR_PIXELS)


def flat_weights(lenses: pd.DataFrame) -> NDArray[np.float64]:
    """Weights with which lenses are spread evenly over the axes; their mean is 1."""
    return _fitted(lenses, {name: np.diff(edges) for name, edges in EDGES.items()})


def _collett_shares(name: str) -> NDArray[np.float64]:
    known = np.interp(EDGES[name], COLLETT[name], QUANTILES)
    return np.diff(known)


def _fitted(lenses: pd.DataFrame, targets: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    galaxies = (lenses["kind"] == "lensed_galaxy").to_numpy()
    weights = galaxies.astype(np.float64)
    bins = {name: _bins(lenses, name) for name in targets}
    for _, (name, target) in itertools.product(range(_ROUNDS), targets.items()):
        found = np.bincount(bins[name], weights, minlength=len(target))
        there = found > 0.0
        factor = np.zeros(len(target))
        factor[there] = target[there] / target[there].sum() / found[there]
        weights = weights * factor[bins[name]]
    total = weights.sum()
    return np.asarray(weights * galaxies.sum() / total if total else weights)


def _bins(lenses: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Which bin each is in; what lies beyond the edges is in the first and the last."""
    inner = EDGES[name][1:-1]
    return np.asarray(np.digitize(lenses[name].to_numpy(np.float64), inner))
