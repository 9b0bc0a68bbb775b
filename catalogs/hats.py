"""Cross-match catalogues of millions of rows: HATS folders, through LSDB.

A HATS catalogue is cut into HEALPix partitions, and its margin repeats the rows about each, so
that a pair is found on whichever side of a border its members lie (Caplar et al. 2025, LSDB).
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import Latitude, Longitude
from mocpy import MOC
from numpy.typing import ArrayLike, NDArray

from lensweep.catalogs.crossmatch import check_radius
from lensweep.catalogs.hats_folders import HATS_PROPERTIES, is_hats
from lensweep.catalogs.lens_lists import list_of
from lensweep.catalogs.tables import NAME_COLUMNS, TableError
from lensweep.ground.files import place, reached

# Cells of 3 arcsec: cones of any radius in use are followed closely.
_CONE_ORDER = 16

# What tells the rows of a catalogue apart.
_POSITION = ("healpix_29", "ra_deg", "dec_deg", "name")

PAIR_COLUMNS = (
    "name", "ra_deg", "dec_deg", "healpix_29", "other_name", "other_ra_deg", "other_dec_deg",
    "other_healpix_29", "separation_arcsec", "nearest", "n_others", "n_positions",
)  # fmt: skip


class HatsError(TableError):
    """A HATS catalogue that cannot be matched."""


def match_hats(
    source: str | Path, other: str | Path, radius_arcsec: float, every: bool
) -> pd.DataFrame:
    """Match two HATS catalogues on the sphere; partitions are read one at a time.

    Partitions are worked on by the Dask client that is open, else by threads.

    Parameters
    ----------
    source, other : str or Path
        HATS collections, each with a margin of the radius or more.
    radius_arcsec : float
        Largest separation, in (0, 3600].
    every : bool
        All pairs; else for every position of the source its nearest of the other catalogue.

    Returns
    -------
    DataFrame
        `PAIR_COLUMNS`, by position, then by separation. ``nearest`` marks one pair of each
        position; ``n_others`` and ``n_positions`` count all pairs of the position and of the other
        one, listed or not: where they exceed 1, the match is not one to one. ``healpix_29`` is
        HATS' own index of a row.

    Raises
    ------
    MatchError
        If the radius cannot be used.
    HatsError
        If LSDB is not installed, or a catalogue is not HATS or has no margin that is wide enough.
    """
    check_radius(radius_arcsec)
    left, right = (_open(path, radius_arcsec) for path in (source, other))
    # A partition is matched with the other catalogue's there, and its margin. Where the other one
    # has no row it may have no margin either: what lies just across is found from its side.
    pairs = _pairs(left, right, radius_arcsec, False)
    more = _pairs(right, left, radius_arcsec, True)
    found = _count(pd.concat([pairs, _not_among(more, pairs)], ignore_index=True))
    return found if every else found[found["nearest"]].reset_index(drop=True)


def rows_near(
    source: str | Path, ra_deg: ArrayLike, dec_deg: ArrayLike, radius_arcsec: float
) -> pd.DataFrame:
    """Read the rows of a HATS catalogue that lie near any of a list of positions.

    Only partitions near a position are read, and no margin is needed: for a short list against
    millions of rows.

    Parameters
    ----------
    source : str or Path
    ra_deg, dec_deg : array_like, shape (n,)
        ICRS degrees.
    radius_arcsec : float
        In (0, 3600].

    Returns
    -------
    DataFrame
        ``row`` (HATS' index of the row), ``name`` (null if there is none), ``ra_deg``,
        ``dec_deg``: all rows within the radius of a position, and a few just beyond it.

    Raises
    ------
    MatchError
        If the radius cannot be used.
    HatsError
        If LSDB is not installed, or the folder is not a HATS catalogue.
    """
    check_radius(radius_arcsec)
    lsdb, path = _lsdb(source), place(source)
    with reached(path):
        catalogue = lsdb.open_catalog(path)
    columns = _columns(catalogue)
    near = MOC.from_cones(
        Longitude(np.asarray(ra_deg, np.float64) * u.deg),
        Latitude(np.asarray(dec_deg, np.float64) * u.deg),
        radius=(1.01 * radius_arcsec + 0.1) * u.arcsec, max_depth=_CONE_ORDER,
        union_strategy="small_cones",
    )  # fmt: skip
    rows = pd.DataFrame(columns=columns)
    if not _cells(catalogue).intersection(near).empty():
        found = lsdb.open_catalog(path, columns=columns).search(lsdb.MOCSearch(near))
        rows = pd.DataFrame(found.compute())
    positions = pd.DataFrame({
        "name": rows[columns[2]].to_list() if len(columns) > 2 else None,
        "ra_deg": rows[columns[0]].to_numpy(np.float64),
        "dec_deg": rows[columns[1]].to_numpy(np.float64),
    }, index=np.arange(len(rows)))  # fmt: skip
    positions["row"] = _healpix_29(positions["ra_deg"], positions["dec_deg"])
    return positions.astype({"name": "str"})[["row", "name", "ra_deg", "dec_deg"]]


def read_hats(source: str | Path) -> pd.DataFrame:
    """Read all rows and columns of a HATS catalogue, in the order of its partitions.

    Returns
    -------
    DataFrame
        Its columns of position are called ``ra_deg`` and ``dec_deg``, degrees; the index is HATS'
        own.

    Raises
    ------
    HatsError
        If LSDB is not installed, or the folder is not a HATS catalogue.
    """
    lsdb, path = _lsdb(source), place(source)
    with reached(path):
        catalogue = lsdb.open_catalog(path, columns="all")
        info = catalogue.hc_structure.catalog_info
        rows = pd.DataFrame(catalogue.compute())
    return rows.rename(columns={info.ra_column: "ra_deg", info.dec_column: "dec_deg"})


def count_rows(source: str | Path) -> int:
    """Number of rows of a HATS catalogue, from its properties.

    Raises
    ------
    HatsError
        If LSDB is not installed, or the folder is not a HATS catalogue.
    """
    return int(_lsdb(source).open_catalog(place(source)).hc_structure.catalog_info.total_rows)


def lenses_near(
    source: str | Path, ra_deg: ArrayLike, dec_deg: ArrayLike, radius_arcsec: float
) -> pd.DataFrame:
    """The rows of `rows_near` as a list of known lenses, called after the catalogue's folder.

    Returns
    -------
    DataFrame
        Columns of `lensweep.catalogs.lens_schemas.KNOWN`; ``catalogue_row`` is HATS' index.

    Raises
    ------
    MatchError, HatsError
        As `rows_near`.
    """
    rows = rows_near(source, ra_deg, dec_deg, radius_arcsec)
    listed = list_of(place(source).name, rows["name"], rows["ra_deg"], rows["dec_deg"])
    return listed.assign(catalogue_row=rows["row"].to_numpy(np.int64))


def _lsdb(path: str | Path) -> Any:
    if not is_hats(path):
        raise HatsError(f"{path}: not a HATS catalogue (no {', '.join(HATS_PROPERTIES)})")
    if importlib.util.find_spec("lsdb") is None:
        raise HatsError(f"HATS catalogue {path}: needs LSDB; `pip install 'lensweep[hats]'`")
    return importlib.import_module("lsdb")


def _open(where: str | Path, radius_arcsec: float) -> Any:
    lsdb, path = _lsdb(where), place(where)
    with reached(path):
        catalogue = lsdb.open_catalog(path)
    if catalogue.margin is None:
        has = "no margin"
    else:
        width = catalogue.margin.hc_structure.catalog_info.margin_threshold
        if width >= radius_arcsec:
            return lsdb.open_catalog(path, columns=_columns(catalogue))
        has = f"a margin of {width:g} arcsec"
    raise HatsError(
        f"HATS catalogue {path}: {has}, but a radius of {radius_arcsec:g} arcsec needs one as "
        "wide, or pairs across partitions are lost; make it with hats-import, or give a smaller "
        "radius"
    )


def _columns(catalogue: Any) -> list[str]:
    """Position, and name if there is one."""
    info = catalogue.hc_structure.catalog_info
    by_lower_case = {str(name).lower(): str(name) for name in catalogue.columns}
    name = next((by_lower_case[key] for key in NAME_COLUMNS if key in by_lower_case), None)
    return [info.ra_column, info.dec_column, *([] if name is None else [name])]


def _pairs(left: Any, right: Any, radius_arcsec: float, swapped: bool) -> pd.DataFrame:
    """Pairs of the left catalogue's partitions; `swapped` if it is not the source."""
    from lensweep.catalogs.hats_pairs import SEPARATION, AllPairs

    if not _overlap(left, right):
        return _named(pd.DataFrame(), left, right, SEPARATION, swapped)
    matched = left.crossmatch(
        right, algorithm=AllPairs(radius_arcsec), suffixes=("_left", "_right"),
        suffix_method="all_columns", require_right_margin=True,
    ).compute()  # fmt: skip
    return _named(matched, left, right, SEPARATION, swapped)


def _not_among(pairs: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    keys = [f"{prefix}{name}" for prefix in ("", "other_") for name in _POSITION]
    known = others[keys].drop_duplicates()
    marked = pairs.merge(known, how="left", on=keys, indicator="_found")
    return pairs[(marked["_found"] == "left_only").to_numpy()]


def _named(
    matched: pd.DataFrame, left: Any, right: Any, separation: str, swapped: bool
) -> pd.DataFrame:
    """The pairs under this module's names, with plain types."""
    n = len(matched)
    pairs = pd.DataFrame(index=np.arange(n))
    prefixes = ("other_", "") if swapped else ("", "other_")
    for catalogue, suffix, prefix in zip((left, right), ("_left", "_right"), prefixes, strict=True):
        ra, dec, *names = (f"{column}{suffix}" for column in _columns(catalogue))
        for key, column in ((f"{prefix}ra_deg", ra), (f"{prefix}dec_deg", dec)):
            pairs[key] = matched[column].to_numpy(np.float64) if n else np.zeros(0)
        values = matched[names[0]].to_list() if n and names else None
        pairs[f"{prefix}name"] = pd.Series(values, index=pairs.index, dtype="str")
        positions = pairs[f"{prefix}ra_deg"], pairs[f"{prefix}dec_deg"]
        pairs[f"{prefix}healpix_29"] = _healpix_29(*positions)
    pairs["separation_arcsec"] = matched[separation].to_numpy(np.float64) if n else np.zeros(0)
    return pairs


def _healpix_29(ra_deg: pd.Series, dec_deg: pd.Series) -> NDArray[np.int64]:
    from hats.pixel_math.spatial_index import compute_spatial_index

    index = compute_spatial_index(ra_deg.to_numpy(np.float64), dec_deg.to_numpy(np.float64))
    return np.asarray(index, np.int64)


def _cells(catalogue: Any) -> MOC:
    """Where a catalogue has partitions."""
    pixels = catalogue.get_healpix_pixels()
    orders = np.array([pixel.order for pixel in pixels], np.uint8)
    numbers = np.array([pixel.pixel for pixel in pixels], np.uint64)
    return MOC.from_healpix_cells(numbers, orders, max_depth=max(10, int(orders.max())))


def _overlap(left: Any, right: Any) -> bool:
    return not _cells(left).intersection(_cells(right)).empty()


def _count(pairs: pd.DataFrame) -> pd.DataFrame:
    """Order the pairs, mark the nearest, and count those of each position."""
    position, other = list(_POSITION), [f"other_{name}" for name in _POSITION]
    keys = [*position, "separation_arcsec", "other_healpix_29", "other_name"]
    pairs = pairs.sort_values(keys, kind="stable", ignore_index=True)
    by_position = pairs.groupby(position, dropna=False, sort=False)["separation_arcsec"]
    pairs["nearest"] = by_position.cumcount() == 0
    pairs["n_others"] = by_position.transform("size").astype(np.int32)
    counted = pairs.groupby(other, dropna=False, sort=False)["separation_arcsec"]
    pairs["n_positions"] = counted.transform("size").astype(np.int32)
    return pairs[list(PAIR_COLUMNS)]
