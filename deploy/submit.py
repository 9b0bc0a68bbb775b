"""Hand a scan to a cluster, ask for it, and take it back: SLURM or Kubernetes."""

from pathlib import Path

from lensweep.deploy.job_record import Job, JobState, SubmissionError, read_job, write_job
from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.kubernetes.submit import (
    cancel_kubernetes,
    kubernetes_manifests,
    kubernetes_state,
    submit_kubernetes,
)
from lensweep.deploy.slurm.options import SlurmOptions
from lensweep.deploy.slurm.scripts import slurm_scripts
from lensweep.deploy.slurm.submit import cancel_slurm, slurm_state, submit_slurm

Options = SlurmOptions | KubernetesOptions


def submit(
    folder: Path, tls: Path, options: Options, workers: int | None, mounted: tuple[Path, ...] = ()
) -> Job:
    """Hand a scan to a cluster, and return at once.

    Parameters
    ----------
    folder : Path
        The run's job folder, on storage that the nodes share; holds `scan.toml` (`scan-0.toml`, …
        for an array), and gets the scripts, the logs and the record of the job.
    tls : Path
        Folder of the run's certificates.
    options : SlurmOptions or KubernetesOptions
    workers : int or None
        Processes of a driver that works alone; None is one per core.
    mounted : tuple of Path
        What the scan reads: has to lie on the volumes that the pods mount.

    Raises
    ------
    SubmissionError
        If a job of this run is alive, or the cluster cannot be asked, or refuses.
    """
    refuse_second(folder)
    if isinstance(options, SlurmOptions):
        job = submit_slurm(folder, tls, options, workers)
    else:
        job = submit_kubernetes(folder, options, workers, mounted)
    write_job(folder, job)
    return job


def what_would_be_submitted(
    folder: Path, tls: Path, options: Options, workers: int | None, mounted: tuple[Path, ...] = ()
) -> str:
    """The scripts or manifests that `submit` would hand over, as text."""
    if isinstance(options, SlurmOptions):
        scripts = slurm_scripts(folder, tls, options, workers)
        return "\n".join(f"# {folder / name}\n{text}" for name, text in scripts.items())
    return kubernetes_manifests(folder, options, workers, mounted)


def refuse_second(folder: Path) -> None:
    """Two drivers of one run would write the same files.

    Raises
    ------
    SubmissionError
        If a job of this run is alive, or its cluster cannot be asked.
    """
    job = read_job(folder)
    if job is None:
        return
    state = job_state(job)
    if state.alive:
        raise SubmissionError(
            f"run {folder.parent}: {job.cluster} job {job.driver} is {state.words}; wait for it, "
            f"or `lensweep cancel {folder.parent}` first"
        )


def job_state(job: Job) -> JobState:
    """Ask a job's cluster where it stands.

    Raises
    ------
    SubmissionError
        If the cluster cannot be asked from here.
    """
    return slurm_state(job) if job.cluster == "slurm" else kubernetes_state(job)


def cancel(folder: Path) -> Job:
    """Cancel the job of a run, and all that works for it.

    Raises
    ------
    SubmissionError
        If there is none, or its cluster cannot be asked from here.
    """
    job = read_job(folder)
    if job is None:
        raise SubmissionError(f"run {folder.parent}: was not submitted to a cluster (no {folder})")
    if job.cluster == "slurm":
        cancel_slurm(job)
    else:
        cancel_kubernetes(job)
    return job
