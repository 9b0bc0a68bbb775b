"""Begin a run in its folder, or continue the one that is there; refuse what cannot end well."""

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lensweep.catalogs.schemas import read_provenance
from lensweep.ground.asked import first_change
from lensweep.ground.atomic import sweep
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote, make_folder, remove_folder
from lensweep.ground.settings import option_of
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run.config import ScanConfig, fields_that_decide
from lensweep.scanner.run.lock import unwritable
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import DamagedError, read_record, write_record
from lensweep.scanner.run.shared_options import DEFAULT_LENS_DENSITY
from lensweep.scanner.run.target_list import asked_targets, keep_targets, what_decides_of
from lensweep.scanner.sky.names import mosaic_name, printable
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

PACKAGES = ("lensweep", "numpy", "astropy", "reproject", "zarr", "tensorflow", "keras", "dask")
# Where a run's detections begin unless it is told.
DEFAULT_THRESHOLD = "fpr_0.3"
# Where the catalogue's own facts hold what ranked it.
_FACTS = {"lens_density": "lens_density_per_deg2"}


def open_run(config: ScanConfig) -> tuple[Bundle, RunPaths]:
    """Check the ensemble, and begin a run in its folder or continue the one that is there.

    Raises
    ------
    InputError
        If the ensemble does not fit, or the folder holds another run or other files, or cannot
        be written to.
    catalogs.tables.TableError
        If the table of positions cannot be read.
    """
    bundle = check_bundle(config.ensemble)
    _refuse_unfit(bundle, config)
    paths = RunPaths.at(config.out)
    _refuse_nothing_to_read(paths, config)
    targets = asked_targets(config)
    asked = what_decides(config) | {"ensemble_sha256": bundle.sha256}
    try:
        make_folder(paths.root)
        found = _read_run(paths)
        if found is not None:
            _refuse_another(paths, found["asked"], asked)
            # Its time is when the command was last given.
            if targets is not None:
                keep_targets(paths, targets)
            _write_run(paths, found)
            _refuse_another_ranking(paths, config, bundle)
        else:
            _refuse_strangers(paths)
            if targets is not None:
                keep_targets(paths, targets)
            command = " ".join(sys.argv)
            _write_run(paths, {"asked": asked, "versions": versions(), "command": command})
        for pattern in (".*.partial", "plan/.*.partial", "done/*/.*.partial", "failed/.*.partial",
                        "failed/*/.*.partial"):  # fmt: skip
            sweep(paths.root, pattern)
    except OSError as error:
        raise unwritable(paths.root, error) from error
    return bundle, paths


def _refuse_nothing_to_read(paths: RunPaths, config: ScanConfig) -> None:
    """One mosaic that is not there is written down by the run; all of them are a wrong path."""
    # What is planned already may be cut already, and is not read again.
    missing = [
        path for path in config.mosaics
        if not is_remote(path) and not is_file(path) and not paths.plan(mosaic_name(path)).is_file()
    ]  # fmt: skip
    if len(missing) == len(config.mosaics):
        raise InputError("\n".join(no_file_at(path) for path in missing))


def no_file_at(path: str) -> str:
    """What is said of a mosaic's path that is no file."""
    shown = printable(path)
    if Path(path).is_dir():
        return f"mosaic {shown}: is a folder; name the files in it: {shown}/*.fits"
    return f"mosaic {shown}: no such file"


def abandon(paths: RunPaths) -> None:
    """Take back a run of which nothing came, so that its folder may be asked for again."""
    for folder in (paths.failures, paths.plans, paths.scratch, paths.attempts, paths.certificates):
        remove_folder(folder)
    paths.run.unlink()
    for file in (paths.run_copy, paths.centres):
        file.unlink(missing_ok=True)
    if not is_remote(paths.root) and not any(paths.root.iterdir()):
        paths.root.rmdir()


def say_in_run(paths: RunPaths, **values: Any) -> None:
    """Keep more with what was asked."""
    _write_run(paths, (_read_run(paths) or {}) | values)


def _read_run(paths: RunPaths) -> dict[str, Any] | None:
    """What was asked for first, or its copy where that is damaged or gone; None if nothing was."""
    there = [path for path in (paths.run, paths.run_copy) if path.is_file()]
    for path in there:
        with suppress(DamagedError):
            return read_record(path)
    if there:
        raise InputError(
            f"output folder {paths.root}: {paths.run.name} and {paths.run_copy.name} are damaged, "
            "and what was scanned is told nowhere else; name a new folder"
        )
    return None


def _write_run(paths: RunPaths, run: dict[str, Any]) -> None:
    # The copy last: a folder with nothing else in it was never begun.
    write_record(paths.run, run)
    write_record(paths.run_copy, run)


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {package: version(package) for package in PACKAGES}


def what_decides(config: ScanConfig) -> dict[str, Any]:
    """The part of a config that decides a run's cutouts and scores, as JSON gives it back."""
    values = {name: getattr(config, name) for name in fields_that_decide("scores")}
    values["mosaics"] = sorted(
        path if is_remote(path) else os.path.realpath(path) for path in config.mosaics
    )
    return values | what_decides_of(config.centres) if config.lists_targets else values


def _refuse_unfit(bundle: Bundle, config: ScanConfig) -> None:
    description = bundle.description
    if config.screen == "on" and description.screen is None:
        raise InputError(
            f"ensemble {bundle.folder}: has no screen, but screen is on; give --screen auto or off"
        )
    found = description.pixel_scale_arcsec, description.cutout_size
    if found != (PIXEL_SCALE_ARCSEC, CUTOUT_SIZE):
        raise InputError(
            f"ensemble {bundle.folder}: trained on cutouts of {found[1]} pixels at {found[0]:g} "
            f"arcsec, but a scan makes {CUTOUT_SIZE} at {PIXEL_SCALE_ARCSEC:g}; use another"
        )
    if config.min_logit is None and DEFAULT_THRESHOLD not in description.thresholds:
        raise InputError(
            f"ensemble {bundle.folder}: no threshold {DEFAULT_THRESHOLD}, only "
            f"{', '.join(sorted(description.thresholds)) or 'none'}; state --min-logit"
        )


def _refuse_another(paths: RunPaths, found: dict[str, Any], asked: dict[str, Any]) -> None:
    change = first_change(found, asked)
    if change is not None:
        raise InputError(
            f"output folder {paths.root}: holds another run ({change.key} was {change.was}, now "
            f"{change.now}); name a new folder, or repeat the first command to continue it"
        )


def ranking_of(config: ScanConfig, bundle: Bundle) -> dict[str, float]:
    """What decides the ranking of a run's scores, defaults filled in; by field of the config."""
    values = {name: getattr(config, name) for name in fields_that_decide("ranking")}
    if config.min_logit is None:
        values["min_logit"] = bundle.description.thresholds[DEFAULT_THRESHOLD]
    return values


def ranking_facts(ranking: Mapping[str, float]) -> dict[str, str]:
    """The same, as a catalogue keeps it among its facts."""
    return {_FACTS.get(name, name): repr(value) for name, value in ranking.items()}


def ranking_in(facts: Mapping[str, str]) -> dict[str, float]:
    """And back; what a catalogue of an older version does not say is the default's."""
    keys = {name: _FACTS.get(name, name) for name in fields_that_decide("ranking")}
    found = {name: float(facts[key]) for name, key in keys.items() if key in facts}
    return {"lens_density": DEFAULT_LENS_DENSITY} | found


def _refuse_another_ranking(paths: RunPaths, config: ScanConfig, bundle: Bundle) -> None:
    """A catalogue is not replaced by one of other options, unless that is asked for."""
    facts = {} if config.rerank else read_provenance(paths.candidates)
    if not facts:
        return
    was, now = ranking_in(facts), ranking_of(config, bundle)
    other = [name for name in was if was[name] != now[name]]
    if other:
        options = " ".join(f"{option_of(ScanConfig, name)} {now[name]!r}" for name in other)
        differ = ", ".join(f"{name} = {was[name]!r}, now {now[name]!r}" for name in other)
        raise InputError(
            f"run {paths.root}: its catalogue was ranked with {differ}; to rank it so into a file "
            f"beside it, `lensweep rank {shlex.quote(str(paths.root))} {options}`; to replace it, "
            "repeat the command with --rerank"
        )


def _refuse_strangers(paths: RunPaths) -> None:
    # A command killed at its very beginning leaves nothing but files that it wrote aside.
    strangers = sorted(
        path.name
        for path in (paths.root.iterdir() if paths.root.is_dir() else ())
        if not (path.name.startswith(".") and path.name.endswith(".partial"))
        # Of a submitted run of which nothing came, and of this command.
        and path.name not in (paths.job.name, paths.lock.name, paths.centres.name)
    )
    if strangers:
        raise InputError(
            f"output folder {paths.root}: holds {strangers[0]} and no run; name a new folder"
        )
