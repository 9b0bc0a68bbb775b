"""Where a command is to run: the kinds of cluster, and what each takes; checked once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.settings import check_types, fill, parse_toml, refuse_unknown, within

# What a worker may be given: resources of Dask, one of each per thread. A worker that declares
# both does both, one task at a time, since it has one thread.
CUT, SCORE = "CUT", "SCORE"
# A process with a GPU has so many threads, each at a shard: while the device computes, others are
# read and written. Writing takes twice as long as a fast GPU's computing; each shard takes 60 MB.
SHARDS_AT_ONCE = 8
# How long a scheduler that has answered once may be gone before the run ends: a pod takes a
# minute to be started anew.
RECONNECT_S = 300.0
CHOICES = "local, cuda, slurm, kubernetes, a TOML file, or an address such as tcp://host:8786"


class ClusterError(InputError):
    """The cluster that was asked for cannot be had."""


class NoSchedulerError(ClusterError, TryAgainError):
    """Nobody answers where a scheduler should be; there may be one later."""


@dataclass(frozen=True)
class ClusterConfig:
    """A cluster of this machine, or a running one; a TOML file has the same keys.

    Attributes
    ----------
    kind : str
        `local`, `cuda`, the address of a running scheduler (`tcp://host:8786`, or `tls://` with
        certificates), or `scheduler-file:PATH`.
    workers : int or None
        Processes that a local cluster starts, or a `cuda` one beside those of its GPUs; by default
        one per core.
    threads : int
        Threads of the numerical libraries in each worker process: how many, not on which cores.
    tls : bool
        Encrypt what Dask's processes say to each other, and refuse who has no certificate.
    certificates : str or None
        For a running scheduler: folder with the files of `lensweep.deploy.tls`; by default what
        Dask's own configuration names.
    listen : str
        Address that the processes of a local cluster listen on.
    dashboard : str
        Address that the scheduler's dashboard listens on, `host:port`.
    """

    kind: str = "local"
    workers: int | None = None
    threads: int = 1
    tls: bool = False
    certificates: str | None = None
    listen: str = "127.0.0.1"
    dashboard: str = "127.0.0.1:0"

    def __post_init__(self) -> None:
        check_types(self)
        within("threads", self.threads, 1, 1024)
        if self.workers is not None:
            within("workers", self.workers, 0, 4096)
        # An address has a port; a scheduler's own file may be named without its prefix.
        elsewhere = ":" in self.kind or self.kind.endswith(".json")
        if self.kind not in ("local", "cuda") and not elsewhere:
            raise ClusterError(f"cluster {self.kind}: there is no such kind; give {CHOICES}")


Cluster = ClusterConfig | SlurmOptions | KubernetesOptions
_KINDS: dict[str, type[SlurmOptions] | type[KubernetesOptions]] = {
    "slurm": SlurmOptions, "kubernetes": KubernetesOptions,
}  # fmt: skip


def read_cluster(cluster: str, workers: int | None = None, tls: bool = False) -> Cluster:
    """What a `--cluster` stands for: a kind, an address, or a TOML file that says `kind`.

    Parameters
    ----------
    cluster : str
        The keys of a file are the fields of `SlurmOptions`, `KubernetesOptions`, or else
        `ClusterConfig`.
    workers : int, optional
        Processes of a local cluster; wins over the file's.
    tls : bool
        Encrypt, as if the file said so; `slurm` always does.

    Raises
    ------
    ClusterError
        If a file does not say the kind, or the kind cannot encrypt.
    InputError
        If the file cannot be read, or anything in it is unfit.
    """
    where = f"cluster {cluster}"
    values: dict[str, Any] = {"kind": cluster}
    if cluster.endswith(".toml"):
        values = parse_toml(Path(cluster), "cluster")
    kind = values.get("kind")
    if kind is None:
        raise ClusterError(f'{where}: no kind; say kind = "slurm" or the like')
    if kind not in _KINDS:
        given = {"workers": workers, "tls": tls or None}
        values |= {key: value for key, value in given.items() if value is not None}
        refuse_unknown(values, ClusterConfig, where)
        return fill(ClusterConfig, values, where)
    if kind == "kubernetes" and tls:
        raise ClusterError(
            "cluster kubernetes: Dask's operator connects without TLS; keep others out by a "
            "NetworkPolicy (deploy/kubernetes), or encrypt between nodes"
        )
    del values["kind"]
    refuse_unknown(values, _KINDS[kind], where)
    return fill(_KINDS[kind], values, where)
