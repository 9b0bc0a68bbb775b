"""Lenses planted in the mosaics of a finished run, one at a time, and looked for as the run looked.

Two kinds of places: at a detected galaxy, which keeps its own light and is given the mass that goes
with it; and on empty sky, with a drawn galaxy. Any place will do that has data about it: near
edges and gaps, and where windows have half of their pixels.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.deploy.config import SCORE
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.finished_run import bundle_of, read_facts
from lensweep.scanner.results.worth import asked_of
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan, read_windows
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.work.dispatch import spread
from lensweep.scanner.work.tasks import load_ensemble
from lensweep.training.data import labelled_set
from lensweep.training.data.injection import depth_of
from lensweep.training.data.injection_plan import find_places
from lensweep.training.data.places import away_from
from lensweep.training.data.real_cutouts import Opened, open_mosaics
from lensweep.training.data.requests import InjectionConfig
from lensweep.training.data.star_psf import measure_psf
from lensweep.training.evaluation.planting import (
    APART_PX,
    Scanned,
    find_again,
    number_lenses,
    plant,
)
from lensweep.training.simulation.painting import Depth
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.psf_file import fingerprint, read_psf
from lensweep.training.simulation.simulate import VERSION, psf_bank

# Lenses of one task.
BATCH = 16
_PARTS = ("windows", "unseen", "truth")


@dataclass(frozen=True)
class PlantedRun:
    """Lenses planted in a run, and what it would have made of them.

    Attributes
    ----------
    lenses : DataFrame
        As of `training.evaluation.planting.find_again`, with ``mosaic``.
    unseen : DataFrame
        As of `training.evaluation.planting.plant`.
    psfs : dict of str to str
        By mosaic, which point-spread function they were drawn with.
    """

    lenses: pd.DataFrame
    unseen: pd.DataFrame
    psfs: dict[str, str]

    @property
    def first_drawn(self) -> pd.DataFrame:
        """The first lens of each place, with ``is_seen``: lenses as the sky would show them."""
        first = self.lenses[~self.lenses["number"].isin(self.unseen["number"])]
        parts = [first.assign(is_seen=True), self.unseen.assign(is_seen=False)]
        return pd.concat([part for part in parts if len(part)], ignore_index=True)


@dataclass(frozen=True)
class Planting:
    """A finished run that has been looked at, and the lenses to plant in it.

    Attributes
    ----------
    root : Path
        The run's folder.
    bundle : Bundle
        The run's ensemble.
    facts : dict
        Of its catalogue.
    config : InjectionConfig
    out : Path
        A folder that is claimed for this.
    opened : dict
        The run's mosaics.
    depths : dict
        What fluxes mean in each.
    known : DataFrame
        Lenses to keep away from.
    psf : Psf or None
        The given one.
    """

    root: Path
    bundle: Bundle
    facts: dict[str, str]
    config: InjectionConfig
    out: Path
    opened: Opened
    depths: dict[str, Depth]
    known: pd.DataFrame
    psf: Psf | None

    @property
    def asked(self) -> dict[str, Any]:
        """What the run was asked."""
        return asked_of(self.facts)


@dataclass(frozen=True)
class _Ground:
    """What every batch of lenses is planted in, and judged by: of `Planting`, what workers need."""

    root: str
    out: Path
    opened: Opened
    depths: dict[str, Depth]
    psfs: dict[str, Psf | None]
    seed: int
    scoring: Scoring
    asked: dict[str, Any]


def open_planting(root: Path, ensemble: str | None, out: Path, **painted: Any) -> Planting:
    """Check that lenses can be planted in a run, and claim the folder; needs no cluster.

    Parameters
    ----------
    root : Path
        The run's folder.
    ensemble : str or None
        Where the run's ensemble lies, if it is not a shipped one.
    out : Path
        Receives the plan and what came of every batch; stopped work continues.
    **painted
        fields of `lensweep.training.data.requests.InjectionConfig` other than the mosaics.

    Raises
    ------
    InputError
        If the run is not finished, the ensemble or a mosaic is not the run's, or a list of known
        lenses, the PSF or the folder cannot be used.
    """
    facts = read_facts(root)
    bundle, asked = bundle_of(facts, ensemble), asked_of(facts)
    config = InjectionConfig(_mosaics(root), **({"min_valid_fraction": 0.0} | painted))
    psf = None if config.psf is None else read_psf(Path(config.psf), config.psf_scale_arcsec)
    known = known_lenses(config.known)
    check_folder(out, "folder of planted lenses")
    overrides = HeaderOverrides(asked["band"], asked["pixel_scale_arcsec"], asked["units"])
    opened = open_mosaics(config.mosaics, overrides, out / ".scratch")
    _refuse_changed(root, opened)
    depths = {name: depth_of(mosaic, config) for name, (mosaic, _) in opened.items()}
    labelled_set.claim(out, dataclasses.asdict(config) | {
        "kind": "planted", "simulation": VERSION, "ensemble": bundle.sha256, "scan": asked,
        "mosaics": {name: mosaic.sha256 for name, (mosaic, _) in opened.items()},
        "psf": None if psf is None else fingerprint(psf),
    })  # fmt: skip
    return Planting(root, bundle, facts, config, out, opened, depths, known, psf)


def plant_in_run(planting: Planting, client: Client, progress: Progress) -> PlantedRun:
    """Plant lenses in the mosaics of a finished run; stopped work continues.

    Raises
    ------
    InputError
        If the mosaics have no place for a lens.
    """
    out, asked, opened = planting.out, planting.asked, planting.opened
    path = out / "plan.parquet"
    if not path.is_file():
        labelled_set.write_rows(_choose(planting, client), path)
    lenses = pd.read_parquet(path)
    psfs, named = _psfs(opened, planting.psf, client)
    bundle = planting.bundle
    scoring = Scoring(bundle.folder, bundle.sha256, asked["precision"], asked["screen"])
    (out / "planted").mkdir(exist_ok=True)
    bounds = _batches(lenses)
    missing = [bound for bound in bounds if not _part(out, bound[0], "truth").is_file()]
    stage = progress.stage(
        "planting", len(lenses), len(lenses) - sum(stop - start for start, stop in missing),
        unit="lenses",
    )  # fmt: skip
    ground = _Ground(
        str(planting.root), out, opened, planting.depths, psfs, planting.config.seed, scoring, asked
    )
    for _, planted in spread(client, _plant_some, missing, resource=SCORE, ground=ground):
        progress.advance(stage, planted)
    windows, unseen, truth = (
        pd.concat([pd.read_parquet(_part(out, start, part)) for start, _ in bounds])
        for part in _PARTS
    )
    found = _found(planting, lenses, truth, windows)
    return PlantedRun(found, unseen.reset_index(drop=True), named)


def _mosaics(root: Path) -> tuple[str, ...]:
    mosaics = tuple(read_plan(root, name).mosaic.path for name in planned_mosaics(root))
    if not mosaics:
        raise InputError(f"run {root}: not one of its mosaics was scanned")
    return mosaics


def _refuse_changed(root: Path, opened: Opened) -> None:
    for name, (mosaic, _) in opened.items():
        before = read_plan(root, name).mosaic.sha256
        if mosaic.sha256 != before:
            raise InputError(
                f"mosaic {mosaic.file_name}: SHA-256 {mosaic.sha256}, but the run scanned {before};"
                " give it back, or scan again"
            )


def _choose(planting: Planting, client: Client) -> pd.DataFrame:
    """The lenses to plant: at places away from known ones, in rounds in which all lie apart."""
    config, opened, known = planting.config, planting.opened, planting.known
    n_drawn = round(config.n * config.drawn_hosts)
    n_empty = 20 * n_drawn // len(opened) + 100 if n_drawn else 0
    futures = [
        client.submit(find_places, mosaic, grid, planting.depths[name].zero_point_ab, n_empty,
                      config.min_valid_fraction, config.seed, pure=False)
        for name, (mosaic, grid) in opened.items()
    ]  # fmt: skip
    places = pd.concat(client.gather(futures), ignore_index=True)
    free = away_from(
        places["ra_deg"].to_numpy(), places["dec_deg"].to_numpy(),
        known["known_ra_deg"].to_numpy(), known["known_dec_deg"].to_numpy(),
        config.exclusion_radius_arcsec,
    )  # fmt: skip
    rng = np.random.default_rng([config.seed, 6])
    chosen = [
        _draw(places[free & (places["host"] == host)], n, host, rng)
        for host, n in (("detected", config.n - n_drawn), ("drawn", n_drawn))
    ]
    rows = pd.concat(chosen, ignore_index=True)
    rows["round"] = _rounds(rows)
    # Neighbours are read together.
    rows = rows.sort_values(["mosaic", "round", "y", "x"], kind="stable", ignore_index=True)
    return number_lenses(rows.drop(columns=["x0", "y0"]))


def _draw(places: pd.DataFrame, n: int, host: str, rng: np.random.Generator) -> pd.DataFrame:
    """So many places, each as often as any other."""
    if n and not len(places):
        where = "at detected galaxies" if host == "detected" else "on empty sky"
        raise InputError(
            f"{n} lenses {where}: the mosaics have no such place away from known lenses; change "
            "--drawn-hosts, or give more mosaics"
        )
    orders = [rng.permutation(len(places)) for _ in range(-(-n // max(1, len(places))))]
    return places.iloc[np.concatenate([*orders, np.empty(0, np.int64)])[:n].astype(np.int64)]


def _rounds(rows: pd.DataFrame) -> NDArray[np.int64]:
    """For each lens the first round in which none of its mosaic lies within `APART_PX`."""
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    rounds = np.zeros(len(rows), np.int64)
    for number, row in enumerate(rows[["mosaic", "x", "y"]].itertuples(index=False)):
        while True:
            others = taken.setdefault((row.mosaic, int(rounds[number])), [])
            steps = np.abs(np.array(others).reshape(-1, 2) - (row.x, row.y))
            if not (steps.max(axis=1) <= APART_PX).any():
                others.append((row.x, row.y))
                break
            rounds[number] += 1
    return rounds


def _psfs(
    opened: Opened, given: Psf | None, client: Client
) -> tuple[dict[str, Psf | None], dict[str, str]]:
    """For each mosaic the PSF to draw with, None for those of `psf_bank`; and what to call it."""
    if given is not None:
        return dict.fromkeys(opened, given), dict.fromkeys(opened, "the given file")
    futures = {name: client.submit(measure_psf, *one, pure=False) for name, one in opened.items()}
    psfs: dict[str, Psf | None] = {}
    named = {}
    for name, future in futures.items():
        found = future.result()
        psfs[name], named[name] = None, "drawn: too few stars to measure it"
        if found is not None:
            psfs[name], named[name] = found[0], f"its own, of {found[1]} stars"
    return psfs, named


def _batches(lenses: pd.DataFrame) -> list[tuple[int, int]]:
    """Runs of rows of one mosaic."""
    bounds = []
    for members in lenses.groupby("mosaic", sort=False).indices.values():
        first, end = int(members[0]), int(members[-1]) + 1
        bounds += [(start, min(start + BATCH, end)) for start in range(first, end, BATCH)]
    return bounds


def _part(out: Path, start: int, part: str) -> Path:
    return out / "planted" / f"{start:07d}.{part}.parquet"


def _scanned(root: Path, name: str, opened: Opened, asked: dict[str, Any]) -> Scanned:
    return Scanned(*opened[name], read_windows(root, name), asked["min_valid_fraction"],
                   asked["centres"] == "grid")  # fmt: skip


def _plant_some(bounds: tuple[int, int], ground: _Ground) -> int:
    start, stop = bounds
    lenses = pd.read_parquet(ground.out / "plan.parquet").iloc[start:stop]
    name = str(lenses["mosaic"].iloc[0])
    psf = ground.psfs[name]
    truth, windows, unseen = plant(
        _scanned(RunPaths.at(ground.root).root, name, ground.opened, ground.asked), lenses,
        ground.depths[name], psf_bank(ground.seed) if psf is None else (psf,), ground.seed,
        load_ensemble(ground.scoring),
    )  # fmt: skip
    for part, table in zip(_PARTS, (windows, unseen, truth), strict=True):
        labelled_set.write_rows(table, _part(ground.out, start, part))
    return stop - start


def _found(
    planting: Planting, lenses: pd.DataFrame, truth: pd.DataFrame, windows: pd.DataFrame
) -> pd.DataFrame:
    root, asked, opened = planting.root, planting.asked, planting.opened
    merge_radius_arcsec = float(planting.facts["merge_radius_arcsec"])
    parts = []
    for name, of_mosaic in lenses.groupby("mosaic"):
        plan = read_plan(root, str(name))
        detections = read_detections(root, plan, -np.inf, recentre=asked["centres"] == "grid")
        scanned = _scanned(root, str(name), opened, asked)
        for _, together in of_mosaic.groupby("round"):
            of_round = together["number"]
            parts.append(find_again(
                scanned, detections, truth[truth["number"].isin(of_round)],
                windows[windows["number"].isin(of_round)], merge_radius_arcsec,
            ).assign(mosaic=name))  # fmt: skip
    return pd.concat(parts, ignore_index=True).sort_values("number", ignore_index=True)
