"""Files and folders that are either whole or not there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside, then rename: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        # There only after a failure, such as a full disk.
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder aside, then rename it: what an interrupted attempt left is discarded.

    Yields
    ------
    Path
        The folder to fill; not made yet.
    """
    partial = path.with_name(f".{path.name}.partial")
    for stale in (partial, path):
        if stale.exists():
            shutil.rmtree(stale)
    partial.parent.mkdir(parents=True, exist_ok=True)
    yield partial
    partial.replace(path)


def sweep(folder: Path, pattern: str) -> None:
    """Remove files that a killed process was writing aside."""
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)
