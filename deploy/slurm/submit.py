"""Hand a scan to SLURM, ask for it, and cancel it: sbatch, squeue, scancel."""

import shutil
import subprocess
from pathlib import Path

from lensweep.deploy.job_record import Job, JobState, SubmissionError
from lensweep.deploy.slurm.scripts import SlurmOptions, driver_log, slurm_scripts

# Long enough for a controller that is busy, short enough for a person who waits.
TIMEOUT_S = 60.0
_ALIVE = frozenset({
    "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
    "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "PREEMPTED", "SPECIAL_EXIT",
})  # fmt: skip


def submit_slurm(
    folder: Path, tls: Path, options: SlurmOptions, workers: int | None
) -> Job:
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
    for name, text in scripts.items():
        (folder / name).write_text(text)
    (folder / "workers").unlink(missing_ok=True)
    (folder / "scheduler.json").unlink(missing_ok=True)
    if options.has_workers:
        from lensweep.deploy.tls import make_certificates

        make_certificates(tls)
    driver, *helpers = scripts
    submitted = [_sbatch(str(folder / driver))]
    try:
        for name in helpers:
            after = f"--dependency=after:{submitted[0]}"
            submitted.append(_sbatch(after, str(folder / name), submitted[0]))
        if helpers:
            # The driver ends them with itself.
            (folder / "workers").write_text("\n".join(submitted[1:]) + "\n")
    except (SubmissionError, OSError):
        _run("scancel", *submitted)
        raise
    log = str(folder / driver_log(options, submitted[0]))
    return Job("slurm", submitted[0], tuple(submitted[1:]), log=log)


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
    cancelled = _run("scancel", job.driver, *job.workers)
    if cancelled.returncode and "Invalid job id" not in cancelled.stderr:
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
