"""Cross-match two lists of positions on the sphere."""

import math

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, search_around_sky
from numpy.typing import ArrayLike, NDArray

from lensweep.catalogs.tables import TableError, check_positions

# Beyond a degree a match means nothing for lenses, and the pairs may not fit in memory.
MAX_RADIUS_ARCSEC = 3600.0

Matches = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class MatchError(TableError):
    """A match radius that cannot be used."""


def all_pairs(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    catalog_ra_deg: ArrayLike,
    catalog_dec_deg: ArrayLike,
    radius_arcsec: float,
) -> Matches:
    """Find every pair of an input and a catalogue position within a radius.

    Great-circle distances, so RA 0/360 and the poles need no care.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        Input positions, degrees.
    catalog_ra_deg, catalog_dec_deg : array_like, shape (m,)
        Catalogue positions, degrees, in the same frame.
    radius_arcsec : float
        Largest separation, in (0, 3600].

    Returns
    -------
    index : ndarray, shape (k,), int64
        Rows of the input, ascending.
    catalog_index : ndarray, shape (k,), int64
        Rows of the catalogue; within one input row, by separation and then by row.
    separation_arcsec : ndarray, shape (k,), float64
        Great-circle distances.

    Raises
    ------
    MatchError
        Radius not in (0, 3600].
    TableError
        Positions not on the sphere or of unequal lengths.
    """
    check_radius(radius_arcsec)
    check_positions(ra_deg, dec_deg, "positions to match")
    check_positions(catalog_ra_deg, catalog_dec_deg, "catalogue")
    index, catalog_index, separation, _ = search_around_sky(
        _sky(ra_deg, dec_deg),
        _sky(catalog_ra_deg, catalog_dec_deg),
        radius_arcsec * u.arcsec,
    )
    separation_arcsec = np.asarray(separation.to_value(u.arcsec), dtype=np.float64)
    order = np.lexsort((catalog_index, separation_arcsec, index))
    return (
        np.asarray(index[order], dtype=np.int64),
        np.asarray(catalog_index[order], dtype=np.int64),
        separation_arcsec[order],
    )


def pairs_within(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    catalog_ra_deg: ArrayLike,
    catalog_dec_deg: ArrayLike,
    radii_arcsec: ArrayLike,
) -> Matches:
    """As `all_pairs`, with a radius for each catalogue row.

    Parameters
    ----------
    ra_deg, dec_deg, catalog_ra_deg, catalog_dec_deg
        As of `all_pairs`.
    radii_arcsec : array_like, shape (m,)
        Largest separation from each catalogue row, in (0, 3600].
    """
    radii = np.asarray(radii_arcsec, np.float64)
    for radius in radii[~(radii > 0.0) | ~np.isfinite(radii)][:1]:
        check_radius(float(radius))
    largest = float(radii.max()) if radii.size else MAX_RADIUS_ARCSEC
    found = all_pairs(ra_deg, dec_deg, catalog_ra_deg, catalog_dec_deg, largest)
    near = found[2] <= radii[found[1]]
    return found[0][near], found[1][near], found[2][near]


def nearest(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    catalog_ra_deg: ArrayLike,
    catalog_dec_deg: ArrayLike,
    radius_arcsec: float,
) -> Matches:
    """Match each input position to its nearest catalogue position, if one is within the radius.

    An input appears at most once; a catalogue position may be the nearest of several inputs.
    At equal separations the lower catalogue row is taken. Parameters and errors are those of
    `all_pairs`.

    Returns
    -------
    index : ndarray, shape (k,), int64
        Rows of the input that have a match, ascending.
    catalog_index : ndarray, shape (k,), int64
        Their catalogue rows.
    separation_arcsec : ndarray, shape (k,), float64
        Great-circle distances.
    """
    index, catalog_index, separation_arcsec = all_pairs(
        ra_deg, dec_deg, catalog_ra_deg, catalog_dec_deg, radius_arcsec
    )
    matched, first = np.unique(index, return_index=True)
    return matched, catalog_index[first], separation_arcsec[first]


def check_radius(radius_arcsec: float) -> None:
    """Refuse a radius that is not finite, not positive or larger than a degree.

    Raises
    ------
    MatchError
        Naming the value.
    """
    if not math.isfinite(radius_arcsec) or not 0.0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise MatchError(
            f"radius {radius_arcsec} arcsec: must be above 0 and at most {MAX_RADIUS_ARCSEC:.0f}"
        )


def _sky(ra_deg: ArrayLike, dec_deg: ArrayLike) -> SkyCoord:
    # The frame's name does not matter: both lists are in the same one.
    ra, dec = np.asarray(ra_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64)
    return SkyCoord(ra, dec, unit="deg", frame="icrs")
