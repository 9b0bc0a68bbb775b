"""How many cutouts a device is given at once: what its memory holds, from large to small."""

import time
from collections.abc import Callable

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.batch_size import BatchError
from lensweep.scanner.network.looks import empty_looks
from lensweep.scanner.network.networks import Network

# What a shard holds. A larger batch is rarely full, and is computed in full all the same; full
# ones, of four times as many, are a tenth faster on an H200.
MAX_BATCH = 512
# Half of a batch is only taken where it is this much faster.
WORTHWHILE_GAIN = 1.1
# No size is tried after that.
BUDGET_S = 4.0
# The fastest of these: what else a machine does makes a call slower, never faster.
_CALLS = 3


def find_batch(
    network: Network, size_px: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Find the batch size of a device: the largest that fits, unless a smaller one is faster.

    Parameters
    ----------
    network : callable
    size_px : int
        Of a cutout.
    clock : callable
        Seconds.

    Raises
    ------
    BatchError
        If not one cutout fits.
    """
    begin, best, best_rate, size = clock(), 0, 0.0, MAX_BATCH
    while size and (not best or clock() - begin < BUDGET_S):
        rate = _rate(network, size, size_px, clock)
        if best and rate < WORTHWHILE_GAIN * best_rate:
            break
        if rate:
            best, best_rate = size, rate
        size //= 2
    if not best:
        raise BatchError(
            "out of memory with one cutout; stop what else uses this device, or use another"
        )
    return best


def _rate(network: Network, size: int, size_px: int, clock: Callable[[], float]) -> float:
    """Cutouts a second; 0 if so many do not fit."""
    looks = empty_looks(size, size_px)
    try:
        network(looks)  # the first call of a size also chooses its algorithms
        times = []
        for _ in range(_CALLS):
            begin = clock()
            network(looks)
            times.append(clock() - begin)
    except import_tensorflow().errors.ResourceExhaustedError:
        return 0.0
    return size / max(min(times), 1e-9)
