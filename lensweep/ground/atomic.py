"""Records and folders that are either whole or not there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lensweep.ground.files import flush, is_remote, make_folder, remove_folder, whole_file


def write_json(path: Path, value: Any) -> None:
    """Write JSON: a reader never sees half of it."""
    make_folder(path.parent)
    with whole_file(path) as aside:
        aside.write_text(json.dumps(value, indent=1))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder aside, flush and rename it: what an interrupted attempt left is discarded.

    In an object store, which cannot rename, it is filled where it stays: what is written last has
    to say that it is whole.

    Yields
    ------
    Path
        The folder to fill; not made yet.
    """
    if is_remote(path):
        remove_folder(path)
        yield path
        return
    partial = path.with_name(f".{path.name}.partial")
    for stale in (partial, path):
        remove_folder(stale)
    partial.parent.mkdir(parents=True, exist_ok=True)
    yield partial
    flush((partial, *partial.rglob("*")))
    partial.replace(path)


def sweep(folder: Path, pattern: str) -> None:
    """Remove files that a killed process was writing aside; object stores have none."""
    if not is_remote(folder):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
