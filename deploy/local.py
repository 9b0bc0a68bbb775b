"""A cluster of this machine's processes, on its cores or on its GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from lensweep.deploy.config import CUT, SCORE, ClusterConfig, ClusterError
from lensweep.deploy.environment import ALLOCATOR, DASK_SETTINGS, worker_environment

# malloc reads them when a process starts: too late for what a nanny sets in it.
_LOCAL_SETTINGS = DASK_SETTINGS | {
    f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()
}
# No worker is ended for using less. A network takes 1.1 GB, whatever the number of cores.
LEAST_WORKER_MEMORY_BYTES = 3 * 2**30


@contextmanager
def open_local(config: ClusterConfig) -> Iterator[Client]:
    """Worker processes on the cores of this machine, each of one thread, cutting and scoring.

    They are started by spawn: a forked child of a process that has run TensorFlow hangs.
    """
    workers = config.workers or len(os.sched_getaffinity(0))
    with (
        dask.config.set(_LOCAL_SETTINGS),
        LocalCluster(
            n_workers=workers,
            processes=True,
            resources={CUT: 1, SCORE: 1},
            memory_limit=_memory_limit(workers),
            env=worker_environment(config.threads),
            **_common(config),
        ) as local,
        Client(local) as client,
    ):
        yield client


@contextmanager
def open_cuda(config: ClusterConfig) -> Iterator[Client]:
    """One process of one thread per GPU, which scores, and processes on the cores, which cut.

    Raises
    ------
    ClusterError
        If dask-cuda is not installed, or there is no GPU or no driver.
    """
    with dask.config.set(_LOCAL_SETTINGS), _gpu_cluster(config) as cluster:
        gpus = len(cluster.worker_spec)
        cpus = config.workers or max(1, len(os.sched_getaffinity(0)) - gpus)
        options = {
            **cluster.worker_spec[min(cluster.worker_spec, key=str)]["options"],
            "resources": {CUT: 1},
            "memory_limit": _memory_limit(gpus + cpus),
            "env": {**worker_environment(config.threads), "CUDA_VISIBLE_DEVICES": ""},
        }
        # Those of dask-cuda are for a process with a GPU.
        for key in ("data", "plugins", "preload", "preload_argv"):
            options.pop(key, None)
        cluster.worker_spec |= {
            f"cpu-{number}": {"cls": Nanny, "options": options} for number in range(cpus)
        }
        cluster.scale(gpus + cpus)
        with Client(cluster) as client:
            yield client


def _gpu_cluster(config: ClusterConfig) -> Any:
    try:
        from dask_cuda import LocalCUDACluster
        from pynvml import NVMLError
    except ImportError as error:
        raise ClusterError(
            f"cluster cuda: {error.name} is not installed; `pip install 'lensweep[gpu]'`, or give "
            "--cluster local"
        ) from error
    try:
        # Memory growth is set where TensorFlow is imported (deploy.accelerator).
        return LocalCUDACluster(resources={SCORE: 1}, **_common(config))
    except NVMLError as error:
        raise ClusterError(
            f"cluster cuda: no NVIDIA driver answers ({error}); see whether `nvidia-smi` finds a "
            "GPU here, or give --cluster local"
        ) from error


def _common(config: ClusterConfig) -> dict[str, Any]:
    return {
        "threads_per_worker": 1,
        "host": config.listen,
        "dashboard_address": config.dashboard,
        # What goes wrong in a task comes back to who asked for it, and is told there.
        "silence_logs": "CRITICAL",
        # The certificate never leaves the memory of these processes.
        **({"security": Security.temporary()} if config.tls else {}),
    }


def _memory_limit(processes: int) -> int:
    # Dask's figure knows the limit of a container or a job, where the machine has more.
    return max(LEAST_WORKER_MEMORY_BYTES, int(MEMORY_LIMIT) // processes)
