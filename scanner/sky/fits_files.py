"""FITS files as they come: their structure is checked before astropy opens them.

astropy trusts the sizes that headers state: a negative one is an endless loop to it, a missing one
a `KeyError`, and a file that ends early a warning. Here all of it is an error of that one file.
"""

import gzip
import re
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import SEEK_END, getpid
from pathlib import Path
from typing import Any, BinaryIO

from astropy.coordinates import ConvertError
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import NoConvergence

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.headers import MosaicError
from lensweep.scanner.sky.remote import open_bytes

BLOCK = 2880
CARD = 80
_SIZES = re.compile(r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|NEXTEND|EXTNAME|GROUPS) *$")
_BITPIX = (8, 16, 32, 64, -32, -64)
# A block of a header is text but for a few damaged bytes; one of pixels is not.
_TEXT = 0.9
# What astropy, cfitsio and the decompressors raise of files that are not what they should be.
_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, CfitsioException, ConvertError, EOFError,
    LookupError, MemoryError, NoConvergence, NotImplementedError, OSError, TypeError, ValueError,
    VerifyError, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class _Hdu:
    """Where one header and its data lie, bytes."""

    name: str
    cards: dict[str, Any]
    data_start: int
    data_size: int

    @property
    def data_end(self) -> int:
        return self.data_start + self.data_size

    @property
    def end(self) -> int:
        return self.data_start + -(-self.data_size // BLOCK) * BLOCK


@contextmanager
def faults_of(label: str) -> Iterator[None]:
    """Turn whatever a file makes astropy raise into that file's `MosaicError`."""
    try:
        yield
    except InputError:
        raise
    except _FAULTS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise MosaicError(
            f"{label}: damaged, or no valid FITS ({reason}); fetch it again"
        ) from error


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep astropy from warning of what `check_structure` and the readers of headers judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def file_kind(path: Path, label: str) -> str:
    """``fits`` or ``gzip``.

    Raises
    ------
    MosaicError
        The file is not there, cannot be read, or is neither.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(6)
    except FileNotFoundError as error:
        raise MosaicError(f"{label}: no such file: {path}") from error
    except OSError as error:
        raise MosaicError(f"{label}: cannot be read: {error.strerror}: {path}") from error
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start == b"SIMPLE":
        return "fits"
    raise MosaicError(f"{label}: neither FITS nor gzip-compressed FITS: {path}")


def decompress(path: Path, target: Path, label: str) -> None:
    """Unpack a gzip file, unless that is done already.

    Raises
    ------
    MosaicError
        The stream is damaged, or holds no FITS file.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{getpid()}.part")
    try:
        with gzip.open(path, "rb") as packed, aside.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
        if file_kind(aside, label) != "fits":
            raise MosaicError(f"{label}: compressed more than once; decompress it first")
        aside.replace(target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MosaicError(f"{label}: truncated or damaged gzip file; fetch it again") from error
    finally:
        aside.unlink(missing_ok=True)


def check_structure(path: str | Path, label: str) -> None:
    """Walk through the headers of a FITS file: sizes that mean something, and data to fill them.

    The last block need not be padded, as long as its data are all there.

    Raises
    ------
    MosaicError
        A header without end, sizes that are missing or impossible, data that the file is too
        short for, or fewer extensions than NEXTEND announces.
    """
    hdus: list[_Hdu] = []
    with open_bytes(path) as stream:
        length = stream.seek(0, SEEK_END)
        while not hdus or _another(stream, hdus[-1].end, label):
            hdu = _read_hdu(stream, hdus[-1].end if hdus else 0, label)
            if hdu.data_end > length:
                raise MosaicError(
                    f"{_truncated(label)} (extension {hdu.name or 'without a name'} ends at byte "
                    f"{hdu.data_end}, the file at {length})"
                )
            hdus.append(hdu)
    _refuse_missing_extensions(hdus, label)


def _truncated(label: str) -> str:
    return f"{label}: the file is truncated; fetch it again"


def _another(stream: BinaryIO, start: int, label: str) -> bool:
    """Whether a header begins at a byte. Zeros and other records may follow the last one."""
    stream.seek(start)
    block = stream.read(BLOCK)
    if block.startswith(b"XTENSION"):
        return True
    if block and _is_text(block) and block.strip():
        raise MosaicError(
            f"{label}: damaged: the header at byte {start} does not begin with XTENSION, or the "
            "file ends inside a header; fetch it again"
        )
    return False


def _is_text(block: bytes) -> bool:
    return sum(32 <= byte < 127 for byte in block) >= _TEXT * len(block)


def _read_hdu(stream: BinaryIO, start: int, label: str) -> _Hdu:
    stream.seek(start)
    cards: dict[str, Any] = {}
    while True:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise MosaicError(f"{_truncated(label)} (it ends inside a header)")
        if not _is_text(block):
            raise MosaicError(
                f"{label}: damaged: the header at byte {start} has no END; fetch it again"
            )
        if _take_cards(block, cards, label):
            break
    size = _data_size(cards, start, label)
    return _Hdu(str(cards.get("EXTNAME", "")).strip(), cards, stream.tell(), size)


def _take_cards(block: bytes, cards: dict[str, Any], label: str) -> bool:
    """Keep the cards that state sizes; whether this was the header's last block."""
    for first in range(0, BLOCK, CARD):
        card = block[first : first + CARD]
        if card[:8] == b"END     ":
            return True
        key = card[:8].decode("latin-1")
        if card[8:10] == b"= " and _SIZES.match(key) and key.strip() not in cards:
            with faults_of(label):
                cards[key.strip()] = fits.Card.fromstring(card).value
    return False


def _data_size(cards: dict[str, Any], start: int, label: str) -> int:
    """Bytes of data that a header announces (FITS standard 4.0, 4.4.1)."""

    def whole(key: str, least: int, default: int | None = None) -> int:
        value = cards.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MosaicError(
                f"{label}: damaged: the header at byte {start} has {key} = "
                f"{cards.get(key, 'nothing')}; fetch it again"
            )
        return value

    if whole("BITPIX", -64) not in _BITPIX:
        raise MosaicError(f"{label}: damaged: BITPIX = {cards['BITPIX']}; fetch it again")
    n_axes = whole("NAXIS", 0)
    if n_axes > 999:
        raise MosaicError(f"{label}: damaged: NAXIS = {n_axes}; fetch it again")
    axes = [whole(f"NAXIS{number}", 0) for number in range(1, n_axes + 1)]
    if cards.get("GROUPS") is True and axes[:1] == [0]:
        axes = axes[1:]
    n_values = 1 if axes else 0
    for axis in axes:
        n_values *= axis
    n_values = whole("GCOUNT", 1, 1) * (whole("PCOUNT", 0, 0) + n_values)
    return abs(int(cards["BITPIX"])) // 8 * n_values


def _refuse_missing_extensions(hdus: list[_Hdu], label: str) -> None:
    """A file cut exactly behind an extension is whole but for what its first header announces."""
    announced = hdus[0].cards.get("NEXTEND")
    # An image in the primary header was taken out of another file, and its NEXTEND with it.
    if hdus[0].data_size or isinstance(announced, bool) or not isinstance(announced, int):
        return
    if len(hdus) - 1 < announced:
        raise MosaicError(
            f"{_truncated(label)} (its first header announces NEXTEND = {announced} extensions, "
            f"there are {len(hdus) - 1}; if it was made so, correct NEXTEND)"
        )
