"""The targets of a run: the table of positions that was given, kept in the run's folder.

It is read once, where it is asked for: workers see the run's folder, and need no more.
"""

import hashlib
import os
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lensweep.catalogs.hats_folders import is_hats
from lensweep.catalogs.tables import write_parquet
from lensweep.catalogs.target_lists import Given, read_targets
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, make_folder, place
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths


def asked_targets(config: ScanConfig) -> pa.Table | None:
    """The targets that a config names; None if it names none.

    Raises
    ------
    lensweep.catalogs.tables.TableError
        If its table cannot be read.
    """
    return read_targets(config.centres) if config.lists_targets else None


def give_targets(paths: RunPaths, given: Given) -> str:
    """Keep a table that is no file in the folder of a run that it is for.

    Returns
    -------
    str
        Where it is now: the `centres` of the run's config.

    Raises
    ------
    InputError
        If the folder holds a run of other targets.
    lensweep.catalogs.tables.TableError
        If it has no positions.
    """
    targets = read_targets(given)
    if not paths.run.is_file():
        make_folder(paths.root)
        keep_targets(paths, targets)
    elif not _same(kept_targets(paths), targets):
        raise InputError(
            f"output folder {paths.root}: holds another run (of other centres); name a new folder, "
            "or give the same table to continue it"
        )
    return str(paths.centres)


def keep_targets(paths: RunPaths, targets: pa.Table) -> None:
    """Write the targets of a run, unless they are there."""
    if not _same(kept_targets(paths), targets):
        write_parquet(targets, paths.centres)


def kept_targets(paths: RunPaths) -> pa.Table | None:
    """The targets that a run's folder holds; None if it holds none, or no whole file of them."""
    if not paths.centres.is_file():
        return None
    try:
        with paths.centres.open("rb") as file:
            return pq.read_table(file)
    except (pa.ArrowInvalid, OSError):
        return None


def targets_of(config: ScanConfig, root: str) -> pa.Table:
    """The targets of a run: as they were kept, or as its config names them."""
    kept = kept_targets(RunPaths.at(root))
    return read_targets(config.centres) if kept is None else kept


def what_decides_of(centres: str) -> dict[str, Any]:
    """What tells one table of targets from another: where it lies, and its SHA-256."""
    if is_hats(centres):
        rows = pd.util.hash_pandas_object(read_targets(centres).to_pandas(), index=False)
        content = rows.to_numpy().tobytes()
    else:
        content = place(centres).read_bytes()
    where = centres if is_remote(centres) else os.path.realpath(centres)
    return {"centres": where, "centres_sha256": hashlib.sha256(content).hexdigest()}


def _same(kept: pa.Table | None, targets: pa.Table) -> bool:
    # As pandas has it, NaN is NaN.
    return kept is not None and bool(kept.to_pandas().equals(targets.to_pandas()))
