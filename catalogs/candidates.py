"""From scored windows to ranked candidates: merge overlaps, name, cross-match."""

from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from lensweep.catalogs.crossmatch import check_radius
from lensweep.catalogs.known_lenses import match_known
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.catalogs.tables import TableError, check_positions

DETECTION_COLUMNS = (
    "ra_deg", "dec_deg", "p_mean", "p_std", "logit_mean", "n_members",
    "valid_fraction", "mosaic", "x_pix", "y_pix", "window",
)  # fmt: skip
ACRONYM = "LSWP"
_RA_STEPS_PER_DEG = 24_000  # of 0.01 s
_DEC_STEPS_PER_DEG = 36_000  # of 0.1 arcsec
# A position given as 10:00:28.60 may fall 1e-9 steps short of .60 as a float64 in degrees; a
# millionth of a step (1e-7 arcsec) restores it and is far below any astrometry.
_STEP_TOLERANCE = 1e-6


class CandidateError(TableError):
    """Detections that cannot be turned into candidates."""


def merge_overlaps(
    ra_deg: ArrayLike, dec_deg: ArrayLike, score: ArrayLike, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the best of every group of detections that lie together (greedy, on the sphere).

    The highest score is kept and absorbs all detections within the radius that nothing better has
    absorbed; the next highest that is left follows. Equal scores go by lower index.

    Windows on a grid of stride s lie s, 1.41 s, 2 s, … apart (2.5, 3.54, 5 arcsec at 50 pixels of
    0.05 arcsec): a radius below s merges nothing, and one equal to a term leaves the choice to
    rounding, so take one between terms.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        Degrees.
    score : array_like, shape (n,)
        Higher is better; infinities are allowed.
    radius_arcsec : float
        Largest separation from the kept detection, in (0, 3600].

    Returns
    -------
    keep : ndarray, shape (k,), int64
        Kept indices, by descending score.
    group : ndarray, shape (n,), int64
        For each detection the position in `keep` of the one that absorbed it; a kept detection
        has its own.

    Raises
    ------
    CandidateError
        Scores not one per position, or NaN.
    MatchError, TableError
        Radius or positions that cannot be used.
    """
    check_radius(radius_arcsec)
    check_positions(ra_deg, dec_deg, "detections")
    values = np.asarray(score, dtype=np.float64)
    _check_scores(values, np.size(ra_deg))
    vectors = _unit_vectors(np.asarray(ra_deg, np.float64), np.asarray(dec_deg, np.float64))
    group = np.full(len(values), -1, dtype=np.int64)
    keep: list[int] = []
    if len(values) == 0:
        return np.array(keep, dtype=np.int64), group
    tree = cKDTree(vectors)
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    # One query per kept detection: kept ones are more than a radius apart, so few share a
    # neighbour, and memory stays at n however crowded the detections are.
    for index in np.argsort(-values, kind="stable"):
        if group[index] < 0:
            near = np.array(tree.query_ball_point(vectors[index], chord))
            group[near[group[near] < 0]] = len(keep)
            keep.append(int(index))
    return np.array(keep, dtype=np.int64), group


def candidate_ids(ra_deg: ArrayLike, dec_deg: ArrayLike) -> list[str]:
    """Name positions in the IAU's way: ``LSWP JHHMMSS.ss+DDMMSS.s``.

    Coordinates are truncated, not rounded, as the IAU's "Specifications concerning designations
    for astronomical radiation sources outside the solar system" ask. Where several positions of
    the list share a name, all of them get a letter, ``a``, ``b``, … in the order of the list.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        ICRS degrees; RA is brought into [0, 360).

    Returns
    -------
    list of str
        One name per position, all different.

    Raises
    ------
    TableError
        Positions not on the sphere.
    CandidateError
        More than 26 positions share a name.
    """
    check_positions(ra_deg, dec_deg, "candidates")
    ra, dec = _wrapped(np.asarray(ra_deg, np.float64)), np.asarray(dec_deg, np.float64)
    ra_steps = np.floor(ra * _RA_STEPS_PER_DEG + _STEP_TOLERANCE).astype(np.int64)
    # The tolerance must not carry the last float below 360 over to 24h.
    ra_steps = np.minimum(ra_steps, 360 * _RA_STEPS_PER_DEG - 1)
    dec_steps = np.floor(np.abs(dec) * _DEC_STEPS_PER_DEG + _STEP_TOLERANCE).astype(np.int64)
    names = [
        f"{ACRONYM} J{_sexagesimal(int(right), 100)}{'-' if south else '+'}"
        f"{_sexagesimal(int(up), 10)}"
        for right, south, up in zip(ra_steps, dec < 0.0, dec_steps, strict=True)
    ]
    return _with_letters(names)


def build_candidates(
    detections: pd.DataFrame,
    merge_radius_arcsec: float,
    match_radius_arcsec: float,
    limit: int | None,
) -> pa.Table:
    """Merge scored windows into ranked, named and cross-matched candidates.

    Ranked by ``logit_mean``, descending, then by mosaic name and window. The best window of a
    group gives the row's values; groups reach across mosaics.

    Parameters
    ----------
    detections : DataFrame
        One row per window, with the columns `DETECTION_COLUMNS`, of the units and meanings of
        `lensweep.catalogs.schemas.CANDIDATES`.
    merge_radius_arcsec : float
        Windows within it of a better one are merged into that one; in (0, 3600].
    match_radius_arcsec : float
        Largest separation from a known lens; in (0, 3600].
    limit : int or None
        Keep that many candidates from the top; None keeps all.

    Returns
    -------
    pyarrow.Table
        Schema `lensweep.catalogs.schemas.CANDIDATES`, by rank; empty if there are no detections.

    Raises
    ------
    CandidateError
        Missing columns, missing values, NaN scores, or a limit below 1.
    MatchError, TableError
        Radii or positions that cannot be used.
    """
    _check_detections(detections, limit)
    check_radius(match_radius_arcsec)
    ordered, keep, group = _merged(detections, merge_radius_arcsec)
    rows = ordered.iloc[keep].reset_index(drop=True)
    rows["ra_deg"] = _wrapped(rows["ra_deg"].to_numpy(dtype=np.float64))
    rows["rank"] = np.arange(1, len(rows) + 1)
    rows["n_windows"] = np.bincount(group, minlength=len(keep))
    # Named before the cut, so that a name does not depend on the limit.
    rows["candidate_id"] = pd.Series(candidate_ids(rows["ra_deg"], rows["dec_deg"]), dtype="str")
    rows = rows.head(len(rows) if limit is None else limit)
    known = match_known(rows["ra_deg"], rows["dec_deg"], match_radius_arcsec)
    return _as_table(pd.concat([rows, known], axis=1))


def ranks_of_detections(detections: pd.DataFrame, merge_radius_arcsec: float) -> NDArray[np.int64]:
    """The rank of the candidate that each detection is, or was merged into.

    Parameters
    ----------
    detections, merge_radius_arcsec
        As of `build_candidates`.

    Returns
    -------
    ndarray, shape (n,), int64
        In the order of the detections.
    """
    ordered, _, group = _merged(detections, merge_radius_arcsec)
    ranks = np.empty(len(detections), np.int64)
    ranks[ordered["at"]] = group + 1
    return ranks


def _merged(
    detections: pd.DataFrame, merge_radius_arcsec: float
) -> tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.int64]]:
    """Detections, best first, each with where it was; and of these what `merge_overlaps` gives."""
    ordered = detections.assign(at=np.arange(len(detections))).sort_values(
        ["logit_mean", "mosaic", "window"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )
    keep, group = merge_overlaps(
        ordered["ra_deg"], ordered["dec_deg"], ordered["logit_mean"], merge_radius_arcsec
    )
    return ordered, keep, group


def _as_table(rows: pd.DataFrame) -> pa.Table:
    rows = rows.reindex(columns=CANDIDATES.names)
    columns = [pa.array(rows[f.name], type=f.type, from_pandas=True) for f in CANDIDATES]
    return pa.Table.from_arrays(columns, schema=CANDIDATES)


def _check_detections(detections: pd.DataFrame, limit: int | None) -> None:
    missing = [name for name in DETECTION_COLUMNS if name not in detections.columns]
    if missing:
        raise CandidateError(
            f"detections lack the columns {', '.join(missing)}; they have"
            f" {', '.join(map(str, detections.columns)) or 'none'}"
        )
    for name in DETECTION_COLUMNS:
        gaps = np.flatnonzero(detections[name].isna())
        if gaps.size:
            raise CandidateError(
                f"detections: column {name} has no value in row {gaps[0]} (counted from 0;"
                f" {gaps.size} such rows); pass scored windows only"
            )
    if limit is not None and limit < 1:
        raise CandidateError(f"limit {limit}: must be at least 1, or None to keep all candidates")


def _check_scores(values: NDArray[np.float64], n_positions: int) -> None:
    if values.shape != (n_positions,):
        raise CandidateError(f"detections: {n_positions} positions, scores {values.shape}")
    bad = np.flatnonzero(np.isnan(values))
    if bad.size:
        raise CandidateError(
            f"detections: row {bad[0]} (counted from 0) has score nan ({bad.size} such rows);"
            " pass scored windows only"
        )


def _unit_vectors(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _wrapped(ra_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    wrapped = np.mod(ra_deg, 360.0)
    # The modulus of a tiny negative angle rounds to 360 itself.
    return np.where(wrapped >= 360.0, 0.0, wrapped)


def _sexagesimal(steps: int, per_second: int) -> str:
    seconds, fraction = divmod(steps, per_second)
    minutes, second = divmod(seconds, 60)
    whole, minute = divmod(minutes, 60)
    return f"{whole:02d}{minute:02d}{second:02d}.{fraction:0{len(str(per_second)) - 1}d}"


def _with_letters(names: list[str]) -> list[str]:
    shared = {name: count for name, count in Counter(names).items() if count > 1}
    seen: Counter[str] = Counter()
    lettered = []
    for name in names:
        if shared.get(name, 0) > 26:
            raise CandidateError(
                f"{shared[name]} candidates would be called {name}, but there are 26 letters to"
                " tell them apart; merge with a larger radius"
            )
        lettered.append(name + chr(ord("a") + seen[name]) if name in shared else name)
        seen[name] += 1
    return lettered
