"""A whole scan: the order of its stages. The only user of a Dask client."""

import dataclasses
import errno
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from catalogs.candidates import build_candidates
from catalogs.schemas import LEDGER, with_provenance
from catalogs.tables import TableError, read_positions, write_parquet
from distributed import Client, Future, as_completed
from numpy.typing import NDArray

from scanner import cutout_store, ledger, score_store
from scanner.atomic import write_json
from scanner.config import WINDOWS_PER_SHARD, ScanConfig, mosaic_name
from scanner.contact_sheet import draw_contact_sheet
from scanner.cutout_store import StoreAttributes
from scanner.detections import read_detections
from scanner.ensemble import Bundle, check_bundle
from scanner.errors import InputError
from scanner.ledger import Tally
from scanner.paths import RunPaths
from scanner.plan import Plan, plan_mosaic
from scanner.progress import Progress
from scanner.tasks import cut_shard, score_shard
from scanner.windows import CUTOUT_SIZE

# Shards under way per worker: one being worked on, one waiting, so that no worker idles and
# neither memory nor the scheduler's load grows with the survey.
SHARDS_IN_FLIGHT = 2
CONTACT_SHEET_SIZE = 48
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
PACKAGES = ("lensweep", "numpy", "astropy", "reproject", "zarr", "tensorflow", "keras", "dask")


class StorageError(InputError):
    """The run's folder cannot take more; what is there is whole."""


@dataclass(frozen=True)
class Outcome:
    """What came of a scan.

    Attributes
    ----------
    paths : RunPaths
    tally : Tally
        Over all mosaics that could be planned.
    failed_mosaics : dict of str to str
        Mosaics that are not complete, each with the reason.
    """

    paths: RunPaths
    tally: Tally
    failed_mosaics: dict[str, str]

    @property
    def exit_status(self) -> int:
        """0 if nothing failed, 3 if some mosaics did and the others are complete."""
        return 3 if self.failed_mosaics else 0


def run_scan(
    config: ScanConfig, bundle: Bundle, paths: RunPaths, client: Client, progress: Progress
) -> Outcome:
    """Scan mosaics on a cluster, from pixels to a ranked catalogue.

    A run that was stopped, however it was, continues: shards that are done stay as they are.

    Parameters
    ----------
    config : ScanConfig
    bundle : Bundle
    paths : RunPaths
        As `open_run` gave them.
    client : distributed.Client
    progress : Progress

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Before any pixel is cut, if no mosaic can be scanned; or if the disk is full.
    """
    try:
        plans, failed = _plan_all(config, bundle, client, paths, progress)
        for plan in plans:
            _create_stores(paths, plan, bundle)
        _work_through(config, bundle, client, paths, plans, progress)
        return _finish(config, bundle, paths, plans, failed)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise StorageError(
            f"output folder {paths.root}: {error.strerror}; what is written is whole: make room "
            "and repeat the command to continue"
        ) from error


def open_run(config: ScanConfig) -> tuple[Bundle, RunPaths]:
    """Check the ensemble, and begin a run in its folder or continue the one that is there.

    Raises
    ------
    InputError
        If the folder holds another run or other files, or cannot be written to.
    """
    bundle = check_bundle(config.ensemble)
    paths = RunPaths(Path(config.out).resolve())
    if config.centres not in ("grid", "sources"):
        read_positions(config.centres)
    asked = {
        **_what_decides(config),
        "ensemble_sha256": bundle.sha256,
        "windows_per_shard": WINDOWS_PER_SHARD,
    }
    if paths.run.is_file():
        _refuse_another(paths, json.loads(paths.run.read_text())["asked"], asked)
        return bundle, paths
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        strangers = sorted(path.name for path in paths.root.iterdir())
        if strangers:
            raise InputError(
                f"output folder {paths.root}: holds {strangers[0]} and no run; name a new folder"
            )
        write_json(
            paths.run, {"asked": asked, "versions": versions(), "command": " ".join(sys.argv)}
        )
    except OSError as error:
        raise InputError(
            f"output folder {paths.root}: cannot be written to ({error.strerror}); name another"
        ) from error
    return bundle, paths


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {package: version(package) for package in PACKAGES}


def _what_decides(config: ScanConfig) -> dict[str, Any]:
    """The part of a config that decides a run's cutouts and scores; where it runs does not."""
    values = dataclasses.asdict(config)
    for key in ("out", "cluster", "workers", "ensemble", "min_logit", "prior",
                "merge_radius_arcsec", "match_radius_arcsec"):  # fmt: skip
        del values[key]
    values["mosaics"] = sorted(str(Path(path).resolve()) for path in config.mosaics)
    if config.centres not in ("grid", "sources"):
        values["centres"] = str(Path(config.centres).resolve())
    return values


def _refuse_another(paths: RunPaths, found: dict[str, Any], asked: dict[str, Any]) -> None:
    for key in sorted(asked):
        if found.get(key) != asked[key]:
            raise InputError(
                f"output folder {paths.root}: holds another run ({key} was {found.get(key)}, "
                f"now {asked[key]}); name a new folder, or repeat the first command to continue it"
            )


def _plan_all(
    config: ScanConfig, bundle: Bundle, client: Client, paths: RunPaths, progress: Progress
) -> tuple[list[Plan], dict[str, str]]:
    """Plan every mosaic; those that cannot be scanned are written down with the reason."""
    stage = progress.stage("planning", len(config.mosaics), unit="mosaics")
    futures = {
        client.submit(
            plan_mosaic, path, config, bundle.description.band, WINDOWS_PER_SHARD, paths.root,
            pure=False,
        ): path
        for path in config.mosaics
    }  # fmt: skip
    plans, failed = [], {}
    for future in as_completed(futures):
        name = mosaic_name(futures[future])
        error = future.exception()
        if error is None:
            plans.append(future.result())
            paths.mosaic_failure(name).unlink(missing_ok=True)
        elif isinstance(error, InputError | TableError):
            failed[name] = str(error)
            progress.note(str(error))
            write_json(paths.mosaic_failure(name), {"reason": str(error)})
        else:
            raise error
        progress.advance(stage, 1)
    if not plans:
        if not ledger.planned_mosaics(paths.root):
            # Nothing was begun: the same folder may be asked for again, with other flags.
            shutil.rmtree(paths.root)
        raise InputError("\n".join(failed.values()))
    return sorted(plans, key=lambda plan: plan.mosaic.name), failed


def _create_stores(paths: RunPaths, plan: Plan, bundle: Bundle) -> None:
    mosaic = plan.mosaic
    attributes = StoreAttributes(
        mosaic.name, mosaic.sha256, mosaic.band, bundle.description.pixel_scale_arcsec,
        plan.grid.wcs_header, plan.windows_per_shard,
    )  # fmt: skip
    cutout_store.create(paths.cutouts(mosaic.name), plan.n_windows, attributes)
    score_store.create(
        paths.scores(mosaic.name), plan.n_windows, plan.windows_per_shard, bundle.sha256,
        list(bundle.description.members),
    )  # fmt: skip


def _work_through(
    config: ScanConfig,
    bundle: Bundle,
    client: Client,
    paths: RunPaths,
    plans: list[Plan],
    progress: Progress,
) -> None:
    """Cut and score what is not done, a bounded number of shards at a time."""
    total = sum(plan.n_windows for plan in plans)
    todo = [
        (plan, shard)
        for plan in plans
        for shard in range(len(plan.shards))
        if not paths.score_marker(plan.mosaic.name, shard).is_file()
    ]
    left = sum(plan.shards[shard][1] - plan.shards[shard][0] for plan, shard in todo)
    cutting = progress.stage("cutting", total, done=total - left)
    scoring = progress.stage("scoring", total, done=total - left)
    ensemble = (bundle.folder, bundle.sha256)

    def submit(plan: Plan, shard: int) -> tuple[Future, Future]:
        key = (str(paths.root), plan.mosaic.name, shard)
        paths.failure(plan.mosaic.name, shard).unlink(missing_ok=True)
        cut = client.submit(_cut_unless_done, *key, pure=False)
        score = client.submit(
            _score_after, cut, *key, ensemble, config.min_valid_fraction, pure=False
        )
        return cut, score

    in_flight = SHARDS_IN_FLIGHT * max(1, sum(client.nthreads().values()))
    for plan, shard, error in _bounded(todo, submit, in_flight, cutting, progress):
        start, stop = plan.shards[shard]
        progress.advance(scoring, stop - start)
        if error is not None:
            _write_down(paths, plan.mosaic.name, shard, error, progress)


def _bounded(
    todo: Sequence[tuple[Plan, int]],
    submit: Callable[[Plan, int], tuple[Future, Future]],
    in_flight: int,
    cutting: int,
    progress: Progress,
) -> Iterator[tuple[Plan, int, BaseException | None]]:
    """Keep at most `in_flight` shards submitted; yield each as it ends, with its error if any."""
    waiting = iter(todo)
    ends = as_completed()
    known: dict[Future, tuple[Plan, int, Future | None]] = {}

    def more() -> None:
        for plan, shard in waiting:
            cut, score = submit(plan, shard)
            known[cut], known[score] = (plan, shard, None), (plan, shard, cut)
            ends.update([cut, score])
            return

    for _ in range(in_flight):
        more()
    while known:
        future = next(ends)
        plan, shard, cut = known.pop(future)
        if cut is None:
            start, stop = plan.shards[shard]
            progress.advance(cutting, stop - start)
            continue
        yield plan, shard, future.exception()
        more()


def _cut_unless_done(root: str, mosaic: str, shard: int) -> None:
    if not RunPaths(Path(root)).cut_marker(mosaic, shard).is_file():
        cut_shard(root, mosaic, shard)


def _score_after(
    _cut: None, root: str, mosaic: str, shard: int, ensemble: tuple[str, str], min_valid: float
) -> None:
    score_shard(root, mosaic, shard, ensemble, min_valid)


def _write_down(
    paths: RunPaths, mosaic: str, shard: int, error: BaseException, progress: Progress
) -> None:
    """Keep why a shard failed, and go on; or stop where nothing more can be written."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        raise error
    reason = f"{type(error).__name__}: {error}"
    progress.note(f"mosaic {mosaic}: shard {shard} failed: {reason}")
    write_json(paths.failure(mosaic, shard), {"reason": reason})


def _finish(
    config: ScanConfig, bundle: Bundle, paths: RunPaths, plans: list[Plan], failed: dict[str, str]
) -> Outcome:
    """Write the ledger and check it, rank the candidates, draw them."""
    _write_ledger(paths, plans, config.min_valid_fraction)
    candidates = rank_candidates(config, bundle, paths, plans)
    write_parquet(candidates, paths.candidates)
    draw_candidates(paths, candidates.slice(0, CONTACT_SHEET_SIZE).to_pandas())
    tallies = {plan.mosaic.name: ledger.tally(paths.root, plan.mosaic.name) for plan in plans}
    incomplete = {
        name: f"mosaic {name}: {tally.failed} of {tally.planned} windows failed; see {paths.ledger}"
        for name, tally in tallies.items()
        if tally.failed
    }
    if not incomplete:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    return Outcome(paths, sum(tallies.values(), Tally()), {**failed, **incomplete})


def _write_ledger(paths: RunPaths, plans: list[Plan], min_valid_fraction: float) -> None:
    partial = paths.ledger.with_name(f".{paths.ledger.name}.partial")
    with pq.ParquetWriter(partial, LEDGER) as writer:
        for plan in plans:
            for shard in range(len(plan.shards)):
                writer.write_table(
                    ledger.shard_ledger(paths.root, plan, shard, min_valid_fraction)
                )
    ledger.check(pd.read_parquet(partial, columns=["mosaic", "window"]), paths.root)
    partial.replace(paths.ledger)


def rank_candidates(
    config: ScanConfig, bundle: Bundle, paths: RunPaths, plans: Sequence[Plan]
) -> pa.Table:
    """Merge the detections of all mosaics, match them with known lenses, and rank them.

    Needs no pixels and no network: member logits and positions are on disk.
    """
    description = bundle.description
    floor = config.min_logit if config.min_logit is not None else description.thresholds["fpr_0.1"]
    detections = pd.concat(
        [
            read_detections(
                paths.root, plan, description, floor, config.lenses_per_window,
                recentre=config.centres == "grid",
            )
            for plan in plans
        ],
        ignore_index=True,
    )  # fmt: skip
    table = build_candidates(
        detections, config.merge_radius_arcsec, config.match_radius_arcsec, limit=None
    )
    calibration = description.calibration
    provenance = {
        "ensemble": description.name,
        "ensemble_sha256": bundle.sha256,
        "members": str(len(description.members)),
        "prior_lenses_per_window": repr(config.lenses_per_window),
        "calibration": f"Platt on out-of-fold logits: slope {calibration.slope:.6g}, intercept "
        f"{calibration.intercept:.6g}, training prior {calibration.training_prior:g}",
        "min_logit": repr(floor),
        "merge_radius_arcsec": repr(config.merge_radius_arcsec),
        "match_radius_arcsec": repr(config.match_radius_arcsec),
        "versions": json.dumps(versions()),
        "run": paths.run.read_text(),
    }
    return with_provenance(table, provenance)


def draw_candidates(
    paths: RunPaths, candidates: pd.DataFrame, marks: Sequence[str | None] | None = None
) -> None:
    """Draw the contact sheet of the first candidates."""
    first = candidates.head(CONTACT_SHEET_SIZE)
    flux = [
        cutout_store.read_column(paths.cutouts(row.mosaic), "flux", row.window, row.window + 1)
        for row in first.itertuples()
    ]
    cutouts = np.concatenate([*flux, np.empty((0, CUTOUT_SIZE, CUTOUT_SIZE), np.float32)])
    draw_contact_sheet(paths.contact_sheet, first, cutouts, marks)
