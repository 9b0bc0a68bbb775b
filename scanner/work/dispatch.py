"""Give a cluster as much work as its workers can hold, while they come and go."""

import itertools
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from dask.typing import Key
from distributed import CancelledError, Client, Future, Semaphore

from lensweep.deploy.config import CUT, SCORE
from lensweep.deploy.local import replace_lost

T = TypeVar("T")
R = TypeVar("R")

# Pieces of work under way per worker: one being worked on, one waiting, so that no worker idles
# and neither memory nor the scheduler's load grows with the survey.
IN_FLIGHT_PER_WORKER = 2
# How old what is known of the workers may be. Asking takes the scheduler 1 ms per ten workers.
REFRESH_S = 5.0
# How often is looked whether there are more workers now, or none of the cluster is left.
POLL_S = 1.0


@contextmanager
def few_at_a_time(n: int) -> Iterator[None]:
    """Let no more than n tasks of the whole cluster ask archives at a time; within a task."""
    with Semaphore(max_leases=n, name=f"lensweep-archives-{n}"):
        yield


class Crew:
    """The workers of a cluster, as of a few seconds ago.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = -float("inf")
        self._workers: dict[str, Any] = {}

    def look(self, afresh: bool = False) -> None:
        """Ask the scheduler who is there, unless that was done just now."""
        now = time.monotonic()
        if not afresh and self._workers and now - self._asked < REFRESH_S:
            return
        self._asked, self._workers = now, {}
        scheduler = self._client.scheduler
        if self._client.status != "running" or scheduler is None:
            return
        # What `Client.scheduler_info` returns may have been replaced, between its question and its
        # answer, by the client's own periodic one, which is without workers.
        with suppress(OSError):  # the scheduler is lost: its workers with it
            answer = self._client.sync(scheduler.identity, n_workers=-1)
            self._workers = dict(answer["workers"])

    @property
    def places(self) -> int:
        """Pieces of work that may be under way; none before there is a worker."""
        threads = sum(int(worker["nthreads"]) for worker in self._workers.values())
        return IN_FLIGHT_PER_WORKER * threads

    def needs(self, resource: str) -> dict[str, float]:
        """What a task that cuts or scores asks of a worker.

        Workers that declare none of both resources do everything; where some do, they are taken
        at their word.
        """
        return {resource: 1} if any(map(_declares, self._workers.values())) else {}

    def able(self, resource: str) -> list[str]:
        """Addresses of the workers that may be given such tasks."""
        if not self.needs(resource):
            return list(self._workers)
        return [
            address
            for address, worker in self._workers.items()
            if worker["resources"].get(resource)
        ]


def _declares(worker: dict[str, Any]) -> bool:
    return bool({CUT, SCORE} & worker["resources"].keys())


class Dispatch(Generic[T]):
    """Pieces of work on a cluster, a bounded number at a time; iterate over how they end.

    Yields of every piece each future as it ends, with whether it is the piece's last.

    Parameters
    ----------
    client : distributed.Client
    crew : Crew
    pieces : iterator
        Drawn from when there is a place: never listed.
    submit : callable
        From a piece to its futures, in the order in which they depend on each other.
    """

    def __init__(
        self,
        client: Client,
        crew: Crew,
        pieces: Iterator[T],
        submit: Callable[[T], Sequence[Future[Any]]],
    ) -> None:
        self._client, self._crew = client, crew
        self._pieces, self._submit = pieces, submit
        self._again: deque[T] = deque()
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        # Futures are held here: one that nobody holds is cancelled.
        self._known: dict[Key, tuple[T, Future[Any], bool]] = {}
        self._under_way = 0

    def again(self, piece: T) -> None:
        """Do a piece once more, before any new one."""
        self._again.append(piece)

    def __iter__(self) -> Iterator[tuple[T, Future[Any], bool]]:
        while self._fill() or self._known:
            try:
                ended = self._ended.get(timeout=POLL_S)
            except queue.Empty:
                if self._client.status == "closed":
                    raise CancelledError("the client has given up its scheduler") from None
                replace_lost(self._client)
                continue
            piece, future, last = self._known.pop(ended.key)
            self._under_way -= last
            yield piece, future, last

    def _fill(self) -> bool:
        """Submit as much as there are places for; whether something is left."""
        while self._is_left():
            self._crew.look()
            if self._under_way >= self._crew.places:
                return True
            piece = self._again.popleft()
            futures = self._submit(piece)
            for future in futures:
                self._known[future.key] = piece, future, future is futures[-1]
                future.add_done_callback(self._ended.put)
            self._under_way += 1
        return False

    def _is_left(self) -> bool:
        if not self._again:
            self._again.extend(itertools.islice(self._pieces, 1))
        return bool(self._again)


def spread(
    client: Client,
    task: Callable[..., R],
    pieces: Iterable[T],
    /,
    resource: str = CUT,
    **fixed: Any,
) -> Iterator[tuple[T, R]]:
    """A task for each of many pieces, as many at once as the workers hold.

    Parameters
    ----------
    client : distributed.Client
    task : callable
        Takes a piece, and `fixed`; runs on workers.
    pieces : iterable
    resource : str
        On which, where they are of several kinds: `SCORE` for a network's work.
    **fixed
        More arguments of `task`.

    Yields
    ------
    tuple
        A piece and what its task returned, in the order in which they end. A task's error is
        raised here.
    """

    crew = Crew(client)

    def submit(piece: T) -> list[Future[R]]:
        needed = crew.needs(resource)
        return [client.submit(task, piece, pure=False, resources=needed, **fixed)]

    for piece, future, _ in Dispatch(client, crew, iter(pieces), submit):
        yield piece, future.result()


def reconnected(client: Client) -> bool:
    """Wait while a client looks for its scheduler; whether it has one again."""
    while client.status in ("connecting", "newly-created"):
        time.sleep(0.1)
    return bool(client.status == "running")
