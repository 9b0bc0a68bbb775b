"""The job scripts of a scan on SLURM, from the templates in `deploy/slurm`."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lensweep.deploy.config import SHARDS_AT_ONCE
from lensweep.deploy.environment import worker_environment
from lensweep.deploy.slurm.options import SlurmOptions

TEMPLATES = Path(__file__).parent
DRIVER = "driver.sh"
SCHEDULER_FILE = "scheduler.json"
# A driver whose workers are elsewhere waits, and ranks what they found.
DRIVER_ONLY = ("--cpus-per-task=1", "--mem=4G")


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
    common = {"job": str(folder), "interface": options.interface or ""}
    scripts = {
        DRIVER: _fill(
            "driver.sh", options, [*own, f"--output={folder / driver_log(options, '%j')}"],
            [*_shell(common | {"cluster_kind": kind, "workers": str(workers or "")}), *tls_lines],
        )
    }  # fmt: skip
    return scripts | worker_scripts(folder, tls, options)


def worker_scripts(folder: Path, tls: Path, options: SlurmOptions) -> dict[str, str]:
    """The job scripts of a scan's workers, who join the scheduler of `scheduler.json`.

    Parameters
    ----------
    folder, tls, options
        As of `slurm_scripts`.

    Returns
    -------
    dict of str to str
        Text by file name; empty if the driver works alone.
    """
    scripts = {}
    # Those with a GPU only score, if there are others to cut.
    cpu_does = "CUT=1" if options.gpu_nodes else "CUT=1,SCORE=1"
    for name, jobs, gpus, does, threads in (
        ("worker", options.nodes, 0, cpu_does, 1),
        ("gpu-worker", options.gpu_nodes, options.gpus, f"SCORE={SHARDS_AT_ONCE}", SHARDS_AT_ONCE),
    ):
        if jobs:
            output = f"--output={folder / name}-%A_%a.log"
            settings = {"job": str(folder), "interface": options.interface or "",
                        "gpus": str(gpus), "resources": does, "threads": str(threads)}  # fmt: skip
            scripts[f"{name}.sh"] = _fill(
                "worker.sh", options, [*_node(options, gpus), f"--array=1-{jobs}", output],
                [*_shell(settings), *_exports(worker_environment()), *_tls_lines(tls)],
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
