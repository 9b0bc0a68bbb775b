"""The record of what was handed to a cluster: one small file, written by `submit`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from lensweep.ground.errors import InputError

_RECORD = "job.json"


class SubmissionError(InputError):
    """What was asked of a cluster cannot be done; the message says how to mend it."""


@dataclass(frozen=True)
class Job:
    """What was submitted.

    Attributes
    ----------
    cluster : str
        `slurm` or `kubernetes`.
    driver : str
        Id of the SLURM job, or name of the Kubernetes Job, that conducts the scan.
    workers : tuple of str
        Ids or names of what works for the driver; empty if it works alone.
    place : str
        The Kubernetes namespace; empty for SLURM.
    log : str
        Where to read what the driver says: a file (with SLURM's patterns, for an array), or a
        command.
    """

    cluster: str
    driver: str
    workers: tuple[str, ...] = ()
    place: str = ""
    log: str = ""


@dataclass(frozen=True)
class JobState:
    """What a cluster says of a job.

    Attributes
    ----------
    alive : bool
        It runs, or waits for its turn.
    words : str
        The state in the cluster's own words.
    """

    alive: bool
    words: str


def write_job(folder: Path, job: Job) -> None:
    """Leave the record in a run's job folder: whole, or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{_RECORD}.partial"
    partial.write_text(json.dumps(dataclasses.asdict(job), indent=1))
    partial.replace(folder / _RECORD)


def read_job(folder: Path) -> Job | None:
    """Read the record of a run's job folder; None if nothing was submitted from there."""
    path = folder / _RECORD
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    return Job(**found | {"workers": tuple(found["workers"])})
