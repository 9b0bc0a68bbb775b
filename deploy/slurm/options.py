"""What a scan asks of SLURM, checked before anything is asked."""

import re
from dataclasses import dataclass

from lensweep.deploy.job_record import SubmissionError
from lensweep.ground.settings import check_types

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclass(frozen=True)
class SlurmOptions:
    """What a scan asks of SLURM; what is None is left to the cluster's own default.

    `lensweep submit` has an option for each; a TOML file for `--cluster` has the same keys.

    Attributes
    ----------
    partition, gpu_partition, account : str or None
    time : str or None
        Limit of one stretch, as SLURM writes it (`2-00:00:00`); a scan that needs longer stands
        in the queue again by itself.
    cores : int or None
        Of every node that works: one worker process each.
    memory : str or None
        Of every node that works, as SLURM writes it (`64G`).
    gpus : int
        Of every node that works with GPUs.
    nodes, gpu_nodes : int
        Jobs of workers without and with GPUs. With none of either, the scan is one job on one
        node, GPUs and all.
    tasks : int
        Runs that the mosaics are dealt out to, as an array of jobs; 1 is no array.
    directives : tuple of str
        More options of sbatch, such as `--qos=long`.
    setup : tuple of str
        Lines of shell to begin with, such as `module load cuda`.
    interface : str or None
        Network interface between the nodes, such as `ib0`.
    """

    partition: str | None = None
    gpu_partition: str | None = None
    account: str | None = None
    time: str | None = None
    cores: int | None = None
    memory: str | None = None
    gpus: int = 0
    nodes: int = 0
    gpu_nodes: int = 0
    tasks: int = 1
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    interface: str | None = None

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
