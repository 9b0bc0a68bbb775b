"""What a run made of the known lenses that it looked at; those it did not see are no misses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.stats import binom_conf_interval
from mocpy import MOC
from numpy.typing import NDArray

from lensweep.catalogs.coverage import area_deg2, inside, random_positions
from lensweep.catalogs.crossmatch import all_pairs, pairs_within
from lensweep.catalogs.lens_matches import radii_of
from lensweep.catalogs.lens_schemas import RECALL
from lensweep.ground.errors import InputError
from lensweep.ground.settings import at_least, within
from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.run import score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan, read_windows
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.grid import grid_to_sky, on_grid, sky_to_grid
from lensweep.scanner.sky.scale import CUTOUT_SIZE

CONFIDENCE = 0.95
RANDOM_POSITIONS = 2000
ALL_GRADES = "all"
_SEEN = ("mosaic", "window", "offset_arcsec", "logit_mean", "p_mean")


@dataclass(frozen=True)
class Recall:
    """What a run made of known lenses.

    Attributes
    ----------
    lenses : DataFrame
        A row per known lens, in the order given; columns of
        `lensweep.catalogs.lens_schemas.RECALL`.
    summary : DataFrame
        A row per catalogue and grade, and one per catalogue for all its grades: ``n_listed``,
        ``n_not_observed``, ``n_observed``, ``n_candidates``, ``recall`` and the ends of its
        interval, ``recall_low`` and ``recall_high`` (NaN where nothing was observed).
    area_deg2 : float
        Of the run's footprint.
    by_chance : float
        Share of random positions in the footprint that have a candidate as near as the observed
        lenses may have theirs; NaN where none was observed.
    """

    lenses: pd.DataFrame
    summary: pd.DataFrame
    area_deg2: float
    by_chance: float


def measure_recall(
    root: Path, known: pd.DataFrame, radius_arcsec: float | None, top: int | None = None,
    false_per_deg2: float | None = None,
) -> Recall:  # fmt: skip
    """Follow every known lens through a finished run.

    A lens is observed when it lies in the run's footprint (valid pixels of windows looked at, in
    cells of 0.8 arcsec) and a window that was scored or screened holds its position.

    Parameters
    ----------
    root : Path
        The run's folder.
    known : DataFrame
        Columns of `lensweep.catalogs.lens_schemas.KNOWN`.
    radius_arcsec : float or None
        Farthest that a candidate may lie from a lens that it is, in (0, 3600]; by default each
        lens's own.
    top : int or None
        Count candidates up to this rank only.
    false_per_deg2 : float or None
        Count only candidates so good that a square degree without lenses gives so many at most.

    Raises
    ------
    InputError
        If the folder holds no run, or one without a catalogue, or a number cannot be used.
    MatchError
        If the radius cannot be used.
    """
    radii = radii_of(known, radius_arcsec)
    if top is not None:
        at_least("top", top, 1)
    if false_per_deg2 is not None:
        within("false_per_deg2", false_per_deg2, 1e-6, 1e6)
    footprint = run_footprint(root)
    candidates = _read_candidates(root, top, false_per_deg2)
    lenses = known.reset_index(drop=True)
    ra, dec = (lenses[name].to_numpy(float) for name in ("known_ra_deg", "known_dec_deg"))
    best = _best_windows(root, ra, dec, inside(footprint, ra, dec))
    lenses = pd.concat([lenses, best], axis=1)
    lenses["observed"] = lenses["window"].notna()
    lenses["window_rank"] = _window_ranks(root, lenses["logit_mean"].to_numpy(np.float64))
    lenses = pd.concat([lenses, _first_candidates(candidates, ra, dec, radii)], axis=1)
    lenses["is_candidate"] = lenses["rank"].notna()
    return Recall(
        lenses[RECALL.names], summarise_recall(lenses), area_deg2(footprint),
        _by_chance(footprint, candidates, radii[lenses["observed"].to_numpy(bool)]),
    )  # fmt: skip


def summarise_recall(lenses: pd.DataFrame) -> pd.DataFrame:
    """Count observed lenses and candidates by catalogue and grade.

    Parameters
    ----------
    lenses : DataFrame
        ``catalogue``, ``grade``, ``grade_scheme``, ``observed``, ``is_candidate``.

    Returns
    -------
    DataFrame
        As `Recall.summary`; intervals of `CONFIDENCE` after Wilson (1927, JASA 22, 209).
    """
    rows = []
    for catalogue, of_catalogue in lenses.groupby("catalogue", sort=False):
        rows.append(_counts(catalogue, ALL_GRADES, of_catalogue))
        for grade, of_grade in of_catalogue.groupby("grade", dropna=True):
            rows.append(_counts(catalogue, grade, of_grade))
    return pd.DataFrame(rows)


def binomial_interval(found: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a fraction; NaN for none of none."""
    if of == 0:
        return float("nan"), float("nan")
    low, high = binom_conf_interval(found, of, CONFIDENCE, "wilson")
    return float(low), float(high)


def _counts(catalogue: object, grade: object, lenses: pd.DataFrame) -> dict[str, Any]:
    observed = lenses[lenses["observed"]]
    found = int(observed["is_candidate"].sum())
    low, high = binomial_interval(found, len(observed))
    scheme = lenses["grade_scheme"].dropna()
    return {
        "catalogue": catalogue,
        "grade": grade,
        "grade_scheme": scheme.iloc[0] if len(scheme) else "not graded",
        "n_listed": len(lenses),
        "n_not_observed": len(lenses) - len(observed),
        "n_observed": len(observed),
        "n_candidates": found,
        "recall": found / len(observed) if len(observed) else float("nan"),
        "recall_low": low,
        "recall_high": high,
    }


def _by_chance(footprint: MOC, candidates: pd.DataFrame, radii: NDArray[np.float64]) -> float:
    """The control: what random positions would be called."""
    if not len(radii):
        return float("nan")
    rng = np.random.default_rng(2018)
    ra, dec = random_positions(footprint, RANDOM_POSITIONS, rng)
    matched = _first_candidates(candidates, ra, dec, rng.choice(radii, len(ra)))
    return float(matched["rank"].notna().mean())


def _read_candidates(root: Path, top: int | None, false_per_deg2: float | None) -> pd.DataFrame:
    path = RunPaths(root).candidates
    if not path.is_file():
        raise InputError(f"run {root}: has no {path.name} yet; repeat its scan command to finish")
    columns = ["rank", "candidate_id", "ra_deg", "dec_deg"]
    if false_per_deg2 is not None:
        columns.append("false_per_deg2")
    with path.open("rb") as file:
        candidates = pd.read_parquet(file, columns=columns)
    if false_per_deg2 is not None:
        if candidates["false_per_deg2"].isna().any():
            raise InputError(
                f"run {root}: its ensemble was not measured on fields, so nobody knows which "
                f"candidates {false_per_deg2:g} false ones per deg² are; `lensweep calibrate` "
                "measures them, or count with --top"
            )
        candidates = candidates[candidates["false_per_deg2"] <= false_per_deg2]
    return candidates if top is None else candidates[candidates["rank"] <= top]


def _first_candidates(
    candidates: pd.DataFrame, ra: NDArray[np.float64], dec: NDArray[np.float64],
    radii: NDArray[np.float64],
) -> pd.DataFrame:  # fmt: skip
    """Of the candidates near each position the one of the best rank."""
    candidate, lens, separation = pairs_within(
        candidates["ra_deg"].to_numpy(), candidates["dec_deg"].to_numpy(), ra, dec, radii
    )
    pairs = candidates.iloc[candidate][["rank", "candidate_id"]].assign(
        lens=lens, separation_arcsec=separation
    )
    first = pairs.sort_values("rank").drop_duplicates("lens").set_index("lens")
    return first.reindex(np.arange(len(ra)))


def _best_windows(
    root: Path, ra: NDArray[np.float64], dec: NDArray[np.float64], sought: NDArray[np.bool_]
) -> pd.DataFrame:
    """Of the windows that hold each position that is sought the best: scored before screened."""
    best = pd.DataFrame(index=np.arange(len(ra)), columns=list(_SEEN), dtype="object")
    for name in planned_mosaics(root) if sought.any() else []:
        plan = read_plan(root, name)
        for lens, row in _of_mosaic(root, plan, ra, dec, sought).items():
            if pd.isna(best.at[lens, "logit_mean"]) or (
                row["logit_mean"] > best.at[lens, "logit_mean"]
            ):
                best.loc[lens] = row
    types = {"mosaic": "str", "window": "Int64", "offset_arcsec": "float64",
             "logit_mean": "float32", "p_mean": "float32"}  # fmt: skip
    return best.astype(types)


def _of_mosaic(
    root: Path,
    plan: Plan,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    sought: NDArray[np.bool_],
) -> dict[int, dict[str, Any]]:
    name = plan.mosaic.name
    x, y = sky_to_grid(plan.grid, ra, dec)
    near = sought & on_grid(plan.grid, x, y)
    if not near.any():
        return {}
    logits, _, _ = score_store.read(RunPaths(root).scores(name))
    seen = score_store.read_seen(RunPaths(root).scores(name))
    corners, mean = read_windows(root, name).corners, logits.mean(axis=1)
    # What was screened comes after everything that was scored.
    order = np.where(np.isfinite(mean), mean, -np.inf)
    found = {}
    for lens in np.flatnonzero(near).tolist():
        # From the middle of the window's first pixel, and of the last.
        offset = np.floor(np.array([x[lens], y[lens]]) + 0.5) - corners
        holds = ((offset >= 0) & (offset < CUTOUT_SIZE)).all(axis=1) & seen
        if holds.any():
            window = int(np.flatnonzero(holds)[order[holds].argmax()])
            p_mean, _, logit_mean = summarise(logits[window : window + 1])
            centre = grid_to_sky(plan.grid, *(corners[window] + (CUTOUT_SIZE - 1) / 2.0))
            _, _, distance = all_pairs(
                [ra[lens]], [dec[lens]], [float(centre[0])], [float(centre[1])], 60.0
            )
            found[lens] = {
                "mosaic": name, "window": window, "offset_arcsec": float(distance[0]),
                "logit_mean": float(logit_mean[0]), "p_mean": float(p_mean[0]),
            }  # fmt: skip
    return found


def _window_ranks(root: Path, logit_mean: NDArray[np.float64]) -> pd.Series:
    """1 plus the number of windows that score higher; one mosaic in memory at a time."""
    known = np.isfinite(logit_mean)
    above = np.zeros(int(known.sum()), np.int64)
    for name in planned_mosaics(root) if known.any() else []:
        logits, _, _ = score_store.read(RunPaths(root).scores(name))
        mean = np.sort(logits.mean(axis=1).astype(np.float64))
        mean = mean[np.isfinite(mean)]
        above += len(mean) - np.searchsorted(mean, logit_mean[known], side="right")
    ranks = pd.Series(pd.NA, index=np.arange(len(logit_mean)), dtype="Int64")
    ranks[known] = above + 1
    return ranks
