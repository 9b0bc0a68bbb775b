"""A whole scan: the order of its stages, and what is done about what goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass

from distributed import CancelledError, Client
from distributed.client import ClosedClientError

from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import TryAgainError
from lensweep.ground.files import remove_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.results.footprint import DamagedPixelsError, Each, run_footprint
from lensweep.scanner.results.ranking import draw_candidates, rank_candidates
from lensweep.scanner.results.targets import write_targets
from lensweep.scanner.results.worth import find_field_scores
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.ledger import LostScoresError, write_ledger
from lensweep.scanner.run.opening import say_in_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan
from lensweep.scanner.run.tally import Tally, tally, windows_by_precision
from lensweep.scanner.work.stages import Stages
from lensweep.scanner.work.stores import prepare, sweep_stores


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
    scan = Stages(config, bundle, client, paths, progress, hold)
    # Records of an earlier command say nothing about this one.
    remove_folder(paths.attempts)
    try:
        scan.load_ahead()
        plans, failed = scan.plan_all(config)
        given_up = [
            read_plan(paths.root, name) for name in sorted(failed) if paths.plan(name).is_file()
        ]
        damaged = scan.patience.until_written(
            lambda: prepare(bundle, paths, plans, given_up, failed)
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
    if config.lists_targets:
        write_targets(paths, plans, candidates, find_field_scores(bundle, paths, config.centres))
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
        sweep_stores(paths, plan.mosaic.name)
    if not incomplete:
        remove_folder(paths.scratch)
    return Outcome(paths, total, incomplete | failed)
