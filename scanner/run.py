"""A whole scan: the order of its stages. The only user of a Dask client."""

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import zarr
from distributed import CancelledError, Client, Future, as_completed
from distributed.client import ClosedClientError

from catalogs.tables import TableError, write_parquet
from scanner import cutout_store, score_store
from scanner.atomic import sweep, write_json
from scanner.config import ScanConfig, mosaic_name
from scanner.cutout_store import StoreAttributes
from scanner.ensemble import Bundle, EnsembleError
from scanner.errors import InputError
from scanner.footprint import run_footprint
from scanner.ledger import write_ledger
from scanner.opening import abandon
from scanner.paths import RunPaths
from scanner.plan import Plan, plan_mosaic, read_plan
from scanner.progress import Progress
from scanner.ranking import draw_candidates, rank_candidates
from scanner.tally import Tally, planned_mosaics, tally
from scanner.tasks import cut_unless_done, score_unless_done

# Shards under way per worker: one being worked on, one waiting, so that no worker idles and
# neither memory nor the scheduler's load grows with the survey.
SHARDS_IN_FLIGHT = 2
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class ClusterLostError(InputError):
    """The cluster went away under a run."""


class StorageError(InputError):
    """The run's folder cannot take more; what is there is whole."""


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
    config: ScanConfig, bundle: Bundle, paths: RunPaths, client: Client, progress: Progress
) -> Outcome:
    """Scan mosaics on a cluster, from pixels to a ranked catalogue.

    A run that was stopped, however it was, continues: shards that are done stay as they are.

    Parameters
    ----------
    config : ScanConfig
    bundle : Bundle
    paths : RunPaths
        As `scanner.opening.open_run` gave them.
    client : distributed.Client
    progress : Progress

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
    try:
        plans, failed = _plan_all(config, bundle, client, paths, progress)
        given_up = [
            read_plan(paths.root, name) for name in sorted(failed) if paths.plan(name).is_file()
        ]
        for plan in [*plans, *given_up]:
            _prepare_stores(paths, plan, bundle)
        for plan in given_up:
            _give_up(paths, plan, failed[plan.mosaic.name])
        _work_through(config, bundle, client, paths, plans, progress)
        return _finish(config, bundle, paths, [*plans, *given_up], failed)
    except (CancelledError, ClosedClientError) as error:
        raise ClusterLostError(
            f"cluster {config.cluster}: lost ({error}); what is done stays done: repeat the "
            "command to continue"
        ) from error
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise StorageError(
            f"output folder {paths.root}: {error.strerror}; what is written is whole: make room "
            "and repeat the command to continue"
        ) from error


def _plan_all(
    config: ScanConfig, bundle: Bundle, client: Client, paths: RunPaths, progress: Progress
) -> tuple[list[Plan], dict[str, str]]:
    """Plan every mosaic; those that cannot be scanned are written down with the reason."""
    stage = progress.stage("planning", len(config.mosaics), unit="mosaics")
    band = bundle.description.band
    futures = {
        client.submit(plan_mosaic, path, config, band, str(paths.root), pure=False): path
        for path in config.mosaics
    }
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
        if not planned_mosaics(paths.root):
            abandon(paths)
        raise InputError("\n".join(failed[name] for name in sorted(failed)))
    return sorted(plans, key=lambda plan: plan.mosaic.name), failed


def _prepare_stores(paths: RunPaths, plan: Plan, bundle: Bundle) -> None:
    """Create a mosaic's stores, or make those of a stopped run fit to be continued."""
    mosaic = plan.mosaic
    for root in (paths.all_cutouts, paths.all_scores):
        zarr.open_group(root, mode="a", zarr_format=3)
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
        shutil.rmtree(paths.markers(mosaic.name), ignore_errors=True)
    elif len(paths.score_markers(mosaic.name)) < len(plan.shards):
        for store in (paths.cutouts(mosaic.name), paths.scores(mosaic.name)):
            sweep(store, "**/*.partial")


def _give_up(paths: RunPaths, plan: Plan, reason: str) -> None:
    """Account for what was planned by an earlier run and can be worked on no more."""
    for shard in range(len(plan.shards)):
        if not paths.score_marker(plan.mosaic.name, shard).is_file():
            _write_down(paths, plan, shard, reason)


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

    def submit(plan: Plan, shard: int) -> tuple[Future[None], Future[None]]:
        key = (str(paths.root), plan.mosaic.name, shard)
        paths.failure(plan.mosaic.name, shard).unlink(missing_ok=True)
        cut = client.submit(cut_unless_done, *key, pure=False)
        score = client.submit(
            score_unless_done, cut, *key, ensemble, config.min_valid_fraction, pure=False
        )
        return cut, score

    in_flight = SHARDS_IN_FLIGHT * max(1, sum(client.nthreads().values()))
    for plan, shard, error in _bounded(todo, submit, in_flight, cutting, progress):
        start, stop = plan.shards[shard]
        progress.advance(scoring, stop - start)
        if error is None:
            continue
        if _stops_all(error):
            raise error
        reason = f"{type(error).__name__}: {error}"
        progress.note(f"mosaic {plan.mosaic.name}: shard {shard} failed: {reason}")
        _write_down(paths, plan, shard, reason)


def _bounded(
    todo: Sequence[tuple[Plan, int]],
    submit: Callable[[Plan, int], tuple[Future[None], Future[None]]],
    in_flight: int,
    cutting: int,
    progress: Progress,
) -> Iterator[tuple[Plan, int, BaseException | None]]:
    """Keep at most `in_flight` shards submitted; yield each as it ends, with its error if any."""
    waiting = iter(todo)
    ends = as_completed()
    known: dict[Future[None], tuple[Plan, int, Future[None] | None]] = {}

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


def _stops_all(error: BaseException) -> bool:
    """Whether every other shard would fail for the same reason."""
    full = isinstance(error, OSError) and error.errno in _DISK_FULL
    return full or isinstance(error, EnsembleError | CancelledError)


def _write_down(paths: RunPaths, plan: Plan, shard: int, reason: str) -> None:
    start, stop = plan.shards[shard]
    failure = {"reason": reason, "windows": stop - start}
    write_json(paths.failure(plan.mosaic.name, shard), failure)


def _finish(
    config: ScanConfig, bundle: Bundle, paths: RunPaths, plans: list[Plan], failed: dict[str, str]
) -> Outcome:
    """Write the ledger and check it, rank the candidates, draw them, map the footprint."""
    total = write_ledger(paths.root, plans, config.min_valid_fraction)
    candidates = rank_candidates(config, bundle, paths, plans)
    write_parquet(candidates, paths.candidates)
    draw_candidates(paths, candidates.to_pandas())
    if total.scored:
        run_footprint(paths.root)
    counts = {plan.mosaic.name: tally(paths.root, plan.mosaic.name) for plan in plans}
    incomplete = {
        name: f"mosaic {name}: {count.failed} of {count.planned} windows failed; see {paths.ledger}"
        for name, count in counts.items()
        if count.failed
    }
    if not incomplete:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    return Outcome(paths, total, incomplete | failed)
