"""What piece of sky was asked for: about a position, a name or a catalogue's, or a map of sky."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import Angle, Latitude, Longitude, SkyCoord
from astropy_healpix import HEALPix
from mocpy import MOC
from numpy.typing import NDArray

from lensweep.catalogs.coverage import ORDER, area_deg2, read_coverage
from lensweep.catalogs.known_lenses import castles, lensflow92
from lensweep.catalogs.tables import check_positions, read_positions
from lensweep.ground.errors import InputError
from lensweep.scanner.archive.request import SkyRequest

# A service is asked once for each cell of this order that is touched (0.92 deg a side), not once
# for each of a hundred neighbours.
_ASK_ORDER = 6
_CELLS = HEALPix(2**_ASK_ORDER, order="nested", frame="icrs")
# A map of more cells would be a search of the sky in thousands of questions.
MAX_CELLS = 400
LARGEST_RADIUS = 5.0 * u.deg


@dataclass(frozen=True)
class Cone:
    """A circle on the sky, degrees, ICRS."""

    ra_deg: float
    dec_deg: float
    radius_deg: float


@dataclass(frozen=True)
class Asked:
    """A piece of sky that somebody wants mosaics of.

    Attributes
    ----------
    label : str
        What the user calls it.
    moc : MOC
    cones : tuple of Cone
        Circles that hold all of it: what services are asked for.
    ra_deg, dec_deg : ndarray, shape (n,), float64
        The positions it is about; none for a map.
    names : tuple of str
        What the positions are called.
    """

    label: str
    moc: MOC
    cones: tuple[Cone, ...]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    names: tuple[str, ...] = ()

    def groups(self) -> list[NDArray[np.intp]]:
        """The positions in groups, each within one cell of 0.92 degrees a side."""
        cells = _CELLS.skycoord_to_healpix(SkyCoord(self.ra_deg, self.dec_deg, unit=u.deg))
        return [np.flatnonzero(cells == cell) for cell in np.unique(cells)]


def read_radius(text: str) -> Angle:
    """Read a radius such as `5arcmin` or `0.1deg`.

    Raises
    ------
    InputError
        Without a unit, not an angle, or not within 0 and 5 degrees.
    """
    try:
        radius = Angle(text)
    except (ValueError, TypeError, u.UnitsError) as error:
        raise InputError(f"radius {text!r}: no angle; say it as 5arcmin or 0.1deg") from error
    if not (radius.isscalar and 0.0 * u.deg < radius <= LARGEST_RADIUS):
        raise InputError(f"radius {text}: must be above 0, and at most {LARGEST_RADIUS}")
    return radius


def around_position(ra_deg: float, dec_deg: float, radius: Angle) -> Asked:
    """A circle about a position.

    Raises
    ------
    catalogs.tables.TableError
        If it is not on the sphere.
    """
    label = f"RA {ra_deg:g}, Dec {dec_deg:g}"
    return _around(label, [ra_deg], [dec_deg], radius)


def around_name(name: str, radius: Angle, resolvers: Sequence[str] = ()) -> Asked:
    """A circle about an object that CDS' Sesame knows.

    Parameters
    ----------
    name : str
    radius : Angle
    resolvers : sequence of str
        Addresses of Sesame to ask instead of astropy's.

    Raises
    ------
    InputError
        If no service knows the name, or none answers.
    """
    from astropy.coordinates.name_resolve import NameResolveError, sesame_url

    try:
        with sesame_url.set(list(resolvers) or sesame_url.get()):
            found = SkyCoord.from_name(name)
    except (NameResolveError, OSError) as error:
        raise InputError(f"name {name}: {_one_line(error)}; say --ra and --dec instead") from error
    return _around(name, [found.ra.deg], [found.dec.deg], radius)


def around_catalogue(catalogue: str, radius: Angle) -> Asked:
    """Circles about all positions of `castles`, `lensflow`, or a table.

    Raises
    ------
    catalogs.tables.TableError
        If the table cannot be read.
    """
    shipped = {"castles": castles, "lensflow": lensflow92}.get(catalogue.lower())
    table = read_positions(catalogue) if shipped is None else shipped()
    label = Path(catalogue).name if shipped is None else catalogue
    asked = _around(label, table["ra_deg"], table["dec_deg"], radius)
    return dataclasses.replace(asked, names=tuple(_names(catalogue, table)))


def _names(catalogue: str, table: pd.DataFrame) -> list[str]:
    if "lensflow_id" in table:
        return [f"LensFlow {number}" for number in table["lensflow_id"]]
    if "name" in table:
        return [str(name) for name in table["name"]]
    return [f"{catalogue}, row {row}" for row in range(len(table))]


def within_map(path: Path) -> Asked:
    """The sky of a coverage map (MOC, FITS).

    Raises
    ------
    InputError
        If it is empty, or so large that it would take thousands of questions.
    catalogs.coverage.CoverageError
        If it cannot be read.
    """
    moc, _ = read_coverage(path)
    if moc.empty():
        raise InputError(f"coverage map {path}: empty")
    cells = moc.degrade_to_order(min(_ASK_ORDER, moc.max_order)).flatten()
    if moc.max_order < _ASK_ORDER:
        cells = np.arange(MAX_CELLS + 1)
    if len(cells) > MAX_CELLS:
        raise InputError(
            f"coverage map {path}: {area_deg2(moc):,.0f} square degrees in more than {MAX_CELLS} "
            "pieces of 0.84; cut it into several, or ask for positions"
        )
    cones = tuple(_cone_of_cell(int(cell)) for cell in cells)
    nowhere = np.empty(0, np.float64)
    return Asked(path.name, moc, cones, nowhere, nowhere)


def asked_sky(request: SkyRequest, resolvers: Sequence[str] = ()) -> Asked:
    """The piece of sky that is asked for.

    Raises
    ------
    InputError
        If anything is wrong with it.
    """
    if request.moc is not None:
        return within_map(Path(request.moc))
    around = read_radius(request.radius)
    if request.name is not None:
        return around_name(request.name, around, resolvers)
    if request.catalogue is not None:
        return around_catalogue(request.catalogue, around)
    assert request.ra_deg is not None and request.dec_deg is not None
    return around_position(request.ra_deg, request.dec_deg, around)


def _around(label: str, ra_deg: object, dec_deg: object, radius: Angle) -> Asked:
    ra, dec = np.asarray(ra_deg, np.float64), np.asarray(dec_deg, np.float64)
    check_positions(ra, dec, label)
    moc = MOC.from_cones(
        Longitude(ra, u.deg), Latitude(dec, u.deg), radius=radius, max_depth=ORDER,
        union_strategy="large_cones",
    )  # fmt: skip
    return Asked(label, moc, _cones(ra, dec, float(radius.deg)), ra, dec)


def _cones(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], radius_deg: float
) -> tuple[Cone, ...]:
    """One circle for the positions of each cell, that holds the circles about them all."""
    sky = SkyCoord(ra_deg, dec_deg, unit=u.deg)
    cells = _CELLS.skycoord_to_healpix(sky)
    found = []
    for cell in np.unique(cells):
        group = sky[cells == cell]
        centre = _middle(group)
        reach = float(centre.separation(group).deg.max())
        found.append(Cone(float(centre.ra.deg), float(centre.dec.deg), reach + radius_deg))
    return tuple(found)


def _middle(group: SkyCoord) -> SkyCoord:
    if len(group) == 1:
        return group[0]
    mean = group.cartesian.mean()
    middle = SkyCoord(mean, representation_type="cartesian", frame="icrs")
    return SkyCoord(middle.spherical.lon, middle.spherical.lat, frame="icrs")


def _cone_of_cell(cell: int) -> Cone:
    centre = _CELLS.healpix_to_skycoord(cell)
    corners = SkyCoord(*_CELLS.boundaries_lonlat([cell], 1), frame="icrs")
    reach = float(centre.separation(corners).deg.max())
    return Cone(float(centre.ra.deg), float(centre.dec.deg), reach)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
