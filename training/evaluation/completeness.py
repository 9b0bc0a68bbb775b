"""Completeness of a finished run: of lenses planted in its mosaics, how many it would have found.

At stated numbers of false candidates per square degree, and net of hosts: what was a candidate
that good before anything was planted there does not count.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from lensweep.catalogs.tables import write_frame
from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.results.calibration import RESAMPLINGS
from lensweep.scanner.results.selection_function import (
    AXES,
    SelectionFunction,
    features,
    likeness_of,
    write_selections,
)
from lensweep.scanner.results.worth import find_field_scores
from lensweep.scanner.run.paths import RunPaths
from lensweep.training.evaluation.planted_run import PlantedRun, Planting, plant_in_run
from lensweep.training.evaluation.population import collett_weights, flat_weights, is_clear
from lensweep.training.evaluation.searched_sky import searched_deg2
from lensweep.training.evaluation.shares import (
    completeness_at,
    found_net,
    scores_at,
    weighted_share,
)
from lensweep.training.simulation.seen import MIN_CLEAR_PIXELS

# False candidates per square degree.
DEPTHS = (1.0, 10.0, 100.0, 1000.0)
BINS = {
    "theta_e_arcsec": (0.3, 0.5, 0.8, 1.2, 1.7, 2.5),
    "source_magnitude": (21.5, 23.5, 24.5, 25.5, 26.5),
    "host_magnitude": (16.5, 19.0, 20.0, 21.0, 22.0, 24.0),
    "signal_to_noise": (20.0, 30.0, 60.0, 120.0, np.inf),
    "offset_px": (0.0, 10.0, 18.0, 25.0, np.inf),
}
# A lens about which no window has enough data.
NO_WINDOW = "in no window that was looked at"
# Too few to fit ten coefficients to.
LEAST_FITTED = 100


@dataclass(frozen=True)
class Completeness:
    """What a run would have made of lenses in its mosaics.

    Attributes
    ----------
    planted : PlantedRun
    cuts : dict of float to ndarray, shape (1 + m,)
        Least mean logit, by false candidates per square degree, and m others that it might have
        been.
    measured_by : str
        From what these are known.
    populations : DataFrame
        A row per population: ``population``, ``n``, ``seen`` (share of all that were drawn there
        which would be seen), and for each depth the share found of those seen with its interval:
        ``found_<depth>``, ``_low``, ``_high``.
    shares : DataFrame
        Lensed galaxies by bins, as they were drawn: ``by``, ``value``, and the same columns.
    selections : list of SelectionFunction
        Empty where too few lenses were planted.
    """

    planted: PlantedRun
    cuts: dict[float, NDArray[np.float64]]
    measured_by: str
    populations: pd.DataFrame
    shares: pd.DataFrame
    selections: list[SelectionFunction]

    @property
    def depths(self) -> dict[float, float]:
        """Least mean logit, by false candidates per square degree."""
        return _first_of(self.cuts)


def measure_completeness(planting: Planting, client: Client, progress: Progress) -> Completeness:
    """Plant lenses in the mosaics of a finished run, and see which it would have found.

    The planting's folder receives ``lenses.parquet``, ``completeness.parquet`` and
    ``selection.json`` too.

    Raises
    ------
    InputError
        If the mosaics have no place for a lens.
    """
    planted, out = plant_in_run(planting, client, progress), planting.out
    cuts, measured_by = find_cuts(planting)
    found = Completeness(
        planted, cuts, measured_by, _populations(planted, cuts), _by_bins(planted, cuts),
        fit_selections(planted, _first_of(cuts)),
    )  # fmt: skip
    for name, table in (("lenses", planted.lenses), ("completeness", found.shares)):
        write_frame(table, out / f"{name}.parquet")
    if found.selections:
        with whole_file(out / RunPaths(planting.root).selection.name) as aside:
            write_selections(found.selections, aside)
    return found


def find_cuts(planting: Planting) -> tuple[dict[float, NDArray[np.float64]], str]:
    """The scores at which so many false candidates are to be expected, and how that is known.

    By the calibration of the run or its ensemble; else by the run's own candidates, of which
    nobody knows how many are lenses: then there are no more false ones than that. After each score
    those that it might as well have been, with what it was counted from resampled.
    """
    root, centres = planting.root, planting.asked["centres"]
    scores = find_field_scores(planting.bundle, RunPaths(root), centres)
    if scores is not None:
        calibration = scores.calibration(centres)
        resampled = calibration.resamplings()
        named = str(scores.facts.made_from.get("fields", "fields without lenses"))
        return {depth: scores_at(depth, calibration, resampled) for depth in DEPTHS}, named
    with RunPaths(root).candidates.open("rb") as file:
        candidates = pd.read_parquet(file, columns=["logit_mean"])
    ranked = np.sort(candidates["logit_mean"].to_numpy(np.float64))[::-1]
    area = searched_deg2(root, planting.asked, planting.opened)
    ranks = {depth: round(depth * area) for depth in DEPTHS}
    named = "the run's own candidates, at most so many of them false"
    rng = np.random.default_rng(2018)
    return {d: _at_rank(ranked, r, rng) for d, r in ranks.items() if 1 <= r <= len(ranked)}, named


def _first_of(cuts: dict[float, NDArray[np.float64]]) -> dict[float, float]:
    return {depth: float(scores[0]) for depth, scores in cuts.items()}


def _at_rank(
    ranked: NDArray[np.float64], rank: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The score at a rank, and what it might have been: so many there are by chance (Poisson)."""
    others = np.clip(rng.poisson(rank, RESAMPLINGS), 1, len(ranked))
    return np.asarray(ranked[np.concatenate([[rank], others]) - 1])


def _populations(planted: PlantedRun, cuts: dict[float, NDArray[np.float64]]) -> pd.DataFrame:
    lenses, rows = planted.lenses, []
    drawn = planted.first_drawn
    for name, weigh, counts in (
        ("lensed galaxies, as Collett (2015)", collett_weights, _each),
        (f"of these, {MIN_CLEAR_PIXELS} pixels above 3 sigma", collett_weights, is_clear),
        ("lensed galaxies, flat in radius and magnitude", flat_weights, _each),
        ("lensed galaxies, as drawn", lambda table: _of_kind(table, "lensed_galaxy"), _each),
        ("lensed quasars, as drawn", lambda table: _of_kind(table, "lensed_quasar"), _each),
    ):
        weights = weigh(lenses) * counts(lenses)
        row: dict[str, Any] = {"population": name, "n": int((weights > 0.0).sum())}
        seen = drawn["is_seen"].to_numpy(bool) & counts(drawn)
        row["seen"] = weighted_share(seen, weigh(drawn))[0]
        for depth, scores in cuts.items():
            column = f"found_{depth:g}"
            share = completeness_at(lenses, weights, scores)
            row[column], row[f"{column}_low"], row[f"{column}_high"] = share
        rows.append(row)
    return pd.DataFrame(rows)


def _each(table: pd.DataFrame) -> NDArray[np.bool_]:
    return np.ones(len(table), np.bool_)


def _of_kind(table: pd.DataFrame, kind: str) -> NDArray[np.float64]:
    return np.asarray(table["kind"] == kind, np.float64)


def _by_bins(planted: PlantedRun, cuts: dict[float, NDArray[np.float64]]) -> pd.DataFrame:
    lenses = planted.lenses[planted.lenses["kind"] == "lensed_galaxy"]
    drawn = planted.first_drawn
    drawn, rows = drawn[drawn["kind"] == "lensed_galaxy"], []
    for by, edges in BINS.items():
        labels = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
        groups = pd.cut(lenses[by], edges, labels=labels, include_lowest=True)
        # What is measured on an image is not known of lenses that were not seen.
        known = by in planted.unseen
        of_all = pd.cut(drawn[by], edges, labels=labels, include_lowest=True) if known else None
        for label in [*labels, *([NO_WINDOW] if by == "offset_px" else [])]:
            inside = groups.isna() if label == NO_WINDOW else groups == label
            members = lenses[inside.to_numpy()]
            row: dict[str, Any] = {"by": by, "value": label, "n": len(members), "seen": np.nan}
            if of_all is not None and (of_all == label).any():
                row["seen"] = drawn["is_seen"][of_all == label].mean()
            for depth, scores in cuts.items():
                column = f"found_{depth:g}"
                share = completeness_at(members, np.ones(len(members)), scores)
                row[column], row[f"{column}_low"], row[f"{column}_high"] = share
            rows.append(row)
    return pd.DataFrame(rows)


def fit_selections(planted: PlantedRun, depths: dict[float, float]) -> list[SelectionFunction]:
    """Fit the selection function of every depth; none where too few lensed galaxies were planted.

    Fitted to the first lens of every place; one that would not be seen counts as not found.
    """
    drawn = planted.first_drawn
    drawn = drawn[drawn["kind"] == "lensed_galaxy"]
    if drawn["is_seen"].sum() < LEAST_FITTED:
        return []
    axes = [drawn[name].to_numpy(np.float64) for name in AXES]
    logs = np.stack([np.log(axes[0]), *axes[1:]])
    means, scales = tuple(logs.mean(axis=1).tolist()), tuple(logs.std(axis=1).tolist())
    terms = features(axes[0], axes[1], axes[2], means, scales)
    domain = {name: (float(one.min()), float(one.max()))
              for name, one in zip(AXES, axes, strict=True)}  # fmt: skip
    likeness, reach = likeness_of(terms[:, 1:4])
    functions = []
    for depth, score in depths.items():
        found = drawn["is_seen"].to_numpy(bool) & found_net(drawn, score)
        if not found.any() or found.all():
            continue
        # A weak prior on the coefficients of standardised axes, none on the constant.
        model = LogisticRegression(C=10.0, max_iter=2000).fit(terms[:, 1:], found)
        coefficients = (float(model.intercept_[0]), *(float(one) for one in model.coef_[0]))
        functions.append(
            SelectionFunction(
                depth, domain, means, scales, likeness, reach, coefficients, len(drawn)
            )
        )
    return functions
