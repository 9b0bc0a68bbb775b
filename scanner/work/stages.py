"""The stages of a scan that need its cluster."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
from distributed import Client, Future
from numpy.typing import NDArray

from lensweep.deploy.config import CUT, SCORE
from lensweep.deploy.local import grow
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import abandon
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, note_of_positions_outside
from lensweep.scanner.run.records import write_record
from lensweep.scanner.run.shards import Sharded
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.mosaics import CompanionError
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.work.attempts import ATTEMPTS, AttemptsError
from lensweep.scanner.work.dispatch import Crew, Dispatch
from lensweep.scanner.work.patience import Patience
from lensweep.scanner.work.remedies import Remedies
from lensweep.scanner.work.tasks import (
    cut_unless_done,
    load_ahead,
    plan_unless_lost,
    score_unless_done,
)

# Processes of this machine before it is known how many shards there are; and how many shards are
# worth a process more, which takes as long to begin as a few of them.
BEGIN_WITH, SHARDS_PER_PROCESS = 2, 4
# What such a process imports to cut, and to score with networks.
IMPORTS = ("lensweep.scanner.work.tasks", "lensweep.deploy.tensorflow_imported")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    plan: Sharded
    number: int

    @property
    def windows(self) -> int:
        start, stop = self.plan.bounds(self.number)
        return stop - start


class HowToWork(Protocol):
    """What the stages ask of a config."""

    @property
    def cluster(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def screen(self) -> str: ...
    @property
    def min_valid_fraction(self) -> float: ...
    @property
    def shard_timeout_s(self) -> float: ...
    @property
    def storage_wait_s(self) -> float: ...


@dataclass
class _Planned:
    """What came of the mosaics so far: plans, and the reasons of the others."""

    of_one: bool
    plans: list[Plan] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    # Whether all that failed may do so no more at another time.
    later: bool = True


def imports_for(bundle: Bundle) -> tuple[str, ...]:
    """What a process of this machine imports to cut, and to score with an ensemble."""
    return IMPORTS if bundle.has_networks else IMPORTS[:1]


class Stages:
    """What the stages of one scan that need its cluster have in common."""

    def __init__(
        self,
        config: HowToWork,
        bundle: Bundle,
        client: Client,
        paths: RunPaths,
        progress: Progress,
        hold: Callable[[], None],
        cut: Callable[[str, str, int, float], None] = cut_unless_done,
    ) -> None:
        self._cut = cut
        self.config, self.bundle, self.client = config, bundle, client
        self.paths, self.progress, self.hold = paths, progress, hold
        self.crew = Crew(client)
        self.patience = Patience(paths.root, config.storage_wait_s, progress)
        self.remedies = Remedies(config.cluster, bundle, client, self.crew, self.patience, progress)
        self._loading: list[Future[None]] = []
        self.crew.look()
        if not self.crew.places:
            progress.note(f"cluster {config.cluster}: no worker yet; waiting for the first")

    def load_ahead(self) -> None:
        """Let processes that only score load their networks while others plan and cut."""
        waiting = set(self.crew.able(SCORE)) - set(self.crew.able(CUT))
        # Futures are held here: one that nobody holds is cancelled.
        self._loading = [
            self.client.submit(
                load_ahead, self._scoring, pure=False, workers=[address],
                resources=self.crew.needs(SCORE),
            )
            for address in sorted(waiting)
        ]  # fmt: skip

    def plan_all(self, config: ScanConfig) -> tuple[list[Plan], dict[str, str]]:
        """Plan every mosaic; those that cannot be scanned are written down with the reason."""
        stage = self.progress.stage("planning", len(config.mosaics), unit="mosaics")
        band, root = self.bundle.description.band, str(self.paths.root)

        def submit(path: str) -> list[Future[tuple[Plan, str | None]]]:
            return [
                self.client.submit(
                    plan_unless_lost, path, config, band, root, pure=False,
                    resources=self.crew.needs(CUT),
                )
            ]  # fmt: skip

        planned = _Planned(of_one=len(config.mosaics) == 1)
        work = Dispatch(self.client, self.crew, iter(config.mosaics), submit)
        for path, future, _ in work:
            self.hold()
            error = self.remedies.error_of(future)
            if self.remedies.worth_another_try(error, path):
                work.again(path)
                continue
            if error is None:
                self.patience.over()
                self._take(planned, *future.result())
            else:
                self._pass_over(planned, mosaic_name(path), error)
            self.progress.advance(stage, 1)
        if not planned.plans:
            self._refuse_all(planned)
        outside = note_of_positions_outside(config, planned.plans, root)
        if outside:
            self.progress.note(outside)
        return sorted(planned.plans, key=lambda plan: plan.mosaic.name), planned.failed

    def _take(self, planned: _Planned, plan: Plan, reading: str | None) -> None:
        planned.plans.append(plan)
        if reading:
            self.progress.note(reading)
        self.paths.mosaic_failure(plan.mosaic.name).unlink(missing_ok=True)
        for note in plan.mosaic.notes:
            self.progress.note(f"mosaic {plan.mosaic.file_name}: {note}")

    def _pass_over(self, planned: _Planned, name: str, error: BaseException) -> None:
        """Write down why a mosaic cannot be scanned; what is no fault of it is raised."""
        if isinstance(error, CompanionError):
            planned.passed_over.append(str(error))
            self.progress.note(str(error))
        elif isinstance(error, InputError | AttemptsError):
            planned.failed[name] = str(error)
            planned.later &= isinstance(error, TryAgainError)
            # Of the only mosaic, it is what the command ends with.
            if not planned.of_one:
                self.progress.note(str(error))
            self._write_failure(self.paths.mosaic_failure(name), {"reason": str(error)})
        else:
            raise error

    def _refuse_all(self, planned: _Planned) -> NoReturn:
        """End a scan that has nothing to scan, with the reasons."""
        failed = [planned.failed[name] for name in sorted(planned.failed)]
        reasons = "\n".join([*planned.passed_over, *failed])
        if failed and planned.later:
            # An archive that is silent for now: what came of its files stays.
            raise TryAgainError(reasons)
        if not planned_mosaics(self.paths.root):
            abandon(self.paths)
        raise InputError(reasons)

    def work_through(self, plans: Sequence[Sharded], unit: str = "windows") -> None:
        """Cut and score what is not done, a bounded number of shards at a time."""
        left = sum(plan.n_shards - len(self.paths.score_markers(plan.name)) for plan in plans)
        grow(self.client, math.ceil(left / SHARDS_PER_PROCESS))
        total = sum(plan.n_windows for plan in plans)
        done = sum(_windows_done(self.paths, plan) for plan in plans)
        cutting = self.progress.stage("cutting", total, done, unit)
        scoring = self.progress.stage("scoring", total, done, unit)
        work = Dispatch(self.client, self.crew, shards_to_do(self.paths, plans), self._submit)
        cut: set[tuple[str, int]] = set()
        for shard, future, last in work:
            self.hold()
            error, key = self.remedies.error_of(future), (shard.plan.name, shard.number)
            if (last or error is None) and key not in cut:
                cut.add(key)
                _LOG.info("mosaic %s: shard %d cut, %d windows", *key, shard.windows)
                self.progress.advance(cutting, shard.windows)
            if not last:
                continue
            if self.remedies.worth_another_try(error, key):
                work.again(shard)
                continue
            cut.discard(key)
            if error is None:
                # Not for a cut: one that an earlier command made has written nothing now.
                self.patience.over()
                _LOG.info("mosaic %s: shard %d scored, %d windows", *key, shard.windows)
            else:
                name, reason = shard.plan.name, f"{type(error).__name__}: {error}"
                self.progress.note(f"mosaic {name}: shard {shard.number} failed: {reason}")
                self._write_failure(
                    self.paths.failure(name, shard.number), failure_of(shard, reason)
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
            error = self.remedies.error_of(future)
            if self.remedies.worth_another_try(error, name):
                work.again(name)
                continue
            if error is not None:
                raise error
            yield future.result()

    @property
    def _scoring(self) -> Scoring:
        return Scoring(
            self.bundle.folder, self.bundle.sha256, self.config.precision, self.config.screen
        )

    def _submit(self, shard: Shard) -> list[Future[None]]:
        name = shard.plan.name
        key = (str(self.paths.root), name, shard.number)
        self.paths.failure(name, shard.number).unlink(missing_ok=True)
        limit_s = self.config.shard_timeout_s
        # An error may be the moment's: Dask tries again, on whichever worker is free.
        retries = ATTEMPTS - 1
        cut = self.client.submit(
            self._cut, *key, limit_s, pure=False, retries=retries,
            resources=self.crew.needs(CUT),
        )  # fmt: skip
        score = self.client.submit(
            score_unless_done, cut, *key, self._scoring, self.config.min_valid_fraction, limit_s,
            pure=False, retries=retries, resources=self.crew.needs(SCORE),
        )  # fmt: skip
        return [cut, score]

    def _write_failure(self, path: Path, failure: dict[str, object]) -> None:
        self.patience.until_written(lambda: write_record(path, failure))


def shards_to_do(paths: RunPaths, plans: Sequence[Sharded]) -> Iterator[Shard]:
    for plan in plans:
        for number in range(plan.n_shards):
            if not paths.score_marker(plan.name, number).is_file():
                yield Shard(plan, number)


def _windows_done(paths: RunPaths, plan: Sharded) -> int:
    markers = paths.score_markers(plan.name)
    return sum(Shard(plan, int(marker.name.split(".")[0])).windows for marker in markers)


def failure_of(shard: Shard, reason: str) -> dict[str, object]:
    return {"reason": printable(reason), "windows": shard.windows}
