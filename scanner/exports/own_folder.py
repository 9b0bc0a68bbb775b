"""Folders of exports: never in the place of somebody's own files."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensweep.ground.errors import InputError


@contextmanager
def replaced_folder(path: Path, marker: str) -> Iterator[Path]:
    """Fill a folder aside and rename it, in the place of an earlier export if there is one.

    Parameters
    ----------
    path : Path
    marker : str
        The file by which an export of this kind is known.

    Yields
    ------
    Path
        The folder to fill.

    Raises
    ------
    InputError
        If the folder holds anything else.
    """
    empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not empty and not (path / marker).is_file():
        raise InputError(
            f"export {path}: is there and is no earlier export (no {marker}); name a new folder"
        )
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        # There only after a failure: the earlier export stays.
        shutil.rmtree(partial, ignore_errors=True)
