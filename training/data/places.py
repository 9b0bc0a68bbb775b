"""Places on the sky for windows: apart from each other, away from known lenses, in groups.

Windows are aligned with north, so two of them share pixels when their centres differ by less than
a window's side both in right ascension (on the sky) and in declination.
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lensweep.catalogs.crossmatch import all_pairs, nearest
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

SIDE_ARCSEC = CUTOUT_SIZE * PIXEL_SCALE_ARCSEC
# Neighbours that just touch share no pixel, whatever rounding and the sky's curvature make of it.
_TOUCHING_ARCSEC = SIDE_ARCSEC - 0.2 * PIXEL_SCALE_ARCSEC

Degrees = NDArray[np.float64]


def overlapping_pairs(ra_deg: Degrees, dec_deg: Degrees) -> tuple[NDArray[np.int64], ...]:
    """Which windows share pixels.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n,)
        Centres of the windows.

    Returns
    -------
    first, second : ndarray, shape (k,), int64
        Every pair once, first < second.
    """
    first, second, _ = all_pairs(ra_deg, dec_deg, ra_deg, dec_deg, np.sqrt(2.0) * SIDE_ARCSEC)
    once = first < second
    first, second = first[once], second[once]
    sky = SkyCoord(ra_deg, dec_deg, unit="deg")
    steps = sky[first].spherical_offsets_to(sky[second])
    near = [np.abs(step.to_value(u.arcsec)) < _TOUCHING_ARCSEC for step in steps]
    shared = near[0] & near[1]
    return first[shared], second[shared]


def keep_apart(ra_deg: Degrees, dec_deg: Degrees, n_taken: int = 0) -> NDArray[np.bool_]:
    """Choose windows that share no pixel, first come, first served.

    Parameters
    ----------
    ra_deg, dec_deg : ndarray, shape (n,)
        Centres, in the order in which they are to be tried.
    n_taken : int
        The first ones are kept whatever they overlap with.

    Returns
    -------
    ndarray, shape (n,), bool
        Which are kept.
    """
    first, second = overlapping_pairs(ra_deg, dec_deg)
    kept = np.ones(len(ra_deg), np.bool_)
    # By the later window: when its turn comes, what comes before it is decided.
    order = np.argsort(second, kind="stable")
    for one, other in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if other >= n_taken and kept[one]:
            kept[other] = False
    return kept


def group_overlapping(ra_deg: Degrees, dec_deg: Degrees) -> NDArray[np.int64]:
    """Number the groups of windows that are joined by shared pixels: the objects of folds."""
    first, second = overlapping_pairs(ra_deg, dec_deg)
    n = len(ra_deg)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def away_from(
    ra_deg: Degrees, dec_deg: Degrees, lens_ra_deg: Degrees, lens_dec_deg: Degrees,
    radius_arcsec: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """Which positions have no lens within a radius."""
    near, _, _ = nearest(ra_deg, dec_deg, lens_ra_deg, lens_dec_deg, radius_arcsec)
    away = np.ones(len(ra_deg), np.bool_)
    away[near] = False
    return away
