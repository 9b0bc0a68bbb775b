"""Begin a run in its folder, or continue the one that is there; refuse what cannot end well."""

import dataclasses
import hashlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lensweep.catalogs.tables import read_positions
from lensweep.ground.atomic import sweep, write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, make_folder, remove_folder
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.sky.grid import SCAN_PIXEL_SCALE_ARCSEC
from lensweep.scanner.sky.windows import CUTOUT_SIZE

PACKAGES = ("lensweep", "numpy", "astropy", "reproject", "zarr", "tensorflow", "keras", "dask")
# Where a run's detections begin unless it is told.
DEFAULT_THRESHOLD = "fpr_0.3"
# Where a run is carried out, and how its scores are ranked, may change when it is continued.
_DECIDES_NOTHING = (
    "out", "mirror", "cluster", "workers", "tls", "shard_timeout_s", "storage_wait_s", "ensemble",
    "min_logit", "prior", "merge_radius_arcsec", "match_radius_arcsec",
)  # fmt: skip


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
    asked = what_decides(config) | {"ensemble_sha256": bundle.sha256}
    try:
        make_folder(paths.root)
        if paths.run.is_file():
            _refuse_another(paths, json.loads(paths.run.read_text())["asked"], asked)
            # Its time is when the command was last given.
            write_json(paths.run, json.loads(paths.run.read_text()))
        else:
            _refuse_strangers(paths)
            command = " ".join(sys.argv)
            write_json(paths.run, {"asked": asked, "versions": versions(), "command": command})
        for pattern in (".*.partial", "plan/.*.partial", "done/*/.*.partial", "failed/.*.partial",
                        "failed/*/.*.partial"):  # fmt: skip
            sweep(paths.root, pattern)
    except OSError as error:
        raise InputError(
            f"output folder {paths.root}: cannot be written to ({error.strerror or error}); make "
            "room or name another"
        ) from error
    return bundle, paths


def abandon(paths: RunPaths) -> None:
    """Take back a run of which nothing came, so that its folder may be asked for again."""
    for folder in (paths.failures, paths.plans, paths.scratch, paths.attempts, paths.certificates):
        remove_folder(folder)
    paths.run.unlink()
    if not is_remote(paths.root) and not any(paths.root.iterdir()):
        paths.root.rmdir()


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {package: version(package) for package in PACKAGES}


def what_decides(config: ScanConfig) -> dict[str, Any]:
    """The part of a config that decides a run's cutouts and scores, as JSON gives it back."""
    values = dataclasses.asdict(config)
    for key in _DECIDES_NOTHING:
        del values[key]
    values["mosaics"] = sorted(
        path if is_remote(path) else os.path.realpath(path) for path in config.mosaics
    )
    if config.centres not in ("grid", "sources"):
        read_positions(config.centres)
        values["centres"] = os.path.realpath(config.centres)
        values["centres_sha256"] = hashlib.sha256(Path(config.centres).read_bytes()).hexdigest()
    return values


def _refuse_unfit(bundle: Bundle, config: ScanConfig) -> None:
    description = bundle.description
    if config.screen == "on" and description.screen is None:
        raise InputError(
            f"ensemble {bundle.folder}: has no screen, but screen is on; give --screen auto or off"
        )
    found = description.pixel_scale_arcsec, description.cutout_size
    if found != (SCAN_PIXEL_SCALE_ARCSEC, CUTOUT_SIZE):
        raise InputError(
            f"ensemble {bundle.folder}: trained on cutouts of {found[1]} pixels at {found[0]:g} "
            f"arcsec, but a scan makes {CUTOUT_SIZE} at {SCAN_PIXEL_SCALE_ARCSEC:g}; use another"
        )
    if config.min_logit is None and DEFAULT_THRESHOLD not in description.thresholds:
        raise InputError(
            f"ensemble {bundle.folder}: no threshold {DEFAULT_THRESHOLD}, only "
            f"{', '.join(sorted(description.thresholds)) or 'none'}; state --min-logit"
        )


def _refuse_another(paths: RunPaths, found: dict[str, Any], asked: dict[str, Any]) -> None:
    for key in sorted(found.keys() | asked.keys()):
        if found.get(key) != asked.get(key):
            raise InputError(
                f"output folder {paths.root}: holds another run ({key} was {found.get(key)}, now "
                f"{asked.get(key)}); name a new folder, or repeat the first command to continue it"
            )


def _refuse_strangers(paths: RunPaths) -> None:
    # A command killed at its very beginning leaves nothing but files that it wrote aside.
    strangers = sorted(
        path.name
        for path in (paths.root.iterdir() if paths.root.is_dir() else ())
        if not (path.name.startswith(".") and path.name.endswith(".partial"))
        # Of a submitted run of which nothing came.
        and path.name != paths.job.name
    )
    if strangers:
        raise InputError(
            f"output folder {paths.root}: holds {strangers[0]} and no run; name a new folder"
        )
