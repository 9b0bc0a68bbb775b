"""Two finders in a row: the first refuses most of what holds no lens, the second looks closely."""

import numpy as np
from numpy.typing import NDArray

# Log-odds beneath which the refused stand: two in a thousand million.
REFUSED = -20.0


def cut_for(scores: NDArray[np.floating], recall: float) -> float:
    """The score that a share `recall` of lenses reaches.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Of lenses.
    recall : float
    """
    return float(np.quantile(scores, 1.0 - recall, method="lower"))


def cascade(
    first: NDArray[np.floating], cut: float, second: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Log-odds of a cascade: the second's of what passes, and the refused beneath, in order.

    Parameters
    ----------
    first : ndarray, shape (n,)
        Log-odds by the first finder.
    cut : float
        What is below does not pass.
    second : ndarray, shape (passed,)
        Log-odds by the second finder, of those that pass.
    """
    scores = REFUSED + (first - cut).astype(np.float64)
    scores[first >= cut] = np.maximum(second, REFUSED)
    return scores


def as_probabilities(log_odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of both classes, shape (n, 2)."""
    lens = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))
    return np.column_stack([1.0 - lens, lens])
