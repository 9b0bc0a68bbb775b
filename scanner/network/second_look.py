"""The second look: the members that share a trunk look at a cutout again, each turned its own way.

The sky has no up, but what a network makes of an arc depends a little on how it lies. Members
that read the same features of the same image err together; turned, they err apart, and their mean
is the better for it (Dieleman, Willett & Dambre 2015 average over turns in the same way). Only
cutouts that look like lenses at first are worth three more passes.
"""

import numpy as np
from numpy.typing import NDArray

# Quarter turns keep every pixel as it is.
TURNS = 4


def turned(images: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """Images after some quarter turns.

    Parameters
    ----------
    images : ndarray, shape (n, size, size), float32
    turn : int
        0 leaves them as they are.
    """
    return np.rot90(images, turn, axes=(1, 2))


def after_looks(
    looks: NDArray[np.float32],
    weights: NDArray[np.floating],
    biases: NDArray[np.floating],
    second_look: float | None,
) -> NDArray[np.float64]:
    """What members make of cutouts, from what their trunk made of them.

    Parameters
    ----------
    looks : ndarray, shape (TURNS, n, features), float32
        Features of every quarter turn; of the first alone where nobody looks again.
    weights : ndarray, shape (features, members)
    biases : ndarray, shape (members,)
    second_look : float or None
        As of `lensweep.scanner.network.ensemble.Trunk`.

    Returns
    -------
    ndarray, shape (n, members), float64
        The same logits as of `lensweep.scanner.network.inference.LoadedTrunk.logits`.
    """
    logits = np.asarray(looks[0] @ weights + biases, np.float64)
    if second_look is None:
        return logits
    again = np.flatnonzero(logits.mean(axis=1) >= second_look)
    logits[again] = own_turns(looks[:, again] @ weights + biases)
    return logits


def own_turns(looks: NDArray[np.floating]) -> NDArray[np.floating]:
    """From what all members make of all turns, what each makes of its own.

    Parameters
    ----------
    looks : ndarray, shape (TURNS, n, members)

    Returns
    -------
    ndarray, shape (n, members)
        Member k's turn is k modulo TURNS.
    """
    members = np.arange(looks.shape[2])
    return np.moveaxis(looks[members % TURNS, :, members], 0, 1)
