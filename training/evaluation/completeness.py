"""Completeness of a finished run: lenses painted on its own mosaics, judged as its windows were.

Every painted lens lies in one window: two in three as far off its centre as a grid of stride 50
leaves them, the others near it. A scan has up to four windows that hold a lens, and keeps the best.
Lenses are those of `lensweep.training.simulation.lenses` that would be seen, in windows that have
most of their pixels: what is lost to edges, gaps and merging is not counted.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_frame
from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.results.finished_run import bundle_of, read_facts
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.mosaics import HeaderOverrides
from lensweep.scanner.work.tasks import load_ensemble
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.injection import Injection, InjectionConfig, inject, open_injection
from lensweep.training.data.rows import fill_rows
from lensweep.training.fit.metrics import passed_by
from lensweep.training.simulation.simulate import MAX_GRID_OFFSET_PX

CATALOGUE = "catalogue"
# As many candidates as somebody may look at.
TOPS = (10, 100, 1000)
# Painted lenses lie off a window's centre as on such a grid.
LARGEST_STRIDE_PX = 2 * round(MAX_GRID_OFFSET_PX)


@dataclass(frozen=True)
class Completeness:
    """What a run would have made of lenses in its mosaics.

    Attributes
    ----------
    cutouts : DataFrame
        Truth of every cutout, painted or untouched, and ``logit_mean``: the ensemble's, -inf where
        it was passed over as blank or by the screen.
    shares : DataFrame
        Found at each depth, by kind and by bins of what the lenses were drawn from; columns of
        `lensweep.training.fit.metrics.passed_by`.
    depths : dict of str to float
        Least mean logit: of the ``catalogue``, and of its ``first_10``, ``first_100`` and
        ``first_1000`` as far as it has so many.
    """

    cutouts: pd.DataFrame
    shares: pd.DataFrame
    depths: dict[str, float]

    @property
    def lenses(self) -> pd.DataFrame:
        """The painted lenses."""
        return self.cutouts[self.cutouts["is_lens"].to_numpy(bool)]


@dataclass(frozen=True)
class Measurement:
    """A finished run and its ensemble, and the lenses to paint on its mosaics."""

    root: Path
    scoring: Scoring
    min_logit: float
    injection: Injection


def open_completeness(
    root: Path, ensemble: str | None, out: Path, **painted: Any
) -> Measurement:
    """Check that a run can be measured, and begin or continue the folder; needs no cluster.

    Parameters
    ----------
    root : Path
        The run's folder.
    ensemble : str or None
        Where the run's ensemble lies, if it is not a shipped one.
    out : Path
        Receives the painted cutouts, ``cutouts.parquet`` and ``completeness.parquet``; a stopped
        measurement continues.
    **painted
        Fields of `lensweep.training.data.injection.InjectionConfig` other than the mosaics.

    Raises
    ------
    InputError
        If the run is not finished or not of a grid, the ensemble is not the run's, or its mosaics
        or the folder cannot be used.
    """
    facts = read_facts(root)
    bundle = bundle_of(facts, ensemble)
    asked = json.loads(facts["run"])["asked"]
    if asked["centres"] != "grid" or asked["stride"] > LARGEST_STRIDE_PX:
        raise InputError(
            f"run {root}: its windows are at centres = {asked['centres']}, stride = "
            f"{asked['stride']}; completeness is for grids of stride {LARGEST_STRIDE_PX} or less"
        )
    mosaics = tuple(read_plan(root, name).mosaic.path for name in planned_mosaics(root))
    if not mosaics:
        raise InputError(f"run {root}: not one of its mosaics was scanned")
    overrides = HeaderOverrides(asked["band"], asked["pixel_scale_arcsec"], asked["units"])
    scoring = Scoring(bundle.folder, bundle.sha256, asked["precision"], asked["screen"])
    injection = open_injection(InjectionConfig(mosaics, **painted), overrides, out)
    return Measurement(root, scoring, float(facts["min_logit"]), injection)


def measure_completeness(
    measurement: Measurement, client: Client, progress: Progress
) -> Completeness:
    """Paint lenses on the mosaics of a finished run, and see which it would have found.

    Raises
    ------
    InputError
        If the mosaics have no room for so many.
    """
    out, scoring = measurement.injection.out, measurement.scoring
    inject(measurement.injection, client, progress)
    examples = open_examples(out)
    judged = fill_rows(
        out / "scores.zarr", (len(examples), 2),
        dataclasses.asdict(scoring) | {"cutouts_sha256": examples.fingerprint}, _judge, client,
        progress, "scoring", store=examples.store.absolute(), scoring=scoring,
    )  # fmt: skip
    logits = np.where(judged[:, 0] > 0.0, judged[:, 1], -np.inf)
    depths = _depths(measurement.root, measurement.min_logit)
    # At a depth is what reaches its logit.
    cuts = {name: np.nextafter(least, -np.inf) for name, least in depths.items()}
    found = Completeness(
        examples.truth.assign(logit_mean=logits), passed_by(logits, examples.truth, cuts), depths
    )
    for name, table in (("cutouts", found.cutouts), ("completeness", found.shares)):
        write_frame(table, out / f"{name}.parquet")
    return found


def _judge(start: int, stop: int, store: Path, scoring: Scoring) -> NDArray[np.float32]:
    """Of some cutouts whether they were scored, and their mean logits."""
    verdicts = load_ensemble(scoring).judge(read_flux(store, np.arange(start, stop)))
    return np.stack([verdicts.scored, verdicts.logits.mean(axis=1)], axis=1, dtype=np.float32)


def _depths(root: Path, min_logit: float) -> dict[str, float]:
    with RunPaths(root).candidates.open("rb") as file:
        candidates = pd.read_parquet(file, columns=["rank", "logit_mean"])
    logits = candidates.sort_values("rank")["logit_mean"].to_numpy(np.float64)
    tops = {f"first_{top}": float(logits[top - 1]) for top in TOPS if top <= len(logits)}
    return {CATALOGUE: min_logit} | tops
