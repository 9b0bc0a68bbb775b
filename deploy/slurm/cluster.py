"""A cluster of SLURM jobs: those of one kind cut, those of the other score."""

import copy
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from lensweep.deploy.config import SCORE, ClusterConfig, ClusterError
from lensweep.deploy.environment import DASK_SETTINGS, worker_environment

# How often jobs that have ended are submitted again.
UPKEEP_S = 30.0
# A controller that takes longer to say which jobs there are is asked again the next time.
SQUEUE_TIMEOUT_S = 20.0
# A worker leaves by itself so long before its job would be ended, and not all at once.
LEAVE_EARLY_S, STAGGER_S = 120, 60


@contextmanager
def open_jobs(config: ClusterConfig, folder: Path | None) -> Iterator[Client]:
    """A scheduler in this process, and workers in jobs that are kept up until the block ends.

    Parameters
    ----------
    config : ClusterConfig
    folder : Path or None
        On a file system that the nodes share: its `tls` takes the certificates, without which
        anyone on the network could give the workers work.

    Raises
    ------
    ClusterError
        If dask-jobqueue or SLURM's commands are not installed, the jobs are not fully described,
        there is no folder, or SLURM refuses the jobs.
    """
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "cluster slurm: no job could be submitted: there is no sbatch here; give the command "
            "on a login node of the cluster"
        )
    with dask.config.set(DASK_SETTINGS), closing(make_cluster(config, folder)) as cluster:
        try:
            cluster.sync(cluster._correct_state)
        except (OSError, RuntimeError) as error:
            # Jobs that never were cannot be closed; the cluster would stumble over them.
            cluster._created.clear()
            cluster.worker_spec.clear()
            raise ClusterError(f"cluster slurm: no job could be submitted: {error}") from error
        with Client(cluster) as client, _kept_up(cluster):
            yield client


@contextmanager
def _kept_up(cluster: Any) -> Iterator[None]:
    """Submit jobs again that have ended, whatever ended them."""
    over = threading.Event()

    def keep_up() -> None:
        while not over.wait(UPKEEP_S):
            submitted = dict(cluster.workers)
            alive = _alive_jobs()
            if alive is not None:
                gone = [name for name, job in submitted.items() if job.job_id not in alive]
                cluster.loop.add_callback(_submit_again, cluster, gone)

    thread = threading.Thread(target=keep_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _alive_jobs() -> set[str] | None:
    """Ids of this user's jobs that have not ended; None if SLURM does not say."""
    try:
        listed = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%A"], capture_output=True, text=True,
            check=False, timeout=SQUEUE_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    # Finished jobs are not listed.
    return set(listed.stdout.split()) if listed.returncode == 0 else None


def _submit_again(cluster: Any, gone: list[str]) -> None:
    for name in gone:
        cluster.workers.pop(name, None)
    # No more and no fewer than planned: what is planned and not there is submitted. Counted in
    # jobs: `scale(n)` counts workers, of which a CPU job has several.
    cluster.scale(jobs=len(cluster.worker_spec))


def make_cluster(config: ClusterConfig, folder: Path | None) -> Any:
    """A `dask_jobqueue.SLURMCluster` with the jobs of both kinds planned, none submitted.

    It has one kind of job by itself; the other joins its plan, `worker_spec`, as Dask's
    `SpecCluster` allows, and so the same scheduler.
    """
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise ClusterError(
            "cluster slurm: dask-jobqueue is not installed; `pip install 'lensweep[slurm]'`"
        ) from error
    cores = config.cores or dask.config.get("jobqueue.slurm.cores", None)
    memory = config.memory or dask.config.get("jobqueue.slurm.memory", None)
    if not cores or not memory:
        raise ClusterError(
            f"cluster slurm: cores = {cores}, memory = {memory} of a job; give --cluster a TOML "
            'file such as: kind = "slurm", cores = 8, memory = "16GiB", walltime = "04:00:00"'
        )
    cpu = _job(config, cores, memory, cores, config.partition, config.options)
    cpu["worker_extra_args"] += _resources(config.cpu_resources)
    cluster = SLURMCluster(
        **cpu,
        interface=config.interface,
        scheduler_options={"dashboard_address": config.dashboard},
        silence_logs="CRITICAL",
        security=_certificates(folder),
        protocol="tls://",
    )
    kind = cluster.new_spec
    gpu = _job(
        config, config.gpu_cores or cores, config.gpu_memory or memory, 1,
        config.gpu_partition or config.partition, config.options + config.gpu_options,
    )  # fmt: skip
    gpu["worker_extra_args"] += _resources({SCORE: 1})
    gpu_kind = {"cls": kind["cls"], "options": {**kind["options"], **gpu}}
    cluster.worker_spec |= {f"cpu-{n}": copy.deepcopy(kind) for n in range(config.cpu_jobs)}
    cluster.worker_spec |= {f"gpu-{n}": copy.deepcopy(gpu_kind) for n in range(config.gpu_jobs)}
    return cluster


def _job(
    config: ClusterConfig,
    cores: int,
    memory: str,
    processes: int,
    partition: str | None,
    options: tuple[str, ...],
) -> dict[str, Any]:
    """What dask-jobqueue takes for one kind of job."""
    environment = worker_environment(config.threads)
    exports = [f"export {key}={value}" for key, value in environment.items()]
    walltime = config.walltime or dask.config.get("jobqueue.slurm.walltime", None)
    return {
        "cores": cores,
        "processes": processes,
        "memory": memory,
        "queue": partition,
        "account": config.account,
        "walltime": walltime,
        "job_extra_directives": list(options),
        "job_script_prologue": [*config.prologue, *exports],
        "job_name": "lensweep-worker",
        "log_directory": config.log_folder,
        # One thread a process, however many cores: numerical libraries have theirs.
        "worker_extra_args": ["--nthreads", "1", "--dashboard-address", "127.0.0.1:0",
                              *_lifetime(walltime)],
    }  # fmt: skip


def _resources(resources: dict[str, float]) -> list[str]:
    return ["--resources", ",".join(f"{name}={number:g}" for name, number in resources.items())]


def _lifetime(walltime: str | None) -> list[str]:
    """A worker hands its work back before its job is ended."""
    seconds = walltime_s(walltime) if walltime else None
    if seconds is None or seconds < 4 * LEAVE_EARLY_S:
        return []
    return ["--lifetime", f"{seconds - LEAVE_EARLY_S}s", "--lifetime-stagger", f"{STAGGER_S}s"]


def walltime_s(walltime: str) -> int | None:
    """Seconds of a SLURM time limit (sbatch(1), `--time`), or None if it has none.

    Raises
    ------
    ClusterError
        If it is no time limit.
    """
    if walltime.upper() in ("INFINITE", "UNLIMITED", "0"):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime)
    if not found:
        raise ClusterError(f"cluster slurm: walltime = {walltime}: give it as 04:00:00 or 1-00:00")
    days, *parts = (None if part is None else int(part) for part in found.groups())
    given = [part for part in parts if part is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*given, 0, 0)[:3]
    elif len(given) == 3:
        hours, minutes, seconds = given
    else:  # minutes[:seconds]
        hours, minutes, seconds = 0, *(*given, 0)[:2]
    return (((days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _certificates(folder: Path | None) -> Security:
    """Certificates that all nodes can read: a scheduler in the open takes work from anyone."""
    from lensweep.deploy.tls import make_certificates

    if folder is None:
        raise ClusterError(
            "cluster slurm: the certificates of its processes need a folder that all nodes see; "
            "name an --out on storage that they share, or start a scheduler and workers of your "
            "own (`lensweep certificates FOLDER`) and give --cluster their address"
        )
    return make_certificates(folder.absolute() / "tls")
