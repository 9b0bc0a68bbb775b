"""What the environment of a worker process says, however it is started."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# glibc's malloc keeps what is freed for the next array of that size, unless it is told to give it
# back at once, as Dask does: then every array above 128 kB is mapped, zeroed and unmapped anew, and
# a shard takes twice as long to cut, stretch and store (benchmarks/overhead.py).
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}
DASK_SETTINGS = {
    "distributed.worker.multiprocessing-method": "spawn",
    # Files are what tasks leave behind; a result that moves between workers is a few numbers.
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # A network's memory does not shrink by waiting: a paused worker would never go on.
    "distributed.worker.memory.pause": False,
    # Nobody asks for it, and on Python 3.11 it can crash the process whose frames it walks
    # (dask/distributed#8916, which turned off the scheduler's alone).
    "distributed.worker.profile.enabled": False,
    # How often a process looks whether its event loop is stuck: fifty times a second, by default,
    # takes each scheduler, nanny and worker 1 % of a core.
    "distributed.admin.tick.interval": "500ms",
}


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Environment of a worker process on cores.

    It bounds how many threads the numerical libraries start: one per process by default, not one
    per core each. On which cores they run is the operating system's affair. It lets a process
    keep memory for its next array, and holds Dask's settings.

    Parameters
    ----------
    threads : int
    """
    dask = {
        f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value)
        for key, value in DASK_SETTINGS.items()
    }
    bounds = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**bounds, **ALLOCATOR, **dask, "TF_CPP_MIN_LOG_LEVEL": "3"}


@contextmanager
def set_in_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process for a while; after it they are as they were, or not there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
