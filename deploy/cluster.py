"""Open the Dask cluster that a command runs on: the one place where that is done."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import dask
from distributed import Client, get_worker
from distributed.comm.core import connect
from distributed.security import Security

from lensweep.deploy.config import (
    CHOICES,
    RECONNECT_S,
    Cluster,
    ClusterConfig,
    ClusterError,
    NoSchedulerError,
    read_cluster,
)
from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.slurm.options import SlurmOptions

SCHEDULER_FILE = "scheduler-file:"


def this_worker() -> str:
    """The address of the worker that a task runs on; only within a task."""
    return str(get_worker().address)


@contextmanager
def open_client(
    cluster: str | Cluster = "local",
    workers: int | None = None,
    timeout_s: float = 10.0,
    tls: bool = False,
    folder: Path | None = None,
    begin_with: int | None = None,
    tell: Callable[[str], object] | None = None,
    imports: Sequence[str] = (),
) -> Iterator[Client]:
    """Open a client of a cluster, and close what was opened for it.

    Parameters
    ----------
    cluster : str, ClusterConfig, SlurmOptions or KubernetesOptions
        As `read_cluster` takes it.
    workers : int, optional
        Processes of a local cluster; by default one per core this process may use.
    timeout_s : float
        How long a scheduler at an address may take to answer.
    tls : bool
        Encrypt what the processes say to each other.
    folder : Path, optional
        Where certificates are put that workers on other machines have to read.
    begin_with : int, optional
        Processes on this machine's cores before `lensweep.deploy.local.grow` asks for more.
    tell : callable, optional
        Is told where the cluster can be watched.
    imports : sequence of str
        Modules that processes on this machine's cores are going to need: imported once for all.

    Raises
    ------
    ClusterError
        If the cluster cannot be had; the message says what is missing.
    """
    config = read_cluster(cluster, workers, tls) if isinstance(cluster, str) else cluster
    with _opened(config, timeout_s, folder, begin_with, imports) as client:
        address = dashboard_of(client)
        if tell is not None and address is not None:
            tell(f"dashboard: {address}")
        yield client


def dashboard_of(client: Client) -> str | None:
    """Where a browser shows what a cluster is doing; None without bokeh, which draws it."""
    return client.dashboard_link if find_spec("bokeh") is not None else None


def _opened(
    config: Cluster,
    timeout_s: float,
    folder: Path | None,
    begin_with: int | None,
    imports: Sequence[str],
) -> AbstractContextManager[Client]:
    # Each kind needs packages that the others do not.
    if isinstance(config, SlurmOptions):
        from lensweep.deploy.slurm.cluster import open_jobs

        return open_jobs(config, folder)
    if isinstance(config, KubernetesOptions):
        from lensweep.deploy.kubernetes.cluster import open_pods

        return open_pods(config)
    if config.kind in ("local", "cuda"):
        _refuse_plain(config)
    if config.kind == "local":
        from lensweep.deploy.local import open_local

        return open_local(config, begin_with, imports)
    if config.kind == "cuda":
        from lensweep.deploy.local import open_cuda

        return open_cuda(config, begin_with)
    return _running(config, timeout_s)


def _refuse_plain(config: ClusterConfig) -> None:
    """Dask may be configured to refuse what is not encrypted, which is no error of its own."""
    certificate = dask.config.get("distributed.comm.tls.scheduler.cert")
    if Security().require_encryption and not config.tls and certificate is None:
        raise ClusterError(
            f"cluster {config.kind}: Dask is configured to require encryption "
            "(distributed.comm.require-encryption); give --tls, or tls = true in the TOML file of "
            "a --cluster"
        )


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
    if Security().require_encryption and not address.startswith("tls://"):
        raise ClusterError(
            f"cluster {config.kind}: Dask is configured to require encryption "
            f"(distributed.comm.require-encryption), but the scheduler at {address} does not "
            "encrypt; start it and its workers with certificates, and give a tls:// address"
        )
    security = _security(config)
    try:
        # A client that fails to connect is closed whenever it is collected, which can stop a second
        # one for good (both take one lock): so ask first.
        # In a thread of its own, since a notebook's has a loop that runs.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _ask(address, timeout_s, security)).result()
        # It is there: from now on it is waited for.
        client = Client(address, timeout=RECONNECT_S, security=security)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise NoSchedulerError(
            f"cluster {config.kind}: no scheduler answers ({error}); give {CHOICES}"
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
