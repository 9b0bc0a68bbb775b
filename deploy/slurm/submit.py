"""Hand a scan to SLURM, ask for it, and cancel it: sbatch, squeue, scancel."""

import shutil
import subprocess
from pathlib import Path

from lensweep.deploy.job_record import Job, JobState, SubmissionError
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.deploy.slurm.scripts import DRIVER, SCHEDULER_FILE, driver_log, slurm_scripts

# Long enough for a controller that is busy, short enough for a person who waits.
TIMEOUT_S = 60.0
WORKERS = "workers"
_ALIVE = frozenset({
    "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
    "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "PREEMPTED", "SPECIAL_EXIT",
})  # fmt: skip


def submit_slurm(folder: Path, tls: Path, options: SlurmOptions, workers: int | None) -> Job:
    """Hand a scan to SLURM, and return at once.

    Parameters
    ----------
    folder, tls, options, workers
        As of `slurm_scripts`.

    Raises
    ------
    SubmissionError
        If SLURM is not here or refuses; then nothing is left with it.
    """
    scripts = slurm_scripts(folder, tls, options, workers)
    (folder / WORKERS).unlink(missing_ok=True)
    (folder / SCHEDULER_FILE).unlink(missing_ok=True)
    if options.has_workers:
        from lensweep.deploy.tls import make_certificates

        make_certificates(tls)
    (folder / DRIVER).write_text(scripts.pop(DRIVER))
    driver = _sbatch(str(folder / DRIVER))
    try:
        helpers = submit_workers(folder, scripts, driver)
        if helpers:
            # The driver ends them with itself.
            (folder / WORKERS).write_text("\n".join(helpers) + "\n")
    except (SubmissionError, OSError):
        scancel(driver)
        raise
    return Job("slurm", driver, helpers, log=str(folder / driver_log(options, driver)))


def submit_workers(folder: Path, scripts: dict[str, str], driver: str) -> tuple[str, ...]:
    """Hand worker jobs to SLURM: all of them, or none.

    Parameters
    ----------
    folder : Path
        Where the scripts are kept.
    scripts : dict of str to str
        As of `worker_scripts`.
    driver : str
        Id of the job that they work for; empty if it is no job.

    Returns
    -------
    tuple of str
        Their ids.

    Raises
    ------
    SubmissionError
        If SLURM is not here or refuses.
    """
    after = [f"--dependency=after:{driver}"] if driver else []
    ids: list[str] = []
    try:
        for name, text in scripts.items():
            (folder / name).write_text(text)
            ids.append(_sbatch(*after, str(folder / name), driver))
    except (SubmissionError, OSError):
        scancel(*ids)
        raise
    return tuple(ids)


def scancel(*ids: str) -> subprocess.CompletedProcess[str] | None:
    """Cancel jobs, if there are any."""
    return _run("scancel", *ids) if ids else None


def slurm_state(job: Job) -> JobState:
    """Ask SLURM where a job stands: squeue, or for one that ended long ago, sacct.

    Raises
    ------
    SubmissionError
        If SLURM cannot be asked here.
    """
    asked = _run("squeue", "--noheader", "--states=all", f"--jobs={job.driver}", "--format=%T|%R")
    lines = sorted({line.strip() for line in asked.stdout.splitlines() if line.strip()})
    if asked.returncode and "Invalid job id" not in asked.stderr:
        raise SubmissionError(f"squeue: {asked.stderr.strip()}")
    if not lines:
        # A cluster without accounting has forgotten it.
        lines = _accounted(job.driver)
    if not lines:
        return JobState(False, "no longer known to SLURM")
    alive = any(line.split("|")[0] in _ALIVE for line in lines)
    words = (" ".join(part for part in line.split("|") if part) for line in lines)
    return JobState(alive, ", ".join(words))


def cancel_slurm(job: Job) -> None:
    """Cancel a job, and the workers that work for it.

    Raises
    ------
    SubmissionError
        If SLURM cannot be asked here, or refuses.
    """
    cancelled = scancel(job.driver, *job.workers)
    if cancelled and cancelled.returncode and "Invalid job id" not in cancelled.stderr:
        raise SubmissionError(f"scancel: {cancelled.stderr.strip()}")


def _accounted(job_id: str) -> list[str]:
    if shutil.which("sacct") is None:
        return []
    asked = _run("sacct", f"--jobs={job_id}", "--allocations", "--noheader", "--parsable2",
                 "--format=State")  # fmt: skip
    return sorted(set(asked.stdout.split("\n")) - {""}) if asked.returncode == 0 else []


def _sbatch(*arguments: str) -> str:
    """Submit a script; its job's id."""
    ran = _run("sbatch", "--parsable", *arguments)
    if ran.returncode:
        raise SubmissionError(f"sbatch: {ran.stderr.strip()}")
    # With several clusters: id;cluster.
    return ran.stdout.strip().split(";")[0]


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise SubmissionError(
            f"no {program} here: give the command where SLURM's commands are, on a login node"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SubmissionError(f"{program}: no answer within {TIMEOUT_S:g} s; try again") from error
