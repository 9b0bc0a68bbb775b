"""Maps of the fields of a run: what was looked at, as a small picture, and where candidates lie."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy_healpix import boundaries_lonlat
from mocpy import MOC
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from lensweep.catalogs.coverage import ORDER, inside
from lensweep.scanner.inspection.pictures import mask_png

# Pieces of sky further apart than this are different maps.
APART_DEG = 0.5
SIDE_PX = 480
MARGIN_SHARE = 0.04
# Their distances from each other are held at once.
MOST_CELLS = 3000


@dataclass(frozen=True)
class SkyMap:
    """One piece of sky, on the plane that touches it in its middle; north up, east left.

    Attributes
    ----------
    ra_deg, dec_deg : float
        Of its middle.
    width_arcmin, height_arcmin : float
    coverage : str
        Base64 of a PNG of one bit, white where it was looked at.
    """

    ra_deg: float
    dec_deg: float
    width_arcmin: float
    height_arcmin: float
    coverage: str


def draw_maps(
    footprint: MOC, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[list[SkyMap], NDArray[np.int64], NDArray[np.float64]]:
    """Draw a map of every piece of sky that was looked at, and place positions on them.

    Parameters
    ----------
    footprint : MOC
        Not empty.
    ra_deg, dec_deg : ndarray, shape (n,)

    Returns
    -------
    maps : list of SkyMap
        The largest first.
    which : ndarray, shape (n,), int64
        The map of each position.
    place : ndarray, shape (n, 2), float64
        Across from the left edge and down from the top one, each from 0 to 1.
    """
    cells = _coarse_cells(footprint)
    pieces = _pieces(cells)
    maps, which = [], np.zeros(len(ra_deg), np.int64)
    place, away = np.zeros((len(ra_deg), 2)), np.full(len(ra_deg), np.inf)
    sky = SkyCoord(ra_deg, dec_deg, unit="deg")
    for piece in pieces:
        centre, width, height = _box(cells[piece])
        maps.append(_draw(footprint, centre, width, height))
        x, y = (step.to_value(u.arcmin) for step in centre.spherical_offsets_to(sky))
        nearer = centre.separation(sky).deg < away
        which[nearer], away[nearer] = len(maps) - 1, centre.separation(sky).deg[nearer]
        place[nearer] = np.stack([0.5 - x / width, 0.5 - y / height], axis=1)[nearer]
    return maps, which, place


def _coarse_cells(footprint: MOC) -> SkyCoord:
    """Corners of cells that hold all that was looked at: a few thousand at most."""
    coarse, order = footprint, ORDER
    while len(coarse.flatten()) > MOST_CELLS:
        order -= 1
        coarse = footprint.degrade_to_order(order)
    cells = coarse.flatten().astype(np.int64)
    lon, lat = boundaries_lonlat(cells, 1, 2**order, order="nested")
    return SkyCoord(lon, lat)


def _pieces(cells: SkyCoord) -> list[NDArray[np.int64]]:
    """Indices of the cells of each piece, the piece of most cells first."""
    middle = cells[:, 0].cartesian.xyz.value.T
    if len(middle) == 1:
        return [np.array([0])]
    chord = 2.0 * np.sin(np.radians(APART_DEG) / 2.0)
    label = fcluster(linkage(middle, "single"), chord, "distance")
    pieces = [np.flatnonzero(label == one) for one in np.unique(label)]
    return sorted(pieces, key=len, reverse=True)


def _box(cells: SkyCoord) -> tuple[SkyCoord, float, float]:
    """Middle of some cells, and width and height in arcmin of what holds them all."""
    mean = cells.cartesian.mean()
    centre = SkyCoord(mean, frame="icrs", representation_type="cartesian").spherical
    middle = SkyCoord(centre.lon, centre.lat)
    for _ in range(2):
        x, y = (step.to_value(u.arcmin) for step in middle.spherical_offsets_to(cells))
        shift = [0.5 * float(side.min() + side.max()) * u.arcmin for side in (x, y)]
        middle = middle.spherical_offsets_by(*shift)
    margin = 1.0 + 2.0 * MARGIN_SHARE
    return middle, float(np.ptp(x)) * margin, float(np.ptp(y)) * margin


def _draw(footprint: MOC, centre: SkyCoord, width: float, height: float) -> SkyMap:
    scale = SIDE_PX / max(width, height)
    nx, ny = (max(1, round(side * scale)) for side in (width, height))
    across = (0.5 - (np.arange(nx) + 0.5) / nx) * width
    down = (0.5 - (np.arange(ny) + 0.5) / ny) * height
    x, y = np.meshgrid(across, down)
    points = centre.spherical_offsets_by(x.ravel() * u.arcmin, y.ravel() * u.arcmin)
    seen = inside(footprint, points.ra.deg, points.dec.deg).reshape(ny, nx)
    return SkyMap(float(centre.ra.deg), float(centre.dec.deg), width, height, mask_png(seen))
