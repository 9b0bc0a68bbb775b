"""Where a command writes, checked before it computes anything."""

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote

# What is left of `s3://bucket/name` where it was taken for a path: a folder called `s3:`.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


def check_folder(path: Path, what: str = "output folder") -> None:
    """Make a folder, unless it is there, and refuse one that cannot be written to.

    Parameters
    ----------
    path : Path
        As `lensweep.ground.files.place` gives it; of an object store nothing can be said.
    what : str
        What it is, for the message.

    Raises
    ------
    InputError
    """
    if is_remote(path):
        return
    _refuse_address(path, what)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"{what} {path}: cannot be written to ({error.strerror or error}); make room or name "
            "another"
        ) from error


def refuse_strangers(path: Path, mark: str | None = None, own: Iterable[str] = ()) -> None:
    """Refuse a folder that holds what another command, or a user, has put into it.

    Parameters
    ----------
    path : Path
        A folder. Names that begin with a dot do not count.
    mark : str, optional
        Name of what says that the folder is the command's own; without one nothing may be there.
    own : iterable of str
        Names that may be there before that.

    Raises
    ------
    InputError
    """
    if mark is not None and (path / mark).exists():
        return
    strangers = sorted({one.name for one in path.iterdir() if one.name[0] != "."} - set(own))
    if strangers:
        lacking = "" if mark is None else f" and no {mark}"
        raise InputError(f"output folder {path}: holds {strangers[0]}{lacking}; name a new folder")


@contextlib.contextmanager
def begun_folder(path: Path, what: str = "output folder") -> Iterator[None]:
    """Check a folder as `check_folder` does; if an input then is bad, no empty one is left behind.

    Parameters
    ----------
    path : Path
    what : str
        What it is, for the message.

    Raises
    ------
    InputError
    """
    is_new = not is_remote(path) and not path.exists()
    check_folder(path, what)
    try:
        yield
    except InputError:
        if is_new and not any(path.iterdir()):
            path.rmdir()
        raise


def check_file(path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a file that cannot be written, or that is an input of the same command.

    Parameters
    ----------
    path : Path
    inputs : iterable of str or Path
        What the command reads; may be words that name no file.

    Raises
    ------
    InputError
    """
    if is_remote(path):
        return
    _refuse_address(path, "output file")
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"has no folder {path.parent}"
        raise InputError(f"output file {path}: {why}; name a file in a folder that is there")
    if path.exists() and any(Path(one).exists() and path.samefile(one) for one in inputs):
        raise InputError(f"output file {path}: is an input of this command; name another")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            f"output file {path}: cannot be written ({error.strerror or error}); make room or name "
            "another"
        ) from error


def _refuse_address(path: Path, what: str) -> None:
    if any(map(_SCHEME.fullmatch, path.parts)):
        raise InputError(
            f"{what} {path}: is an address, but this is written on this machine only; name a path"
        )
