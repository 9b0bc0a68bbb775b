"""Which known lenses lie near a list of positions, and how unambiguously."""

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import check_radius, pairs_within
from lensweep.catalogs.lens_schemas import MATCHES


def match_lenses(
    positions: pd.DataFrame, known: pd.DataFrame, radius_arcsec: float | None, every: bool
) -> pd.DataFrame:
    """Match positions with known lenses, each catalogue by itself, on the sphere.

    Parameters
    ----------
    positions : DataFrame
        ``ra_deg``, ``dec_deg`` (ICRS degrees), ``row``, ``name`` and ``rank``, of which the last
        two may be null.
    known : DataFrame
        Columns of `lensweep.catalogs.lens_schemas.KNOWN`.
    radius_arcsec : float or None
        Largest separation, in (0, 3600]; by default each lens's own.
    every : bool
        All pairs within the radius; else of every catalogue the nearest lens of each position.

    Returns
    -------
    DataFrame
        Columns of `lensweep.catalogs.lens_schemas.MATCHES`, by position, catalogue and separation.
        ``n_lenses`` and ``n_positions`` count all pairs, whichever are listed.

    Raises
    ------
    MatchError
        If the radius cannot be used.
    TableError
        If a position is not on the sphere.
    """
    matches = [
        _of_catalogue(positions, lenses, radius_arcsec)
        for _, lenses in known.groupby("catalogue", sort=False)
    ]
    found = pd.concat(matches, ignore_index=True).sort_values("row", kind="stable")
    chosen = found if every else found[found["nearest"]]
    return chosen[MATCHES.names].reset_index(drop=True)


def radii_of(known: pd.DataFrame, radius_arcsec: float | None) -> NDArray[np.float64]:
    """Radius of each known lens: its own, or one for all.

    Raises
    ------
    MatchError
        If that cannot be used.
    """
    if radius_arcsec is None:
        return np.asarray(known["match_radius_arcsec"], np.float64)
    check_radius(radius_arcsec)
    return np.full(len(known), radius_arcsec)


def count_matches(matches: pd.DataFrame) -> pd.DataFrame:
    """Count what was matched, and what not one to one, by catalogue.

    Returns
    -------
    DataFrame
        ``catalogue``; ``n_positions`` and ``n_lenses`` that are in a pair that is listed;
        ``n_ambiguous`` positions with several lenses of the catalogue within the radius;
        ``n_shared`` lenses with several positions.
    """
    rows: list[dict[str, Hashable]] = [
        {
            "catalogue": catalogue,
            "n_positions": pairs["row"].nunique(),
            "n_lenses": pairs["catalogue_row"].nunique(),
            "n_ambiguous": pairs.loc[pairs["n_lenses"] > 1, "row"].nunique(),
            "n_shared": pairs.loc[pairs["n_positions"] > 1, "catalogue_row"].nunique(),
        }
        for catalogue, pairs in matches.groupby("catalogue", sort=False)
    ]
    names = ["catalogue", "n_positions", "n_lenses", "n_ambiguous", "n_shared"]
    return pd.DataFrame(rows, columns=names)


def _of_catalogue(
    positions: pd.DataFrame, lenses: pd.DataFrame, radius_arcsec: float | None
) -> pd.DataFrame:
    index, lens, separation_arcsec = pairs_within(
        positions["ra_deg"], positions["dec_deg"], lenses["known_ra_deg"],
        lenses["known_dec_deg"], radii_of(lenses, radius_arcsec),
    )  # fmt: skip
    first = np.ones(len(index), np.bool_)
    first[1:] = index[1:] != index[:-1]
    pairs = pd.concat(
        [
            positions.iloc[index].reset_index(drop=True),
            lenses.iloc[lens].reset_index(drop=True),
        ],
        axis=1,
    )
    return pairs.assign(
        separation_arcsec=separation_arcsec,
        nearest=first,
        n_lenses=_how_many(index),
        n_positions=_how_many(lens),
    )


def _how_many(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """For each key the number of times that it is there."""
    counts = np.bincount(keys) if len(keys) else np.zeros(0, np.int64)
    return counts[keys].astype(np.int32)
