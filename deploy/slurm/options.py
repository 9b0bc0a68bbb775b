"""What a scan asks of SLURM, checked before anything is asked."""

import re
from dataclasses import dataclass

from lensweep.deploy.job_record import SubmissionError
from lensweep.deploy.node_options import NodeOptions
from lensweep.ground.settings import check_types, setting

SLURM = "SLURM"

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclass(frozen=True)
class SlurmOptions(NodeOptions):
    """What a scan asks of SLURM; what is None is left to the cluster's own default.

    Every field is an option of `lensweep submit`, and a key of a TOML file for `--cluster`.
    """

    tasks: int = setting(
        1, "Deal the mosaics out to so many runs, as an array of jobs.", "--array", group=SLURM
    )
    partition: str | None = setting(None, "Partition of all jobs.", group=SLURM)
    gpu_partition: str | None = setting(None, "Partition of jobs with GPUs.", group=SLURM)
    account: str | None = setting(None, "Account to be charged.", group=SLURM)
    time: str | None = setting(
        None, "Limit of one stretch, such as 1-00:00:00; a longer scan queues again.", group=SLURM
    )
    directives: tuple[str, ...] = setting(
        (), "One more option of sbatch, such as --qos=long; repeatable.", "--sbatch", group=SLURM
    )
    setup: tuple[str, ...] = setting(
        (), "A shell line to begin with, such as 'module load cuda'; repeatable.", group=SLURM
    )
    interface: str | None = setting(
        None, "Network interface between the nodes, such as ib0.", group=SLURM
    )

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("cores", 1), ("gpus", 0), ("nodes", 0), ("gpu_nodes", 0),
                            ("tasks", 1)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < least:
                raise SubmissionError(f"{name} = {value}: must be {least} or more")
        for name, pattern, example in (
            ("time", _TIME, "12:00:00 or 2-00:00:00"), ("memory", _MEMORY, "64G"),
        ):  # fmt: skip
            text = getattr(self, name)
            if text is not None and not pattern.fullmatch(text):
                raise SubmissionError(f"{name} = {text}: write it as SLURM does, such as {example}")
        if self.gpu_nodes and not self.gpus:
            raise SubmissionError(
                f"gpu_nodes = {self.gpu_nodes}, gpus = 0: say how many GPUs a node has"
            )
        if self.gpu_nodes and not self.nodes:
            raise SubmissionError(
                f"gpu_nodes = {self.gpu_nodes}, nodes = 0: workers with GPUs only score; give at "
                "least 1 node to cut"
            )
        if self.gpus and self.nodes and not self.gpu_nodes:
            raise SubmissionError(
                f"gpus = {self.gpus}, gpu_nodes = 0: say how many nodes work with GPUs"
            )
        if self.tasks > 1 and self.has_workers:
            raise SubmissionError(
                f"array of {self.tasks} with nodes of workers: choose one; tasks of an array work "
                "alone, each on a node"
            )
        for text in (*self.directives, *self.setup):
            if "\n" in text:
                raise SubmissionError(f"{text!r}: must be one line")

    @property
    def has_workers(self) -> bool:
        """Whether other jobs than the driver's work."""
        return self.nodes > 0
