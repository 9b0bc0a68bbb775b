"""Open the Dask cluster that a command runs on: the one place where that is done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster


class ClusterError(ValueError):
    """The cluster that was asked for cannot be reached."""


@contextmanager
def open_client(
    cluster: str = "local", workers: int | None = None, timeout_s: float = 10.0
) -> Iterator[Client]:
    """Open a client of a cluster, and close what was opened for it.

    Parameters
    ----------
    cluster : str
        `local`: worker processes on this machine, started by spawn (a forked child of a process
        that has run TensorFlow hangs), one thread each, listening on loopback only. Anything
        else is the address of a running scheduler.
    workers : int, optional
        Processes of a local cluster; by default one per core this process may use.
    timeout_s : float
        How long a scheduler at an address may take to answer.

    Raises
    ------
    ClusterError
        If there is no scheduler at the address.
    """
    if cluster == "local":
        yield from _local(workers or len(os.sched_getaffinity(0)))
        return
    try:
        client = Client(cluster, timeout=timeout_s)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"cluster {cluster}: no scheduler answers ({error}); give `local` or an address such "
            "as tcp://host:8786"
        ) from error
    with client:
        yield client


def _local(workers: int) -> Iterator[Client]:
    # One thread per process: its numerical libraries must not start a thread per core each.
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        # Files are what tasks leave behind; a result that moves between workers is a few numbers.
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env={**dict.fromkeys(threads, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"},
            # What goes wrong in a task comes back to who asked for it, and is told there.
            silence_logs="CRITICAL",
        ) as local,
        Client(local) as client,
    ):
        yield client
