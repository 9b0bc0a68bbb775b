"""SLURM jobs that work for a scan where it was typed: those of one kind cut, of the other score.

The scheduler is in this process; the jobs are those that `lensweep submit` has for its driver.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.security import Security
from distributed.utils import get_ip

from lensweep.deploy.config import ClusterError
from lensweep.deploy.environment import DASK_SETTINGS
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.deploy.slurm.scripts import SCHEDULER_FILE, worker_scripts
from lensweep.deploy.slurm.submit import scancel, submit_workers
from lensweep.deploy.tls import make_certificates

# How often the scheduler's file is renewed: workers leave if it was not for ten minutes.
RENEW_S = 60.0


@contextmanager
def open_jobs(options: SlurmOptions, folder: Path | None) -> Iterator[Client]:
    """A scheduler in this process, and worker jobs that end with the block.

    SLURM queues a job again whose node is lost, and a job whose time is nearly up queues again by
    itself.

    Parameters
    ----------
    options : SlurmOptions
    folder : Path or None
        On a file system that the nodes share: its `tls` takes the certificates, without which
        anyone on the network could give the workers work, its `job` the scripts and logs.

    Raises
    ------
    ClusterError
        If no node is to work, or there is no folder.
    SubmissionError
        If SLURM is not here or refuses the jobs; then nothing is left with it.
    """
    _refuse_idle(options)
    job, tls = _shared(folder)
    security = make_certificates(tls)
    job.mkdir(parents=True, exist_ok=True)
    with (
        dask.config.set(DASK_SETTINGS),
        _scheduler(options, security) as scheduler,
        Client(scheduler) as client,
    ):
        file = job / SCHEDULER_FILE
        client.write_scheduler_file(str(file))
        try:
            with _submitted(job, worker_scripts(job, tls, options)), _renewed(file):
                yield client
        finally:
            file.unlink(missing_ok=True)


def _refuse_idle(options: SlurmOptions) -> None:
    if not options.has_workers:
        raise ClusterError(
            "cluster slurm: nodes = 0, but nodes have to work for a scan that runs here; give "
            '--cluster a TOML file such as: kind = "slurm", nodes = 4, cores = 8, memory = "16G", '
            'time = "04:00:00"'
        )
    if options.tasks > 1:
        raise ClusterError(
            f"cluster slurm: tasks = {options.tasks}: only `lensweep submit` deals mosaics out"
        )


def _shared(folder: Path | None) -> tuple[Path, Path]:
    """Folders that all nodes can read: a scheduler in the open takes work from anyone."""
    if folder is None:
        raise ClusterError(
            "cluster slurm: the certificates of its processes need a folder that all nodes see; "
            "name an --out on storage that they share, or start a scheduler and workers of your "
            "own (`lensweep certificates FOLDER`) and give --cluster their address"
        )
    return folder.absolute() / "job", folder.absolute() / "tls"


def _scheduler(options: SlurmOptions, security: Security) -> LocalCluster:
    where = {"interface": options.interface} if options.interface else {"host": get_ip()}
    return LocalCluster(
        n_workers=0, protocol="tls://", security=security, dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL", **where,
    )  # fmt: skip


@contextmanager
def _submitted(job: Path, scripts: dict[str, str]) -> Iterator[None]:
    ids = submit_workers(job, scripts, driver="")
    try:
        yield
    finally:
        scancel(*ids)


@contextmanager
def _renewed(file: Path) -> Iterator[None]:
    """Say now and then, by the file's date, that the scheduler is still there."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW_S):
            os.utime(file)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
