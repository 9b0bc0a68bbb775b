"""The job scripts of a scan on SLURM, from the templates in `deploy/slurm`."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lensweep.deploy.environment import worker_environment
from lensweep.deploy.job_record import SubmissionError

TEMPLATES = Path(__file__).parent
DRIVER = "driver.sh"
# A driver whose workers are elsewhere waits, and ranks what they found.
DRIVER_ONLY = ("--cpus-per-task=1", "--mem=4G")
_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclass(frozen=True)
class SlurmOptions:
    """What a scan asks of SLURM; what is None is left to the cluster's own default.

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

    def __post_init__(self) -> None:
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


def slurm_scripts(
    folder: Path, tls: Path, options: SlurmOptions, workers: int | None
) -> dict[str, str]:
    """Write out, as text, the job scripts of a scan.

    Parameters
    ----------
    folder : Path
        The run's job folder, which holds `scan.toml` (`scan-0.toml`, … for an array).
    tls : Path
        Folder of the certificates by which a driver and its workers know each other.
    options : SlurmOptions
    workers : int or None
        Processes of a driver that works alone; None is one per core.

    Returns
    -------
    dict of str to str
        Text by file name: the driver's first, then those of the workers.
    """
    alone, several = not options.has_workers, options.tasks > 1
    own = [*_node(options, options.gpus)] if alone else list(DRIVER_ONLY)
    if several:
        own.append(f"--array=0-{options.tasks - 1}")
    kind = ("cuda" if options.gpus else "local") if alone else "workers"
    tls_lines = [] if alone else _tls_lines(tls)
    common = {"job": str(folder)}
    scripts = {
        DRIVER: _fill(
            "driver.sh", options, [*own, f"--output={folder / driver_log(options, '%j')}"],
            [*_shell(common | {"cluster_kind": kind, "workers": str(workers or "")}), *tls_lines],
        )
    }  # fmt: skip
    # Those with a GPU only score, if there are others to cut.
    cpu_does = "CUT=1" if options.gpu_nodes else "CUT=1,SCORE=1"
    for name, jobs, gpus, does in (
        ("worker", options.nodes, 0, cpu_does),
        ("gpu-worker", options.gpu_nodes, options.gpus, "SCORE=1"),
    ):
        if jobs:
            output = f"--output={folder / name}-%A_%a.log"
            settings = common | {"gpus": str(gpus), "resources": does}
            scripts[f"{name}.sh"] = _fill(
                "worker.sh", options, [*_node(options, gpus), f"--array=1-{jobs}", output],
                [*_shell(settings), *_exports(worker_environment()), *tls_lines],
            )  # fmt: skip
    return scripts


def _node(options: SlurmOptions, gpus: int) -> list[str]:
    """What a job asks for that cuts and scores."""
    asked = {"--cpus-per-task": options.cores, "--mem": options.memory,
             "--gpus-per-node": gpus or None}  # fmt: skip
    return [f"{key}={value}" for key, value in asked.items() if value is not None]


def driver_log(options: SlurmOptions, job_id: str) -> str:
    """Name of the driver's log; of an array, SLURM's pattern."""
    return "driver-%A_%a.log" if options.tasks > 1 else f"driver-{job_id}.log"


def _shell(settings: Mapping[str, str]) -> list[str]:
    return [f"{key}={shlex.quote(value)}" for key, value in settings.items()]


def _exports(variables: Mapping[str, str]) -> list[str]:
    return [f"export {line}" for line in _shell(variables)]


def _tls_lines(tls: Path) -> list[str]:
    """What makes all of Dask's processes use the certificates, by Dask's own configuration."""
    from lensweep.deploy.tls import CERTIFICATE, KEY

    prefix, certificate, key = "DASK_DISTRIBUTED__COMM__", str(tls / CERTIFICATE), str(tls / KEY)
    settings = {"REQUIRE_ENCRYPTION": "True", "TLS__CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"TLS__{role}__CERT": certificate, f"TLS__{role}__KEY": key}
    return _exports({f"{prefix}{key}": value for key, value in settings.items()})


def _fill(
    template: str, options: SlurmOptions, directives: Sequence[str], shell: Sequence[str]
) -> str:
    """A template with its two marked lines replaced."""
    on_gpus = any(directive.startswith("--gpus") for directive in directives)
    partition = options.gpu_partition if on_gpus else None
    common = {"--partition": partition or options.partition, "--account": options.account,
              "--time": options.time}  # fmt: skip
    asked = [f"{key}={value}" for key, value in common.items() if value is not None]
    lines = [f"#SBATCH {line}" for line in (*asked, *directives, *options.directives)]
    python = _shell({"python": sys.executable})
    text = (TEMPLATES / template).read_text()
    text = text.replace("@directives", "\n".join(lines))
    return text.replace("@settings", "\n".join([*python, *shell, *options.setup]))
