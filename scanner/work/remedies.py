"""What is done about what goes wrong on a scan's cluster."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from distributed import CancelledError, Client, Future, KilledWorker

from lensweep.deploy.config import SCORE
from lensweep.ground.progress import Progress, duration
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.run.cutout_store import LostCutoutsError
from lensweep.scanner.work.attempts import ATTEMPTS
from lensweep.scanner.work.dispatch import POLL_S, Crew, reconnected
from lensweep.scanner.work.patience import Patience, is_unwritable
from lensweep.scanner.work.tasks import WorkerFullError, ensemble_problem

# How long others are waited for when no worker that is there can score. A pod takes a minute to
# start.
OTHERS_COME_S = 120.0
# From the addresses of workers to why each of those that answer cannot score; None if it can.
Problems = Callable[[Sequence[str]], dict[str, str | None]]


class Remedies:
    """Tells errors of the work from those of workers, disks and the cluster, and mends these.

    Parameters
    ----------
    cluster : str
        As it was asked for, for messages.
    bundle : Bundle
    client : distributed.Client
    crew : Crew
    patience : Patience
    progress : Progress
    """

    def __init__(
        self,
        cluster: str,
        bundle: Bundle,
        client: Client,
        crew: Crew,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self._cluster, self._bundle, self._client = cluster, bundle, client
        self._crew, self._patience, self._progress = crew, patience, progress
        # How often a piece has met a worker that cannot score, or was lost after it was cut.
        self._in_vain: Counter[str | tuple[str, int]] = Counter()

    @staticmethod
    def error_of(future: Future[object]) -> BaseException | None:
        """Why a piece of work failed; None if it did not."""
        error: BaseException | None = future.exception()
        # To Dask a future that was cancelled, or whose result was lost, has no exception.
        if error is None and future.status != "finished":
            return CancelledError(f"{future.key} is {future.status}")
        return error

    def worth_another_try(self, error: BaseException | None, piece: str | tuple[str, int]) -> bool:
        """Whether something else than the work was at fault, and is mended by now."""
        if error is None:
            return False
        if isinstance(error, CancelledError):
            if self._client.status == "connecting":
                self._progress.note(f"cluster {self._cluster}: lost; waiting for it")
            if not reconnected(self._client):
                raise error
            return True
        if is_unwritable(error):
            assert isinstance(error, OSError)
            self._patience.wait(error)
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
            self._progress.note(f"{error}{'' if last_time else '; cutting them again'}")
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
        problems: dict[str, str | None] = self._client.run(
            ensemble_problem, self._bundle.folder, self._bundle.sha256,
            workers=list(workers), on_error="ignore",
        )  # fmt: skip
        return problems

    def _retire_unable(self, error: Exception, problems: Problems) -> None:
        """Retire the workers that cannot score, once there are others that can."""
        deadline = None
        while True:
            self._crew.look(afresh=True)
            answers = problems(self._crew.able(SCORE))
            unable = {who: why for who, why in answers.items() if why is not None}
            # Where all have just left, whoever comes next is given the work.
            if len(unable) < len(answers) or not answers:
                break
            if deadline is None:
                deadline = time.monotonic() + OTHERS_COME_S
                wait = duration(OTHERS_COME_S)
                self._progress.note(
                    f"no worker can score: {error}; waiting up to {wait} for others"
                )
            if time.monotonic() >= deadline:
                raise error
            time.sleep(POLL_S)
        for address, why in unable.items():
            self._progress.note(f"worker {address} is retired: {why}")
        if unable:
            self._client.retire_workers(list(unable), close_workers=True)
