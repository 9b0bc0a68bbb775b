"""What the environment of a worker process says, however it is started."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# glibc's malloc keeps what is freed for the next array of that size, unless it is told to give it
# back at once, as Dask does: then every array above 128 kB is mapped, zeroed and unmapped anew, and
# a shard takes twice as long to cut, stretch and store (benchmarks/overhead.py).
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Environment of a worker process on cores.

    It bounds how many threads the numerical libraries start: one per process by default, not one
    per core each. On which cores they run is the operating system's affair. And it lets a process
    keep memory for its next array.

    Parameters
    ----------
    threads : int
    """
    values = dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**values, **ALLOCATOR, "TF_CPP_MIN_LOG_LEVEL": "3"}
