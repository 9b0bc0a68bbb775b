"""A whole scan: the order of its stages, and what is done about what goes wrong."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from distributed import CancelledError, Client, Future, KilledWorker
from distributed.client import ClosedClientError
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_parquet
from lensweep.deploy.config import CUT, SCORE
from lensweep.deploy.local import grow
from lensweep.ground.atomic import sweep
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.files import remove_folder
from lensweep.ground.progress import Progress, duration
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import EnsembleError, Scoring
from lensweep.scanner.results.footprint import DamagedPixelsError, Each, run_footprint
from lensweep.scanner.results.ranking import draw_candidates, rank_candidates
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.cutout_store import LostCutoutsError, StoreAttributes
from lensweep.scanner.run.damage import unmark_damaged
from lensweep.scanner.run.ledger import LostScoresError, write_ledger
from lensweep.scanner.run.opening import abandon, say_in_run
from lensweep.scanner.run.paths import RunPaths, zarr_location
from lensweep.scanner.run.plan import Plan, note_of_positions_outside, read_plan
from lensweep.scanner.run.records import write_record
from lensweep.scanner.run.tally import Tally, planned_mosaics, tally, windows_by_precision
from lensweep.scanner.run.zarr_metadata import METADATA, is_metadata
from lensweep.scanner.sky.mosaics import CompanionError
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.work.attempts import ATTEMPTS, AttemptsError
from lensweep.scanner.work.dispatch import POLL_S, Crew, Dispatch, reconnected
from lensweep.scanner.work.patience import Patience, is_unwritable
from lensweep.scanner.work.tasks import (
    WorkerFullError,
    cut_unless_done,
    ensemble_problem,
    plan_unless_lost,
    score_unless_done,
)

# How long others are waited for when no worker that is there can score. A pod takes a minute to
# start.
OTHERS_COME_S = 120.0
# Processes of this machine before it is known how many shards there are; and how many shards are
# worth a process more, which takes as long to begin as a few of them.
BEGIN_WITH, SHARDS_PER_PROCESS = 2, 4
# From the addresses of workers to why each of those that answer cannot score; None if it can.
Problems = Callable[[Sequence[str]], dict[str, str | None]]


class ClusterLostError(TryAgainError):
    """The cluster went away under a run."""


@dataclass(frozen=True)
class Outcome:
    """What came of a scan.

    Attributes
    ----------
    paths : RunPaths
    tally : Tally
        Over all mosaics that were planned.
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
    config: ScanConfig,
    bundle: Bundle,
    paths: RunPaths,
    client: Client,
    progress: Progress,
    hold: Callable[[], None] = lambda: None,
) -> Outcome:
    """Scan mosaics on a cluster, from pixels to a ranked catalogue.

    A run that was stopped, however it was, continues: shards that are done stay as they are.

    Parameters
    ----------
    config : ScanConfig
    bundle : Bundle
    paths : RunPaths
        As `lensweep.scanner.run.opening.open_run` gave them.
    client : distributed.Client
    progress : Progress
    hold : callable
        Of `lensweep.scanner.run.lock.sole_writer`: raises when this command may not go on.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Before any pixel is cut, if no mosaic can be scanned; if the disk is full; if a worker
        sees another ensemble; or if the cluster is lost.
    """
    config = config.absolute()
    scan = _Scan(config, bundle, client, paths, progress, hold)
    # Records of an earlier command say nothing about this one.
    remove_folder(paths.attempts)
    try:
        plans, failed = scan.plan_all()
        given_up = [
            read_plan(paths.root, name) for name in sorted(failed) if paths.plan(name).is_file()
        ]
        damaged = scan.patience.until_written(
            lambda: _prepare(bundle, paths, plans, given_up, failed)
        )
        for words in damaged:
            progress.note(words)
        everything = [*plans, *given_up]

        def finish() -> Outcome:
            scan.work_through(plans)
            hold()
            return scan.patience.until_written(
                lambda: _finish(config, bundle, paths, everything, failed, scan.on_workers)
            )

        try:
            return finish()
        except (LostScoresError, DamagedPixelsError) as error:
            # They are not marked as done any more.
            progress.note(str(error))
            return finish()
    except (CancelledError, ClosedClientError) as error:
        raise ClusterLostError(
            f"cluster {config.cluster}: lost ({error}); what is done stays done: repeat the "
            "command to continue"
        ) from error


@dataclass(frozen=True)
class _Shard:
    plan: Plan
    number: int

    @property
    def windows(self) -> int:
        start, stop = self.plan.bounds(self.number)
        return stop - start


class _Scan:
    """What the stages of one scan that need its cluster have in common."""

    def __init__(
        self,
        config: ScanConfig,
        bundle: Bundle,
        client: Client,
        paths: RunPaths,
        progress: Progress,
        hold: Callable[[], None],
    ) -> None:
        self.config, self.bundle, self.client = config, bundle, client
        self.paths, self.progress, self.hold = paths, progress, hold
        self.crew = Crew(client)
        self.patience = Patience(paths.root, config.storage_wait_s, progress)
        # How often a piece has met a worker that cannot score, or was lost after it was cut.
        self._in_vain: Counter[str | tuple[str, int]] = Counter()
        self.crew.look()
        if not self.crew.places:
            progress.note(f"cluster {config.cluster}: no worker yet; waiting for the first")

    def plan_all(self) -> tuple[list[Plan], dict[str, str]]:
        """Plan every mosaic; those that cannot be scanned are written down with the reason."""
        stage = self.progress.stage("planning", len(self.config.mosaics), unit="mosaics")
        band, root = self.bundle.description.band, str(self.paths.root)

        def submit(path: str) -> list[Future[tuple[Plan, str | None]]]:
            return [
                self.client.submit(
                    plan_unless_lost, path, self.config, band, root, pure=False,
                    resources=self.crew.needs(CUT),
                )
            ]  # fmt: skip

        plans, failed, passed_over, later = [], {}, [], True
        work = Dispatch(self.client, self.crew, iter(self.config.mosaics), submit)
        for path, future, _ in work:
            self.hold()
            error = self._error_of(future)
            if self._worth_another_try(error, path):
                work.again(path)
                continue
            name = mosaic_name(path)
            if error is None:
                self.patience.over()
                plan, reading = future.result()
                plans.append(plan)
                if reading:
                    self.progress.note(reading)
                self.paths.mosaic_failure(name).unlink(missing_ok=True)
                for note in plans[-1].mosaic.notes:
                    self.progress.note(f"mosaic {plans[-1].mosaic.file_name}: {note}")
            elif isinstance(error, CompanionError):
                passed_over.append(str(error))
                self.progress.note(str(error))
            elif isinstance(error, InputError | AttemptsError):
                failed[name] = str(error)
                later = later and isinstance(error, TryAgainError)
                # Of the only mosaic, it is what the command ends with.
                if len(self.config.mosaics) > 1:
                    self.progress.note(str(error))
                self._write_failure(self.paths.mosaic_failure(name), {"reason": str(error)})
            else:
                raise error
            self.progress.advance(stage, 1)
        reasons = "\n".join([*passed_over, *(failed[name] for name in sorted(failed))])
        if not plans and failed and later:
            # An archive that is silent for now: what came of its files stays.
            raise TryAgainError(reasons)
        if not plans:
            if not planned_mosaics(self.paths.root):
                abandon(self.paths)
            raise InputError(reasons)
        outside = note_of_positions_outside(self.config, plans)
        if outside:
            self.progress.note(outside)
        return sorted(plans, key=lambda plan: plan.mosaic.name), failed

    def work_through(self, plans: Sequence[Plan]) -> None:
        """Cut and score what is not done, a bounded number of shards at a time."""
        left = sum(
            plan.n_shards - len(self.paths.score_markers(plan.mosaic.name)) for plan in plans
        )
        grow(self.client, math.ceil(left / SHARDS_PER_PROCESS))
        total = sum(plan.n_windows for plan in plans)
        done = sum(_windows_done(self.paths, plan) for plan in plans)
        cutting = self.progress.stage("cutting", total, done=done)
        scoring = self.progress.stage("scoring", total, done=done)
        work = Dispatch(self.client, self.crew, _todo(self.paths, plans), self._submit)
        cut: set[tuple[str, int]] = set()
        for shard, future, last in work:
            self.hold()
            error, key = self._error_of(future), (shard.plan.mosaic.name, shard.number)
            if (last or error is None) and key not in cut:
                cut.add(key)
                self.progress.advance(cutting, shard.windows)
            if not last:
                continue
            if self._worth_another_try(error, key):
                work.again(shard)
                continue
            cut.discard(key)
            if error is None:
                # Not for a cut: one that an earlier command made has written nothing now.
                self.patience.over()
            else:
                name, reason = shard.plan.mosaic.name, f"{type(error).__name__}: {error}"
                self.progress.note(f"mosaic {name}: shard {shard.number} failed: {reason}")
                self._write_failure(
                    self.paths.failure(name, shard.number), _failure(shard, reason)
                )
            self.progress.advance(scoring, shard.windows)

    def on_workers(
        self, look: Callable[[str], NDArray[np.int64]], mosaics: list[str]
    ) -> Iterator[NDArray[np.int64]]:
        """Look at mosaics on the workers, as many at once as these hold; what is found."""

        def submit(name: str) -> list[Future[NDArray[np.int64]]]:
            return [
                self.client.submit(
                    look, name, pure=False, retries=ATTEMPTS - 1, resources=self.crew.needs(CUT)
                )
            ]

        work = Dispatch(self.client, self.crew, iter(mosaics), submit)
        for name, future, _ in work:
            error = self._error_of(future)
            if self._worth_another_try(error, name):
                work.again(name)
                continue
            if error is not None:
                raise error
            yield future.result()

    def _submit(self, shard: _Shard) -> list[Future[None]]:
        name = shard.plan.mosaic.name
        key = (str(self.paths.root), name, shard.number)
        self.paths.failure(name, shard.number).unlink(missing_ok=True)
        scoring = Scoring(
            self.bundle.folder, self.bundle.sha256, self.config.precision, self.config.screen
        )
        limit_s = self.config.shard_timeout_s
        # An error may be the moment's: Dask tries again, on whichever worker is free.
        retries = ATTEMPTS - 1
        cut = self.client.submit(
            cut_unless_done, *key, limit_s, pure=False, retries=retries,
            resources=self.crew.needs(CUT),
        )  # fmt: skip
        score = self.client.submit(
            score_unless_done, cut, *key, scoring, self.config.min_valid_fraction, limit_s,
            pure=False, retries=retries, resources=self.crew.needs(SCORE),
        )  # fmt: skip
        return [cut, score]

    def _error_of(self, future: Future[object]) -> BaseException | None:
        error: BaseException | None = future.exception()
        # To Dask a future that was cancelled, or whose result was lost, has no exception.
        if error is None and future.status != "finished":
            return CancelledError(f"{future.key} is {future.status}")
        return error

    def _worth_another_try(
        self, error: BaseException | None, piece: str | tuple[str, int]
    ) -> bool:
        """Whether something else than the work was at fault, and is mended by now."""
        if error is None:
            return False
        if isinstance(error, CancelledError):
            if self.client.status == "connecting":
                self.progress.note(f"cluster {self.config.cluster}: lost; waiting for it")
            if not reconnected(self.client):
                raise error
            return True
        if is_unwritable(error):
            assert isinstance(error, OSError)
            self.patience.wait(error)
            return True
        if isinstance(error, EnsembleError | WorkerFullError | LostCutoutsError):
            self._in_vain[piece] += 1
            return self._answer(error, last_time=self._in_vain[piece] > ATTEMPTS)
        # Workers died that had been given it. Whether they were at it, `attempt` knows.
        return isinstance(error, KilledWorker)

    def _answer(
        self, error: EnsembleError | WorkerFullError | LostCutoutsError, last_time: bool
    ) -> bool:
        """Do what can be done about an error; whether the piece is worth another try."""
        if isinstance(error, LostCutoutsError):
            # They are not marked as cut any more.
            self.progress.note(f"{error}{'' if last_time else '; cutting them again'}")
            return not last_time
        if isinstance(error, WorkerFullError):
            full = {error.worker: error.reason}
            self._retire_unable(error, lambda workers: {who: full.get(who) for who in workers})
            return not last_time
        if last_time:
            raise error
        self._retire_unable(error, self._ensemble_problems)
        return True

    def _ensemble_problems(self, workers: Sequence[str]) -> dict[str, str | None]:
        problems: dict[str, str | None] = self.client.run(
            ensemble_problem, self.bundle.folder, self.bundle.sha256,
            workers=list(workers), on_error="ignore",
        )  # fmt: skip
        return problems

    def _retire_unable(self, error: Exception, problems: Problems) -> None:
        """Retire the workers that cannot score, once there are others that can."""
        deadline = None
        while True:
            self.crew.look(afresh=True)
            answers = problems(self.crew.able(SCORE))
            unable = {who: why for who, why in answers.items() if why is not None}
            # Where all have just left, whoever comes next is given the work.
            if len(unable) < len(answers) or not answers:
                break
            if deadline is None:
                deadline = time.monotonic() + OTHERS_COME_S
                wait = duration(OTHERS_COME_S)
                self.progress.note(f"no worker can score: {error}; waiting up to {wait} for others")
            if time.monotonic() >= deadline:
                raise error
            time.sleep(POLL_S)
        for address, why in unable.items():
            self.progress.note(f"worker {address} is retired: {why}")
        if unable:
            self.client.retire_workers(list(unable), close_workers=True)

    def _write_failure(self, path: Path, failure: dict[str, object]) -> None:
        self.patience.until_written(lambda: write_record(path, failure))


def _todo(paths: RunPaths, plans: Sequence[Plan]) -> Iterator[_Shard]:
    for plan in plans:
        for number in range(plan.n_shards):
            if not paths.score_marker(plan.mosaic.name, number).is_file():
                yield _Shard(plan, number)


def _windows_done(paths: RunPaths, plan: Plan) -> int:
    markers = paths.score_markers(plan.mosaic.name)
    return sum(_Shard(plan, int(marker.name.split(".")[0])).windows for marker in markers)


def _failure(shard: _Shard, reason: str) -> dict[str, object]:
    return {"reason": printable(reason), "windows": shard.windows}


def _prepare(
    bundle: Bundle,
    paths: RunPaths,
    plans: Sequence[Plan],
    given_up: Sequence[Plan],
    failed: dict[str, str],
) -> list[str]:
    """Make the stores of all mosaics, and account for those that can be worked on no more.

    Returns
    -------
    list of str
        What to say of damage that was found.
    """
    notes = []
    for plan in [*plans, *given_up]:
        prepare_stores(paths, plan, bundle)
        if damaged := unmark_damaged(paths, plan):
            notes.append(
                f"mosaic {plan.mosaic.name}: files of {len(damaged)} shards are damaged or gone, "
                f"of shard {damaged[0]} first; they are done again"
            )
    for plan in given_up:
        for shard in _todo(paths, [plan]):
            name = plan.mosaic.name
            write_record(paths.failure(name, shard.number), _failure(shard, failed[name]))
    return notes


def prepare_stores(paths: RunPaths, plan: Plan, bundle: Bundle) -> None:
    """Create a mosaic's stores, or make those of a stopped run fit to be continued."""
    mosaic = plan.mosaic
    for root in (paths.all_cutouts, paths.all_scores):
        if not is_metadata(root / METADATA):
            (root / METADATA).unlink(missing_ok=True)
        zarr.open_group(zarr_location(root), mode="a", zarr_format=3)
    attributes = StoreAttributes(
        mosaic.name, mosaic.sha256, mosaic.band, bundle.description.pixel_scale_arcsec,
        plan.grid.wcs_header, plan.windows_per_shard,
    )  # fmt: skip
    made = [
        cutout_store.create(paths.cutouts(mosaic.name), plan.n_windows, attributes),
        score_store.create(
            paths.scores(mosaic.name), plan.n_windows, plan.windows_per_shard, bundle.sha256,
            list(bundle.description.members),
        ),
    ]  # fmt: skip
    if any(made):
        # Markers of a store that somebody removed would stand for windows that are not there.
        remove_folder(paths.markers(mosaic.name))
    elif len(paths.score_markers(mosaic.name)) < plan.n_shards:
        _sweep_stores(paths, mosaic.name)


def _sweep_stores(paths: RunPaths, mosaic: str) -> None:
    """Remove what workers were writing when they were killed."""
    for store in (paths.cutouts(mosaic), paths.scores(mosaic)):
        sweep(store, "**/*.partial")


def _finish(
    config: ScanConfig,
    bundle: Bundle,
    paths: RunPaths,
    plans: list[Plan],
    failed: dict[str, str],
    on_workers: Each,
) -> Outcome:
    """Write the ledger and check it, rank the candidates, draw them, map the footprint."""
    total = write_ledger(paths.root, plans, config.min_valid_fraction)
    candidates = rank_candidates(config, bundle, paths, plans)
    write_parquet(candidates, paths.candidates)
    draw_candidates(paths, candidates.to_pandas())
    if total.seen:
        run_footprint(paths.root, on_workers)
    mosaics = [plan.mosaic.name for plan in plans]
    say_in_run(paths, scored_in=windows_by_precision(paths.root, mosaics))
    counts = {plan.mosaic.name: tally(paths.root, plan.mosaic.name) for plan in plans}
    incomplete = {
        name: f"mosaic {name}: {count.failed} of {count.planned} windows failed; see {paths.ledger}"
        for name, count in counts.items()
        if count.failed
    }
    remove_folder(paths.attempts)
    for plan in plans:
        _sweep_stores(paths, plan.mosaic.name)
    if not incomplete:
        remove_folder(paths.scratch)
    return Outcome(paths, total, incomplete | failed)
