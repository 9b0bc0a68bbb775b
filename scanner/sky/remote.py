"""Files at addresses (http, https, s3), read by section through fsspec.

A section that does not come in `TRIES` is an error that may pass: whoever supervises the work tries
again later.
"""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from astropy.io import fits

from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.files import StoreError, is_remote
from lensweep.scanner.sky.names import file_name

T = TypeVar("T")
# Of these anybody may read, without an account of the cloud (STScI: public data of Hubble).
PUBLIC_BUCKETS = frozenset({"stpubdata"})
# A server that says nothing for so long is given up.
SILENCE_S = 60.0
TRIES = 4
FIRST_WAIT_S = 0.5
# What is read ahead: headers are read in pieces of 2,880 bytes.
BLOCK_BYTES = 1 << 16


class RemoteError(TryAgainError):
    """An address that gives nothing, for now."""


class NoSectionsError(InputError):
    """An address whose file is given as a whole only, or packed."""


class _Lost(RuntimeError):
    """Nothing came. No ValueError and no OSError: astropy takes those for bad headers."""


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file.

    Attributes
    ----------
    size_bytes : int
    version : str
        What tells it from a later one: its ETag, or when it was changed; empty if nothing does.
    """

    size_bytes: int
    version: str


def stat_address(address: str) -> RemoteFile:
    """Ask for the length and the version of a file.

    Raises
    ------
    NoSectionsError
        If its server does not say how long it is.
    RemoteError
        If nothing comes from the address.
    """
    with _told(address):
        said = _patiently(address, lambda: _store(address).info(address))
    size = int(said.get("size") or 0)
    if not size:
        raise NoSectionsError(f"{file_name(address)}: its server does not say how long it is")
    version = said.get("ETag") or said.get("LastModified") or said.get("Last-Modified") or ""
    return RemoteFile(size, str(version))


def describe(address: str) -> RemoteFile:
    """Ask for the length and the version of a file that can be read by section.

    Raises
    ------
    NoSectionsError
        If it can not.
    RemoteError
        If nothing comes from the address.
    """
    found = stat_address(address)
    with open_address(address) as file:
        try:
            file.seek(found.size_bytes - 1)
            file.read(1)
            file.seek(0)
        except ValueError as error:  # as fsspec has it, when all comes instead of a section
            raise NoSectionsError(
                f"{file_name(address)}: its server gives whole files only"
            ) from error
        if file.read(2) == b"\x1f\x8b":
            raise NoSectionsError(f"{file_name(address)}: is compressed as a whole")
    return found


@contextmanager
def open_address(address: str) -> Iterator[io.RawIOBase]:
    """Open a file at an address; what is read of it is fetched then.

    Raises
    ------
    RemoteError
        From the block too, if something that it reads does not come.
    """
    with _told(address):
        opened = _patiently(address, lambda: _store(address).open(address, block_size=BLOCK_BYTES))
        with opened:
            yield _Patient(address, opened)


@contextmanager
def open_bytes(path: str | Path) -> Iterator[Any]:
    """Open a file's bytes, here or at its address, until the block ends."""
    if is_remote(path):
        with open_address(str(path)) as away:
            yield away
    else:
        with Path(path).open("rb") as here:
            yield here


@contextmanager
def open_fits(path: str | Path) -> Iterator[fits.HDUList]:
    """Open a FITS file, here or at its address, until the block ends."""
    if is_remote(path):
        with open_address(str(path)) as away, fits.open(away) as hdus:
            yield hdus
    else:
        with fits.open(path) as hdus:
            yield hdus


class _Patient(io.RawIOBase):
    """A file whose bytes are asked for again if they do not come."""

    def __init__(self, address: str, opened: Any) -> None:
        self._address, self._opened = address, opened

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._opened.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._opened.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        at = self.tell()

        def once() -> bytes:
            self._opened.seek(at)
            return bytes(self._opened.read(size))

        return _patiently(self._address, once)


@contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except _Lost as error:
        raise RemoteError(f"{file_name(address)}: {address}: {error}") from error


def _patiently(address: str, read: Callable[[], T]) -> T:
    for attempt in range(1, TRIES + 1):
        try:
            return read()
        except _failures(address) as error:
            # To fsspec whatever a server answers amiss is a file that is not there.
            if attempt == TRIES:
                said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                raise _Lost(said) from error
            time.sleep(FIRST_WAIT_S * 2.0 ** (attempt - 1))
    raise AssertionError("tries are at least 1")


def _failures(address: str) -> tuple[type[Exception], ...]:
    """What fsspec's store of an address raises when its server fails."""
    # Packages of half a second, for addresses only.
    if address.startswith("s3://"):
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError, OSError)
    from aiohttp import ClientError as HttpError

    return (HttpError, OSError)


def _store(address: str) -> Any:
    """The store that an address lies in, as fsspec has it."""
    import fsspec

    protocol = address.split("://", 1)[0]
    options: dict[str, Any] = {}
    if protocol in ("http", "https"):
        from aiohttp import ClientTimeout

        limits = ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        options = {"client_kwargs": {"trust_env": True, "timeout": limits}}
    elif protocol == "s3" and address.split("/")[2] in PUBLIC_BUCKETS:
        options = {"anon": True}
    try:
        return fsspec.filesystem(protocol, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{address}: cannot be reached ({error}); pip install 'lensweep[s3]', or fetch it "
            "another way"
        ) from error
