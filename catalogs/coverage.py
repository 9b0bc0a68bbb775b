"""Where on the sky was looked: multi-order coverage maps (IVOA MOC 2.0), as FITS files.

A map is a set of HEALPix cells of one order, `ORDER`. A cell belongs to it when its centre was
looked at, so areas are neither rounded up nor down.
"""

from collections.abc import Iterable
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy_healpix import healpix_to_lonlat
from mocpy import MOC
from numpy.typing import ArrayLike, NDArray

from lensweep.catalogs.tables import TableError, check_positions
from lensweep.catalogs.written_tables import CREATED
from lensweep.ground.files import local_copy, place, whole_file

# Cells of 0.81 arcsec a side (58.63 deg / 2**18): 16 pixels of 0.05 arcsec. Positions of known
# lenses are listed to about an arcsecond, so smaller cells would say nothing more.
ORDER = 18
_SKY_DEG2 = 360.0**2 / np.pi


class CoverageError(TableError):
    """A coverage map that cannot be read."""


def cells_within(
    ra_deg: ArrayLike, dec_deg: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """List every cell that touches a convex polygon on the sky.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (corners,)
        ICRS degrees; sides are great circles, as the straight lines of a TAN projection are.

    Returns
    -------
    cells : ndarray, shape (n,), int64
        Nested HEALPix numbers of order `ORDER`.
    centre_ra_deg, centre_dec_deg : ndarray, shape (n,), float64
    """
    polygon = MOC.from_polygon(
        np.asarray(ra_deg, float) * u.deg, np.asarray(dec_deg, float) * u.deg, max_depth=ORDER
    )
    cells = polygon.flatten().astype(np.int64)
    ra, dec = healpix_to_lonlat(cells, 2**ORDER, order="nested")
    return cells, np.asarray(ra.to_value(u.deg)), np.asarray(dec.to_value(u.deg))


def coverage_of(cells: NDArray[np.int64]) -> MOC:
    """Make a map of cells of order `ORDER`; none make an empty map."""
    return MOC.from_healpix_cells(
        cells.astype(np.uint64), np.full(len(cells), ORDER, np.uint8), max_depth=ORDER
    )


def joined(maps: Iterable[MOC]) -> MOC:
    """The union of maps: the same sky counts once, however often it was looked at."""
    whole = coverage_of(np.empty(0, np.int64))
    for part in maps:
        whole = whole.union(part)
    return whole


def inside(coverage: MOC, ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.bool_]:
    """Which positions lie in cells of a map.

    Raises
    ------
    TableError
        Positions not on the sphere.
    """
    check_positions(ra_deg, dec_deg, "positions")
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    if not len(ra) or coverage.empty():
        return np.zeros(len(ra), np.bool_)
    return np.asarray(coverage.contains_lonlat(np.mod(ra, 360.0) * u.deg, dec * u.deg))


def random_positions(
    coverage: MOC, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions spread evenly over a map, degrees, each at the middle of a cell of 0.4 mas."""
    first, last = coverage.to_depth29_ranges.astype(np.int64).T
    ends = np.cumsum(last - first)
    chosen = rng.integers(0, ends[-1], n)
    which = np.searchsorted(ends, chosen, side="right")
    cells = last[which] - (ends[which] - chosen)
    lon, lat = healpix_to_lonlat(cells, 2**29, order="nested")
    return lon.to_value("deg"), lat.to_value("deg")


def area_deg2(coverage: MOC) -> float:
    """Area of a map, square degrees."""
    return 0.0 if coverage.empty() else float(coverage.sky_fraction) * _SKY_DEG2


def write_coverage(coverage: MOC, path: str | Path, facts: dict[str, str | int]) -> None:
    """Write a map as a FITS file (MOC 2.0) that is whole or not there.

    Parameters
    ----------
    coverage : MOC
    path : str or Path
        Replaced if it is there.
    facts : dict
        FITS cards of at most eight letters that are added to the table's header.
    """
    with whole_file(place(path)) as aside:
        coverage.save(str(aside), format="fits", overwrite=True, fits_keywords=CREATED | facts)


def read_coverage(path: str | Path) -> tuple[MOC, fits.Header]:
    """Read a map and the header of its table.

    Raises
    ------
    CoverageError
        If the file is missing or is not a MOC.
    """
    path = place(path)
    if not path.is_file():
        raise CoverageError(f"coverage map {path}: no such file")
    try:
        # mocpy's reader says nothing more than ValueError of whatever a file is not.
        with local_copy(path) as copy:
            return MOC.load(str(copy), format="fits"), fits.getheader(copy, 1)
    except (OSError, ValueError, IndexError) as error:
        raise CoverageError(f"coverage map {path}: not a readable MOC: {error}") from error
