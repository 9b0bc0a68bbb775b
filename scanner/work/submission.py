"""Check a scan where it is asked for, then hand it to a cluster and come back."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensweep.deploy.job_record import Job, SubmissionError
from lensweep.deploy.kubernetes.options import KubernetesOptions
from lensweep.deploy.submit import Options, refuse_second, submit, what_would_be_submitted
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.opening import no_file_at
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.sky.names import printable
from lensweep.scanner.work.submitted import task_folders

# Where a scan runs is the job's affair.
_NOT_HANDED_ON = ("cluster", "workers")


def submit_scan(config: ScanConfig, options: Options) -> Job:
    """Refuse what cannot end well, begin the run, and hand it to a cluster.

    Parameters
    ----------
    config : ScanConfig
        Its `workers` are those of a job that works alone.
    options : SlurmOptions or KubernetesOptions

    Raises
    ------
    InputError, deploy.job_record.SubmissionError
        If a mosaic is missing, the ensemble or the folder does not fit, a job of this run is
        alive, or the cluster refuses. Then nothing was submitted.
    """
    from lensweep.scanner.run.opening import abandon

    _refuse_unencrypted(config, options)
    config = _settled(config)
    tasks = deal_out(config, getattr(options, "tasks", 1))
    paths = RunPaths.at(config.out)
    refuse_second(paths.job)
    begun = _begin(tasks)
    try:
        _write_tasks(paths.job, tasks)
        return submit(paths.job, paths.certificates, options, config.workers, _read(config))
    except SubmissionError:
        shutil.rmtree(paths.certificates, ignore_errors=True)
        if begun:
            shutil.rmtree(paths.job, ignore_errors=True)
        for new in begun:
            abandon(new)
        raise


def describe_submission(config: ScanConfig, options: Options) -> str:
    """What `submit_scan` would hand over, after the same checks of the scan; writes nothing."""
    from lensweep.scanner.network.bundle_store import check_bundle

    _refuse_unencrypted(config, options)
    config = _settled(config)
    check_bundle(config.ensemble)
    tasks = deal_out(config, getattr(options, "tasks", 1))
    paths = RunPaths.at(config.out)
    asked = what_would_be_submitted(
        paths.job, paths.certificates, options, config.workers, _read(config)
    )
    scans = (f"# {paths.job / name}\n{text}" for name, text in _files(tasks).items())
    return "\n".join([*scans, asked])


def deal_out(config: ScanConfig, n: int) -> list[ScanConfig]:
    """Deal the mosaics of a scan out to several, each with a folder of its own in `out`.

    The largest first, each to whoever has least, so that all have about as many bytes.

    Raises
    ------
    InputError
        If there are fewer mosaics than scans.
    """
    if n == 1:
        return [config]
    if len(config.mosaics) < n:
        raise InputError(f"array of {n}: only {len(config.mosaics)} mosaics to deal out")
    # Those that the job fetches are dealt out one by one.
    size = {path: 0 if is_remote(path) else Path(path).stat().st_size for path in config.mosaics}
    hands: list[list[str]] = [[] for _ in range(n)]
    for path in sorted(config.mosaics, key=lambda path: (-size[path], path)):
        least = min(hands, key=lambda hand: (sum(size[one] for one in hand), len(hand)))
        least.append(path)
    return [
        dataclasses.replace(config, mosaics=tuple(sorted(hand)), out=str(folder))
        for hand, folder in zip(hands, task_folders(Path(config.out), n), strict=True)
    ]


def _refuse_unencrypted(config: ScanConfig, options: Options) -> None:
    """A driver that is to encrypt would meet a scheduler of Dask's operator, which cannot."""
    if config.tls and isinstance(options, KubernetesOptions) and options.nodes:
        raise InputError(
            f"tls with {options.nodes} nodes on kubernetes: Dask's operator connects without TLS; "
            "leave --tls out (a NetworkPolicy keeps all but the scan's pods and the operator out), "
            "or give --nodes 0, one pod that does all"
        )


def _settled(config: ScanConfig) -> ScanConfig:
    """The scan with paths that mean the same on every node; refuse mosaics that are not there."""
    if is_remote(config.out):
        raise InputError(
            f"out {config.out}: a submitted scan keeps its scripts and certificates in its run's "
            "folder: name one on storage that all nodes see, or give `lensweep scan` in a job of "
            "your own"
        )
    here = [path for path in config.mosaics if not is_remote(path)]
    missing = [path for path in here if not is_file(path)]
    if missing:
        raise InputError("\n".join(no_file_at(path) for path in missing))
    strange = [printable(path) for path in config.mosaics if printable(path) != path]
    if strange:
        raise InputError(
            f"mosaic {strange[0]}: has bytes that are no UTF-8 text, and its job's script is text; "
            "rename it"
        )
    ensemble = config.ensemble
    if Path(ensemble).is_dir():
        ensemble = str(Path(ensemble).absolute())
    return dataclasses.replace(
        config.absolute(), out=str(Path(config.out).absolute()), ensemble=ensemble
    )


def _read(config: ScanConfig) -> tuple[Path, ...]:
    """What a scan reads that the user has named."""
    named = [path for path in config.mosaics if not is_remote(path)]
    named += [] if config.mirror is None else [config.mirror]
    named += [config.centres] if config.centres not in ("grid", "sources") else []
    named += [config.ensemble] if Path(config.ensemble).is_dir() else []
    return tuple(Path(path) for path in named)


def _begin(tasks: Sequence[ScanConfig]) -> list[RunPaths]:
    """Begin the run of every task, or find that it may be continued; those that are new."""
    from lensweep.scanner.run.opening import abandon, open_run

    new: list[RunPaths] = []
    try:
        for task in tasks:
            paths = RunPaths.at(task.out)
            known = paths.run.is_file()
            # The job holds it when it runs.
            with sole_writer(paths):
                open_run(task)
            if not known:
                new.append(paths)
    except InputError:
        for paths in new:
            abandon(paths)
        raise
    return new


def _files(tasks: Sequence[ScanConfig]) -> dict[str, str]:
    if len(tasks) == 1:
        return {"scan.toml": _toml(tasks[0])}
    return {f"scan-{number}.toml": _toml(task) for number, task in enumerate(tasks)}


def _write_tasks(folder: Path, tasks: Sequence[ScanConfig]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("scan*.toml"):
        stale.unlink()
    for name, text in _files(tasks).items():
        (folder / name).write_text(text)


def _toml(config: ScanConfig) -> str:
    """A config as TOML; JSON's text, numbers and lists are TOML's too."""
    values: dict[str, Any] = dataclasses.asdict(config)
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in values.items()
        if value is not None and key not in _NOT_HANDED_ON
    )
