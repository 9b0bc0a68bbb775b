"""Open the Dask cluster that a command runs on: the one place where that is done."""

import asyncio
import dataclasses
import json
import time
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from distributed import Client, get_worker
from distributed.comm.core import connect
from distributed.security import Security

# What a worker may be given: resources of Dask, one of each per worker process. A worker that
# declares both does both, one task at a time, since it has one thread.
CUT, SCORE = "CUT", "SCORE"
# How long a scheduler that has answered once may be gone before the run ends: a pod takes a
# minute to be started anew.
RECONNECT_S = 300.0
SCHEDULER_FILE = "scheduler-file:"


class ClusterError(ValueError):
    """The cluster that was asked for cannot be had."""


class NoSchedulerError(ClusterError):
    """Nobody answers where a scheduler should be; there may be one later."""


@dataclass(frozen=True)
class ClusterConfig:
    """Where a command runs; a TOML file has the same keys.

    Attributes
    ----------
    kind : str
        `local`, `cuda`, `slurm`, `kubernetes`, the address of a running scheduler
        (`tcp://host:8786`, or `tls://` with certificates), or `scheduler-file:PATH`.
    workers : int or None
        Processes that a local cluster starts, or a `cuda` one beside those of its GPUs; by default
        one per core.
    threads : int
        Threads of the numerical libraries in each worker process: how many, not on which cores.
    tls : bool
        Encrypt what Dask's processes say to each other, and refuse who has no certificate;
        `slurm` always does, `kubernetes` cannot.
    certificates : str or None
        For a running scheduler: folder with the files of `lensweep.deploy.tls`; by default what Dask's own
        configuration names.
    listen : str
        Address that the processes of a local cluster listen on.
    dashboard : str
        Address that the scheduler's dashboard listens on, `host:port`.
    cpu_jobs, gpu_jobs : int
        Jobs (`slurm`) or pods (`kubernetes`) that cut, and that score on one GPU each. Without GPU
        jobs the others score too.
    cores, memory, gpu_cores, gpu_memory : optional
        Of one job: a CPU job has a worker per core, a GPU job one. By default what Dask's own
        configuration says (`jobqueue.slurm`); for GPU jobs the same as for the others.
    partition, gpu_partition, account, walltime : str or None
        As SLURM takes them.
    options, gpu_options : tuple of str
        More options of `sbatch`, for all jobs and for GPU jobs.
    prologue : tuple of str
        Shell lines of a job before its worker starts, such as `module load cuda`.
    interface : str or None
        Network interface between the nodes, such as `ib0`.
    log_folder : str or None
        Where jobs write their logs.
    namespace, image, volume_claim, mount_path : optional
        Of the pods; the claim's volume, where runs and mosaics lie, is mounted at the path.
    """

    kind: str = "local"
    workers: int | None = None
    threads: int = 1
    tls: bool = False
    certificates: str | None = None
    listen: str = "127.0.0.1"
    dashboard: str = "127.0.0.1:0"
    cpu_jobs: int = 1
    gpu_jobs: int = 0
    cores: int | None = None
    memory: str | None = None
    gpu_cores: int | None = None
    gpu_memory: str | None = None
    partition: str | None = None
    gpu_partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    options: tuple[str, ...] = ()
    gpu_options: tuple[str, ...] = ("--gres=gpu:1",)
    prologue: tuple[str, ...] = ()
    interface: str | None = None
    log_folder: str | None = None
    namespace: str | None = None
    image: str | None = None
    volume_claim: str | None = None
    mount_path: str = "/data"

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(ClusterConfig).items():
            value = getattr(self, name)
            if hint == tuple[str, ...]:
                fits = isinstance(value, tuple) and all(isinstance(line, str) for line in value)
            else:
                fits = type(value) in (get_args(hint) or (hint,))
            if not fits:
                raise ClusterError(f"cluster: {name} = {value!r} is of another type than it takes")
        for name in ("workers", "threads", "cpu_jobs", "gpu_jobs", "cores", "gpu_cores"):
            value = getattr(self, name)
            if value is not None and value < (name == "threads"):
                raise ClusterError(f"cluster: {name} = {value} is too few")
        if self.kind in ("slurm", "kubernetes") and not self.cpu_jobs:
            raise ClusterError("cluster: cpu_jobs = 0, but only CPU jobs cut; give at least 1")

    @property
    def cpu_resources(self) -> dict[str, float]:
        """What workers without a GPU declare."""
        return {CUT: 1} if self.gpu_jobs else {CUT: 1, SCORE: 1}


def read_cluster(cluster: str, workers: int | None = None, tls: bool = False) -> ClusterConfig:
    """What a `--cluster` stands for: a kind, an address, or a TOML file of `ClusterConfig`.

    Parameters
    ----------
    cluster : str
    workers : int, optional
        Wins over the file's.
    tls : bool
        As if the file said so.

    Raises
    ------
    ClusterError
        If the file cannot be read, or anything in it is unfit.
    """
    values: dict[str, Any] = {"kind": cluster}
    if cluster.endswith(".toml"):
        values = _read_toml(Path(cluster))
    if workers is not None:
        values["workers"] = workers
    return ClusterConfig(**(values | ({"tls": True} if tls else {})))


def this_worker() -> str:
    """The address of the worker that a task runs on; only within a task."""
    return str(get_worker().address)


@contextmanager
def open_client(
    cluster: str | ClusterConfig = "local",
    workers: int | None = None,
    timeout_s: float = 10.0,
    tls: bool = False,
    folder: Path | None = None,
) -> Iterator[Client]:
    """Open a client of a cluster, and close what was opened for it.

    Parameters
    ----------
    cluster : str or ClusterConfig
        As `read_cluster` takes it.
    workers : int, optional
        Processes of a local cluster; by default one per core this process may use.
    timeout_s : float
        How long a scheduler at an address may take to answer.
    tls : bool
        Encrypt what the processes say to each other.
    folder : Path, optional
        Where certificates are put that workers on other machines have to read.

    Raises
    ------
    ClusterError
        If the cluster cannot be had; the message says what is missing.
    """
    config = read_cluster(cluster, workers, tls) if isinstance(cluster, str) else cluster
    with _opened(config, timeout_s, folder) as client:
        yield client


def _opened(
    config: ClusterConfig, timeout_s: float, folder: Path | None
) -> AbstractContextManager[Client]:
    # Each kind needs packages that the others do not.
    if config.kind == "local":
        from lensweep.deploy.local import open_local

        return open_local(config)
    if config.kind == "cuda":
        from lensweep.deploy.local import open_cuda

        return open_cuda(config)
    if config.kind == "slurm":
        from lensweep.deploy.slurm.cluster import open_jobs

        return open_jobs(config, folder)
    if config.kind == "kubernetes":
        from lensweep.deploy.kubernetes.cluster import open_pods

        return open_pods(config)
    return _running(config, timeout_s)


@contextmanager
def _running(config: ClusterConfig, timeout_s: float) -> Iterator[Client]:
    """A client of a scheduler that somebody else has started."""
    address = config.kind
    if address.startswith(SCHEDULER_FILE) or address.endswith(".json"):
        address = _address_in(Path(address.removeprefix(SCHEDULER_FILE)), timeout_s)
    if config.tls and not address.startswith("tls://"):
        raise ClusterError(
            f"cluster {config.kind}: its scheduler at {address} does not encrypt; start it and its "
            "workers with certificates, and give a tls:// address"
        )
    security = _security(config)
    try:
        # A client that fails to connect is closed whenever it is collected, which can stop a second
        # one for good (both take one lock): so ask first.
        asyncio.run(_ask(address, timeout_s, security))
        # It is there: from now on it is waited for.
        client = Client(address, timeout=RECONNECT_S, security=security)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise NoSchedulerError(
            f"cluster {config.kind}: no scheduler answers ({error}); give local, cuda, slurm, "
            "kubernetes, a TOML file, or an address such as tcp://host:8786"
        ) from error
    with client:
        yield client


async def _ask(address: str, timeout_s: float, security: Security | None) -> None:
    """Connect to a scheduler and hang up."""
    arguments = (security or Security()).get_connection_args("client")
    comm = await connect(address, timeout=timeout_s, **arguments)
    await comm.close()


def _security(config: ClusterConfig) -> Security | None:
    if config.certificates is None:
        return None
    from lensweep.deploy.tls import read_certificates

    return read_certificates(Path(config.certificates))


def _address_in(path: Path, timeout_s: float) -> str:
    """The address in a scheduler file, which may be about to be written."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return str(json.loads(path.read_text())["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > deadline:
                raise NoSchedulerError(
                    f"cluster {path}: no scheduler file ({error}); start `dask scheduler "
                    f"--scheduler-file {path}`, or name another"
                ) from error
        time.sleep(0.2)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ClusterError(f"cluster {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # TOML's grammar, or bytes that are no text
        raise ClusterError(f"cluster {path}: not TOML ({error})") from error
    known = {field.name for field in dataclasses.fields(ClusterConfig)}
    if unknown := sorted(set(values) - known):
        raise ClusterError(
            f"cluster {path}: unknown keys {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )
    if "kind" not in values:
        raise ClusterError(f"cluster {path}: no kind; say kind = \"slurm\" or the like")
    return {key: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()}  # fmt: skip
