"""How many cutouts a network sees at once: one fixed number, and less where memory is short.

Every batch is padded to the same size, so that a cutout's score never depends on its company.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.networks import Network

# On processors. Twice as many are 5 % faster, and take 60 MB more in every process.
CPU_BATCH = 16
MAX_BATCH = 2048
# Doubling the batch must pay at least this much.
WORTHWHILE_GAIN = 1.05

Prepare = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class BatchError(ValueError):
    """Not even one cutout fits into memory."""


class Batches:
    """A network that is given as many cutouts at once as memory allows.

    Parameters
    ----------
    network : callable
    prepare : callable
        From some cutouts to what the network sees.
    size : int
        Cutouts at once, to begin with.
    """

    def __init__(self, network: Network, prepare: Prepare, size: int) -> None:
        self._network, self._prepare, self.size = network, prepare, size

    def __call__(self, cutouts: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network makes of cutouts; starts over with half a batch when out of memory.

        Parameters
        ----------
        cutouts : ndarray, shape (n, size, size), float32
            At least one.

        Raises
        ------
        BatchError
            If memory is exhausted by a single cutout.
        """
        errors = import_tensorflow().errors
        while True:
            try:
                # All over again: half of the scores of a shard must not be of another batch size.
                firsts = range(0, len(cutouts), self.size)
                return np.concatenate([self._batch(cutouts[i : i + self.size]) for i in firsts])
            except errors.ResourceExhaustedError as error:
                if self.size == 1:
                    raise BatchError(
                        f"out of memory with one cutout at a time ({error.message}); stop what "
                        "else uses this device, or use another"
                    ) from error
                self.size //= 2

    def _batch(self, cutouts: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.zeros((self.size, *cutouts.shape[1:]), np.float32)
        padded[: len(cutouts)] = cutouts
        return self._network(self._prepare(padded))[: len(cutouts)]


def find_batch(
    network: Network,
    shape: tuple[int, ...],
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Find the batch size of a device by trial: doubled while that is faster and fits.

    Parameters
    ----------
    network : callable
    shape : tuple of int
        Of one input.
    clock : callable
        Seconds.

    Raises
    ------
    BatchError
        If not one input fits.
    """
    errors = import_tensorflow().errors
    best, best_rate, size = 0, 0.0, 1
    while size <= MAX_BATCH:
        images = np.zeros((size, *shape), np.float32)
        try:
            network(images)  # the first call of a size also chooses its algorithms
            begin = clock()
            network(images)
        except errors.ResourceExhaustedError as error:
            if not best:
                raise BatchError(
                    f"out of memory with one input of shape {shape} ({error.message}); stop what "
                    "else uses this device, or use another"
                ) from error
            break
        rate = size / max(clock() - begin, 1e-9)
        # Small batches are dominated by overhead: none of them is settled for.
        if size > CPU_BATCH and rate < WORTHWHILE_GAIN * best_rate:
            break
        best, best_rate, size = size, rate, 2 * size
    return best
