"""A smooth curve through points of which each is lower than the one before."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class FallingCurve:
    """Cubic pieces that never rise (Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300).

    The same as `scipy.interpolate.PchipInterpolator`, which takes five times as long to make: every
    catalogue's intervals need four hundred.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Rising; two or more.
    y : ndarray, shape (n,)
        Falling.
    """

    def __init__(self, x: Numbers, y: Numbers) -> None:
        width = np.diff(x)
        steepness = np.diff(y) / width
        slope = _slopes(width, steepness)
        self._x, self._y, self._slope = x, y, slope
        self._square = (3.0 * steepness - 2.0 * slope[:-1] - slope[1:]) / width
        self._cube = (slope[:-1] + slope[1:] - 2.0 * steepness) / width**2

    def __call__(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """Height and slope at places between the first and the last point."""
        piece = np.searchsorted(self._x[1:-1], x, side="right")
        t, square, cube = x - self._x[piece], self._square[piece], self._cube[piece]
        slope = self._slope[piece]
        height = self._y[piece] + t * (slope + t * (square + t * cube))
        return height, slope + t * (2.0 * square + 3.0 * t * cube)


def _slopes(width: Numbers, steepness: Numbers) -> Numbers:
    """Slopes at the points: a mean of both sides' that the gentler one rules; SciPy's at ends."""
    if len(steepness) == 1:
        return np.repeat(steepness, 2)
    left, right = 2.0 * width[1:] + width[:-1], width[1:] + 2.0 * width[:-1]
    inner = (left + right) / (left / steepness[:-1] + right / steepness[1:])
    first, last = (
        ((2.0 * w[0] + w[1]) * s[0] - w[0] * s[1]) / (w[0] + w[1])
        for w, s in ((width, steepness), (width[::-1], steepness[::-1]))
    )
    return np.concatenate([[min(first, 0.0)], inner, [min(last, 0.0)]])
