"""Where a submitted scan stands, and its end; quick to import."""

from pathlib import Path

from lensweep.deploy.job_record import SubmissionError, read_job
from lensweep.deploy.submit import cancel, job_state
from lensweep.ground.errors import InputError
from lensweep.ground.kept_progress import read_kept, show_kept
from lensweep.ground.terminal import plain_console
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.status import Status, read_status, show_status
from lensweep.scanner.run.tally import Tally


def task_folders(root: Path, n: int) -> list[Path]:
    """The folders of the runs that an array of `n` tasks makes."""
    return [root / f"{number:04d}" for number in range(n)]


def runs_in(root: Path) -> list[Path]:
    """The run's folder itself, or those of the array that was submitted for it."""
    n = len(list(RunPaths(root).job.glob("scan-*.toml")))
    return task_folders(root, n) if n else [root]


def show_submitted(root: Path) -> None:
    """Print where a run stands, and what its cluster says of its job, if it was submitted.

    And how far the commands are that plant lenses in it, or learn from its grades.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    _show_run(root)
    for folder in (RunPaths(root).completeness, RunPaths(root).learned):
        kept = read_kept(folder)
        if kept is not None and kept.ended is None:
            show_kept(kept)


def show_folder(folder: Path) -> None:
    """Print where whatever works in a folder stands: a scan, or any other long command.

    Raises
    ------
    InputError
        If the folder is that of none.
    """
    kept = read_kept(folder)
    if kept is not None and not RunPaths(folder).run.is_file():
        show_kept(kept)
    else:
        show_submitted(folder)


def _show_run(root: Path) -> None:
    console = plain_console()
    said = describe_job(root)
    if said is not None:
        console.print(f"job       {said}")
    runs = runs_in(root)
    if runs == [root]:
        show_status(root)
        return
    total, finished = Tally(), 0
    for run in runs:
        status = read_status(run)
        total, finished = total + status.tally, finished + status.finished
        console.print(f"{run.name:9s} {_line(status)}")
    console.print(
        f"all       {finished} of {len(runs)} runs finished, "
        f"{total.done:,} of {total.planned:,} windows planned so far"
    )


def describe_job(root: Path) -> str | None:
    """What the cluster says of a run's job; None if the run was not submitted."""
    job = read_job(RunPaths(root).job)
    if job is None:
        return None
    try:
        words = job_state(job).words
    except SubmissionError as error:
        words = f"cannot be asked here ({error})"
    return f"{job.cluster} {job.driver}: {words}; log: {job.log}"


def cancel_run(root: Path) -> str:
    """Cancel a run's job; what to tell the user.

    Raises
    ------
    InputError
        If there is no such folder.
    deploy.job_record.SubmissionError
        If the run was not submitted, or its cluster cannot be asked from here.
    """
    if not root.is_dir():
        raise InputError(f"run {root}: no such folder; name the --out of the scan")
    job = cancel(RunPaths(root).job)
    return (
        f"cancelled {job.cluster} {job.driver}; what is done stays done: submit again to continue"
    )


def _line(status: Status) -> str:
    tally = status.tally
    done = f"{tally.done:,} of {tally.planned:,} windows"
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    unfit = f", {len(status.failed_mosaics)} mosaics failed" if status.failed_mosaics else ""
    return f"{done}{failed}{unfit}{', finished' if status.finished else ''}"
