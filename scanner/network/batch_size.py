"""How many cutouts a network sees at once, and whose: one fixed number, less where memory is short.

Every batch is padded to the same size, so that a cutout's score never depends on its company.
Several threads share a network: while one batch is computed the next is made ready, of whatever
looks wait, in the order in which they came. Whole batches of one thread are handed on as they are;
others are put together in memory that is used again, since new memory of that size costs as much
time as a device takes to compute.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.looks import Looks, empty_looks
from lensweep.scanner.network.networks import Network

# On processors. Twice as many are 5 % faster, and take 60 MB more in every process.
CPU_BATCH = 16
# Batches that a device has at once. A GPU is handed the next one's pixels while it computes, which
# on an H200 makes a quarter more cutouts a second; a processor is busy with one.
CPU_AT_ONCE, GPU_AT_ONCE = 1, 2


class BatchError(ValueError):
    """Not even one cutout fits into memory."""


@dataclass(eq=False)
class _Request:
    """What one thread wants of the network; its future ends when the last row is there."""

    looks: Looks
    taken: int = 0
    done: int = 0
    values: NDArray[np.float32] | None = None
    future: "Future[NDArray[np.float32]]" = field(default_factory=Future)

    @property
    def left(self) -> int:
        """Rows that nobody has taken."""
        return len(self.looks) - self.taken

    def begin_anew(self) -> None:
        """Take and compute all rows once more."""
        self.taken = self.done = 0


@dataclass(frozen=True)
class _Batch:
    size: int
    parts: Sequence[tuple[_Request, slice]]

    @property
    def alone(self) -> Looks | None:
        """Its looks where one thread's fill it, without a copy."""
        looks = self.parts[0][0].looks[self.parts[0][1]]
        return looks if len(looks) == self.size else None

    @property
    def size_px(self) -> int:
        return int(self.parts[0][0].looks.flux.shape[1])

    def put_into(self, filled: Looks) -> None:
        """Its looks, one part after the other; what was there before is left as padding."""
        first = 0
        for request, rows in self.parts:
            looks = request.looks[rows]
            for column, values in zip(filled.columns, looks.columns, strict=True):
                column[first : first + len(looks)] = values
            first += len(looks)


class Batches:
    """A network that is given as many cutouts at once as memory allows; for any number of threads.

    Parameters
    ----------
    network : callable
    size : int
        Cutouts at once, to begin with.
    at_once : int
        Batches that the device is given at once; one more is made ready.
    """

    def __init__(self, network: Network, size: int, at_once: int = CPU_AT_ONCE) -> None:
        self._network, self.size = network, size
        self._waiting: list[_Request] = []
        # Memory of earlier batches, never more than there are places.
        self._used: list[Looks] = []
        # Notified when rows are done, or have to be taken again.
        self._lock, self._device = threading.Condition(), threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + 1)

    def __call__(self, looks: Looks) -> NDArray[np.float32]:
        """What the network makes of looks; starts over with half a batch when out of memory.

        Parameters
        ----------
        looks : Looks
            At least one.

        Returns
        -------
        ndarray, shape (n, features), float32

        Raises
        ------
        BatchError
            If memory is exhausted by a single cutout.
        """
        request = _Request(looks)
        with self._lock:
            self._waiting.append(request)
        while not request.future.done():
            with self._places:
                batch = self._take()
                if batch is not None:
                    self._compute(batch)
            if batch is None:  # what is left is in the hands of other threads
                with self._lock:
                    self._lock.wait_for(lambda: request.left or request.future.done())
        return request.future.result()

    def _take(self) -> _Batch | None:
        """The next rows that wait, as many as a batch holds."""
        with self._lock:
            parts, free = [], self.size
            for request in self._waiting:
                n = min(free, request.left)
                if n:
                    parts.append((request, slice(request.taken, request.taken + n)))
                    request.taken += n
                    free -= n
            return _Batch(self.size, parts) if parts else None

    def _compute(self, batch: _Batch) -> None:
        try:
            with self._together(batch) as looks, self._device:
                values = self._network(looks)
        except MemoryError as error:
            self._fail(batch, error)
        # Imported when something has failed: estimators do without.
        except import_tensorflow().errors.ResourceExhaustedError as error:
            self._make_smaller(batch, error)
        except import_tensorflow().errors.OpError as error:
            self._fail(batch, error)
        except BaseException as error:
            # Other threads wait for rows of this batch.
            self._fail(batch, error)
            raise
        else:
            self._hand_out(batch, values)

    @contextmanager
    def _together(self, batch: _Batch) -> Iterator[Looks]:
        """The looks of a batch in one piece."""
        if batch.alone is not None:
            yield batch.alone
            return
        with self._lock:
            filled = self._used.pop() if self._used else None
        if filled is None or len(filled) != batch.size:
            filled = empty_looks(batch.size, batch.size_px)
        batch.put_into(filled)
        yield filled
        with self._lock:
            self._used.append(filled)

    def _make_smaller(self, batch: _Batch, error: Exception) -> None:
        if batch.size == 1:
            reason = BatchError(
                f"out of memory with one cutout at a time ({error}); stop what else uses this "
                "device, or use another"
            )
            reason.__cause__ = error
            self._fail(batch, reason)
            return
        with self._lock:
            # All over again: half of the scores of a shard must not be of another batch size.
            self.size = min(self.size, batch.size // 2)
            for request in self._waiting:
                request.begin_anew()
            self._lock.notify_all()

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        with self._lock:
            for request, _ in batch.parts:
                if request in self._waiting:
                    self._waiting.remove(request)
                    request.future.set_exception(error)
            self._lock.notify_all()

    def _hand_out(self, batch: _Batch, values: NDArray[np.float32]) -> None:
        first = 0
        with self._lock:
            if batch.size != self.size:  # begun anew meanwhile
                return
            for request, rows in batch.parts:
                found = values[first : first + rows.stop - rows.start]
                first += len(found)
                if request.values is None:
                    request.values = np.empty((len(request.looks), *values.shape[1:]), np.float32)
                request.values[rows] = found
                request.done += len(found)
                if request.done == len(request.looks) and request in self._waiting:
                    self._waiting.remove(request)
                    request.future.set_result(request.values)
            self._lock.notify_all()
