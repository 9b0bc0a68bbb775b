"""Files that are whole or not there, on a file system or in an object store (`s3://...`).

An object store has no rename, but shows an object under its name only when all of it has arrived:
there a file is filled on this machine and then uploaded.
"""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from lensweep.ground.errors import InputError

_REMOTE = "://"
FLUSHED_AT_ONCE = 8


class StoreError(InputError):
    """An object store that cannot be used."""


def place(where: str | Path) -> Path:
    """A path of a file system, or of an object store with the same methods.

    Parameters
    ----------
    where : str or Path
        `s3://bucket/folder`, or any other address that fsspec knows; else a path.

    Raises
    ------
    StoreError
        If what is needed to reach the store is not installed.
    """
    if isinstance(where, str) and is_remote(where):
        try:
            from upath import UPath

            # Other machines write: what was listed a moment ago may be false by now.
            remote = UPath(where, use_listings_cache=False)
            remote.fs  # noqa: B018 - imports the store's own package
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"{where}: cannot be reached ({error}); pip install 'lensweep[s3]', or name a "
                "folder"
            ) from error
        return cast(Path, remote)
    return where if is_remote(where) else Path(where)  # type: ignore[return-value]


@contextmanager
def reached(where: str | Path) -> Iterator[None]:
    """Where an address of an object store or a server is asked for the first time.

    Raises
    ------
    StoreError
        If it does not answer, or refuses.
    """
    try:
        yield
    except _errors_of_stores() as error:
        if not is_remote(where):
            raise
        raise StoreError(
            f"{where}: cannot be reached ({str(error) or type(error).__name__}); is the address "
            "right, and may this machine read there?"
        ) from error


class _NoStoreError(Exception):
    """Stands for the errors of a package that nothing has asked for."""


def _errors_of_stores() -> tuple[type[Exception], ...]:
    """`OSError`, and what S3 and HTTP raise besides, where their packages are in use."""
    names = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    more = (getattr(sys.modules.get(module), name, _NoStoreError) for module, name in names)
    return (OSError, *more)


def is_remote(where: str | Path) -> bool:
    """Whether a path is one of an object store."""
    return _REMOTE in where if isinstance(where, str) else not isinstance(where, Path)


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; a path that no file can have is none."""
    try:
        return Path(path).is_file()
    except OSError:  # of a name that is too long
        return False


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Fill a file aside; it gets its name when it is whole, and none if filling it fails.

    It is flushed to disk first, so that a power cut leaves the old file or the new one.

    Parameters
    ----------
    path : Path
        As `place` gives it. Its folder exists; what is there is replaced.

    Yields
    ------
    Path
        Of this machine's file system: what to write.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            aside = Path(folder) / path.name
            yield aside
            store, target = _of_store(path)
            store.put_file(str(aside), target)
        return
    # Machines that share a file system, and pods, have processes of the same number.
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        yield aside
        _fsync(aside)
        aside.replace(path)
    finally:
        # There only after a failure, such as a full disk.
        aside.unlink(missing_ok=True)


def flush(paths: Iterable[Path]) -> None:
    """Flush files to disk, and folders: which names are in them, not what those stand for."""
    # A disk flushes several at once in the time that it takes for one: 4 ms.
    with ThreadPoolExecutor(max_workers=FLUSHED_AT_ONCE) as pool:
        list(pool.map(_fsync, paths))


def _fsync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Of fsync(2): a file system that flushes no folders; it has its own ways with them.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The same file where libraries that open paths themselves can read it."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        store, source = _of_store(path)
        store.get_file(source, str(copy))
        yield copy


def make_folder(path: Path) -> None:
    """Make a folder and those above it; in an object store there are none to make."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there.

    Raises
    ------
    ValueError
        If the path leads up from where it seems to lie, or is the root of all.
    """
    if ".." in path.parts or path == path.parent:
        raise ValueError(f"{path}: is not removed, since it may hold what is not its own")
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        store, target = _of_store(path)
        store.rm(target, recursive=True)


def file_lengths(folder: Path) -> dict[str, int]:
    """The lengths in bytes of all files below a folder, by their paths within it."""
    if is_remote(folder):
        store, target = _of_store(folder)
        found = store.find(target, detail=True)
        return {name.removeprefix(f"{target}/"): file["size"] for name, file in found.items()}
    return {
        f"{where}/{file}".removeprefix(f"{folder}/"): Path(where, file).stat().st_size
        for where, _, files in os.walk(folder)
        for file in files
    }


def written_at(path: Path) -> tuple[Any, ...]:
    """What tells one version of a file from the next under the same name."""
    found = path.stat()
    if is_remote(path):
        store, target = _of_store(path)
        return (store.info(target).get("ETag"), found.st_mtime)
    return (found.st_ino, found.st_mtime_ns)


def _of_store(path: Path) -> tuple[Any, str]:
    """The store that a remote path lies in, and its name there."""
    remote = cast(Any, path)
    return remote.fs, str(remote.path)
