"""Where a command is to run: the kinds of cluster, and what each takes; checked once."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lensweep.ground.errors import InputError, TryAgainError

# What a worker may be given: resources of Dask, one of each per worker process. A worker that
# declares both does both, one task at a time, since it has one thread.
CUT, SCORE = "CUT", "SCORE"
# How long a scheduler that has answered once may be gone before the run ends: a pod takes a
# minute to be started anew.
RECONNECT_S = 300.0


class ClusterError(InputError):
    """The cluster that was asked for cannot be had."""


class NoSchedulerError(ClusterError, TryAgainError):
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
        For a running scheduler: folder with the files of `lensweep.deploy.tls`; by default what
        Dask's own configuration names.
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
