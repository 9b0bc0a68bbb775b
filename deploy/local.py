"""A cluster of this machine's processes, on its cores or on its GPUs."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import forkserver
from typing import Any
from weakref import WeakKeyDictionary

import dask
from distributed import Client, LocalCluster, Nanny, SpecCluster
from distributed.core import Status
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from lensweep.deploy.config import (
    CUT,
    SCORE,
    SHARDS_AT_ONCE,
    ClusterConfig,
    ClusterError,
    NoSchedulerError,
)
from lensweep.deploy.cores import usable_cores
from lensweep.deploy.environment import (
    ALLOCATOR,
    DASK_SETTINGS,
    set_in_environment,
    worker_environment,
)
from lensweep.deploy.main_guard import refuse_without_guard
from lensweep.ground.loudness import Loudness, loudness

# How long a process of this machine may take to answer while others keep its cores busy; Dask's own
# 30 s are for a network. It is what a cluster waits that cannot start at all, too.
START_S = 120.0
_LOCAL_SETTINGS = DASK_SETTINGS | {
    "distributed.comm.timeouts.connect": START_S,
    # How long a process that was killed may take to be back.
    "distributed.deploy.lost-worker-timeout": f"{START_S:g} s",
}
_FORKED = {"distributed.worker.multiprocessing-method": "forkserver"}
# Elsewhere a system's own libraries may not be used in what was forked off without exec (macOS).
_MAY_FORK = sys.platform == "linux"
# No worker is ended for using less. A network takes 1.1 GB, whatever the number of cores.
LEAST_WORKER_MEMORY_BYTES = 3 * 2**30
# By its client: what gives a cluster as many processes on cores as are asked for, and may be had.
_GROW: WeakKeyDictionary[Client, Callable[[int], None]] = WeakKeyDictionary()
_CLUSTERS: WeakKeyDictionary[Client, SpecCluster] = WeakKeyDictionary()


def grow(client: Client, processes: int) -> None:
    """Let a cluster of this machine's processes have so many on cores, as far as it may.

    It never shrinks; and clusters of other kinds are as large as they are.
    """
    more = _GROW.get(client)
    if more is not None:
        more(processes)


def replace_lost(client: Client) -> None:
    """Give a cluster of this machine's processes others for those that nobody begins anew.

    A nanny begins a process again that was killed. But Dask gives up both where that takes too
    long, or where the process is killed once more just when Dask looks whether it is back.
    """
    cluster = _CLUSTERS.get(client)
    if cluster is not None and cluster.loop is not None and cluster.status is Status.running:
        cluster.loop.add_callback(_drop_closed, cluster)


def _drop_closed(cluster: SpecCluster) -> None:
    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
    if cluster.worker_spec.keys() - cluster.workers.keys():
        # As many as there should be.
        cluster.scale(len(cluster.worker_spec))


@contextmanager
def open_local(
    config: ClusterConfig, begin_with: int | None = None, imports: Sequence[str] = ()
) -> Iterator[Client]:
    """Worker processes on the cores of this machine, each of one thread, cutting and scoring.

    On Linux they are forked off a server, a process that has imported what they need and has run
    none of it, instead of each importing it: a child of a process that has run TensorFlow would
    hang. The server lasts as long as this process, and serves all of its clusters.

    Parameters
    ----------
    config : ClusterConfig
    begin_with : int, optional
        Processes before `grow` is called; all that may be by default.
    imports : sequence of str
        Modules that the server imports, if none is running yet.
    """
    refuse_without_guard()
    workers = config.workers or usable_cores()
    settings = _LOCAL_SETTINGS | (_FORKED if _MAY_FORK else {})
    with dask.config.set(settings), _allocator(), ExitStack() as opened:
        with _starting(config):
            if _MAY_FORK:
                begin_fork_server(imports)
            local = LocalCluster(
                n_workers=min(workers, begin_with or workers),
                processes=True,
                resources={CUT: 1, SCORE: 1},
                memory_limit=_memory_limit(workers),
                # As it is now: the server may be older than what was set since.
                env=dict(os.environ) | worker_environment(config.threads),
                **_common(config),
            )
            opened.enter_context(local)
            client = opened.enter_context(Client(local, timeout=START_S))
        _GROW[client] = lambda asked: local.scale(max(len(local.worker_spec), min(asked, workers)))
        _CLUSTERS[client] = local
        yield client


def begin_fork_server(imports: Sequence[str]) -> None:
    """Let this process have the server that processes are forked off, unless it has one.

    Parameters
    ----------
    imports : sequence of str
        Modules that it imports: whoever is first says which.
    """
    with set_in_environment(worker_environment()):
        forkserver.set_forkserver_preload(["distributed", *imports])
        forkserver.ensure_running()


@contextmanager
def open_here() -> Iterator[Client]:
    """One worker within this process: for work that is done before others have started."""
    with dask.config.set(DASK_SETTINGS), LocalCluster(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    ) as local, Client(local, timeout=START_S) as client:  # fmt: skip
        yield client


@contextmanager
def _allocator() -> Iterator[None]:
    """Begin processes with what malloc reads when one starts: too late for what a nanny sets in it.

    Dask's own setting for this yields to the environment, and any earlier cluster of Dask's in this
    process (a notebook's, say) has left its choice there.
    """
    with set_in_environment(ALLOCATOR):
        yield


@contextmanager
def _starting(config: ClusterConfig) -> Iterator[None]:
    """Say what to do if the processes of a cluster do not start."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise NoSchedulerError(
            f"cluster {config.kind}: its processes do not start ({error}); if this machine is busy "
            f"with other work (each of them may take {START_S:g} s), repeat the command later, or "
            "give it fewer --workers"
        ) from error


@contextmanager
def open_cuda(config: ClusterConfig, begin_with: int | None = None) -> Iterator[Client]:
    """One process per GPU, which scores several shards at once, and those on cores, which cut.

    Parameters
    ----------
    config : ClusterConfig
    begin_with : int, optional
        Processes on cores before `grow` is called.

    Raises
    ------
    ClusterError
        If dask-cuda is not installed, or there is no GPU or no driver.
    """
    refuse_without_guard()
    with dask.config.set(_LOCAL_SETTINGS), _allocator(), ExitStack() as opened:
        with _starting(config):
            cluster = opened.enter_context(_gpu_cluster(config))
        gpus = len(cluster.worker_spec)
        cpus = config.workers or max(1, usable_cores() - gpus)
        options = {
            **cluster.worker_spec[min(cluster.worker_spec, key=str)]["options"],
            "resources": {CUT: 1},
            "memory_limit": _memory_limit(gpus + cpus),
            "env": {**worker_environment(config.threads), "CUDA_VISIBLE_DEVICES": ""},
        }
        # Those of dask-cuda are for a process with a GPU.
        for key in ("data", "plugins", "preload", "preload_argv"):
            options.pop(key, None)

        def grow_cores(asked: int) -> None:
            names = [f"cpu-{number}" for number in range(min(asked, cpus))]
            cluster.worker_spec |= {name: {"cls": Nanny, "options": options} for name in names}
            cluster.scale(len(cluster.worker_spec))

        grow_cores(begin_with or cpus)
        with _starting(config):
            client = opened.enter_context(Client(cluster, timeout=START_S))
        _GROW[client], _CLUSTERS[client] = grow_cores, cluster
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
        common = _common(config) | {"threads_per_worker": SHARDS_AT_ONCE}
        return LocalCUDACluster(resources={SCORE: SHARDS_AT_ONCE}, **common)
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
        "silence_logs": False if loudness() is Loudness.VERBOSE else "CRITICAL",
        # The certificate never leaves the memory of these processes.
        **({"security": Security.temporary()} if config.tls else {}),
    }


def _memory_limit(processes: int) -> int:
    # Dask's figure knows the limit of a container or a job, where the machine has more.
    return max(LEAST_WORKER_MEMORY_BYTES, int(MEMORY_LIMIT) // processes)
