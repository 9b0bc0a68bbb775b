"""Bring one file here: resumed where it broke off, checked, and under its name only when whole."""

import base64
import errno
import hashlib
import itertools
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from lensweep.ground.errors import InputError
from lensweep.ground.files import flush
from lensweep.scanner.archive.names import safe_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services, first_line, wait_s
from lensweep.scanner.sky.origins import Origin, read_origin, write_origin
from lensweep.scanner.sky.remote import open_address, stat_address

# What is lost of the last piece when a connection breaks.
CHUNK_BYTES = 1 << 17
# Each is a question of its own.
BUCKET_CHUNK_BYTES = 8 << 20
_GONE = frozenset({400, 401, 403, 404, 410, 451})
Advance = Callable[[int], None]


class UnfitFileError(InputError):
    """An address whose file cannot be used: not there, not FITS, or not what was listed."""


class DamagedFileError(ServiceError):
    """A file that arrived, and not as the server says that it is."""


class _StaleError(DamagedFileError):
    """What is here of a file is of no use for the rest."""


class Stopped(Exception):
    """The download was told to end; what is here stays, to go on from."""


@dataclass(frozen=True)
class _Answer:
    """One answer of a server: from which byte on, how many there are in all, and the bytes.

    `version` is what tells the server's file from a later one; empty if nothing does.
    """

    start: int
    total: int | None
    etag: str
    version: str
    final_address: str
    checks: dict[str, bytes]
    chunks: Iterator[bytes]


def here(product: Product, folder: Path) -> Origin | None:
    """The origin of a product's file if that is in a folder, whole; None if it is not.

    Raises
    ------
    UnfitFileError
        If a file of its name is there that was not fetched from the same address.
    """
    path = folder / safe_name(product.name)
    if not path.is_file():
        return None
    origin = read_origin(path)
    if origin is None or origin.address != product.address:
        raise UnfitFileError(
            f"{path}: is there, but was not fetched from {product.address}; move it away, or name "
            "another folder"
        )
    return origin if path.stat().st_size == origin.size_bytes else None


def part_bytes(product: Product, folder: Path) -> int:
    """How much of a product's file an earlier download has left."""
    part = _part(folder / safe_name(product.name))
    return part.stat().st_size if part.is_file() else 0


def download(
    product: Product, folder: Path, session: requests.Session, services: Services, advance: Advance
) -> Origin:
    """Bring a product's file into a folder, unless it is there.

    Parameters
    ----------
    product : Product
    folder : Path
        Exists.
    session : requests.Session
    services : Services
    advance : callable
        Told of bytes that came; negative ones are those that came in vain. May raise `Stopped`.

    Returns
    -------
    Origin

    Raises
    ------
    UnfitFileError
        If the address has no FITS file of the listed length.
    ServiceError
        If the server fails again and again.
    OSError
        If there is no room.
    """
    found = here(product, folder)
    if found is not None:
        return found
    path = folder / safe_name(product.name)
    part, in_vain = _part(path), 0
    while True:
        before = part_bytes(product, folder)
        try:
            origin = _try(product, part, session, advance)
            break
        except (requests.RequestException, DamagedFileError) as error:
            if isinstance(error, _StaleError):
                advance(-before)
                part.unlink(missing_ok=True)
            in_vain = 0 if part_bytes(product, folder) > before else in_vain + 1
            if in_vain >= services.tries:
                raise ServiceError(
                    f"{product.name}: {first_line(error)}; what came is kept: try later"
                ) from error
            time.sleep(wait_s(max(in_vain, 1)))
    # Beside a file that is there, always.
    write_origin(origin, path)
    flush((part,))
    part.replace(path)
    _note(part).unlink(missing_ok=True)
    return origin


def _try(product: Product, part: Path, session: requests.Session, advance: Advance) -> Origin:
    have = part.stat().st_size if part.is_file() else 0
    if product.address.startswith("s3://"):
        return _try_bucket(product, part, have, advance)
    try:
        response = session.get(product.address, headers=_headers(part, have), stream=True)
    except requests.RequestException as error:
        # The session has asked several times.
        raise ServiceError(f"{product.name}: {first_line(error)}; try later") from error
    with response:
        answer = _read_head(product, response, have)
        kind = response.headers.get("Content-Type", "no type")
        _receive(product, part, have, answer, kind, advance)
    return _checked(product, part, answer, advance)


def _try_bucket(product: Product, part: Path, have: int, advance: Advance) -> Origin:
    """The same from an object store, through fsspec, which asks several times by itself."""
    said = stat_address(product.address)
    _refuse_length(product, product.address, said.size_bytes)
    start = have if _version_of(part) == said.version and have <= said.size_bytes else 0
    with open_address(product.address) as file:
        file.seek(start)
        chunks = iter(lambda: file.read(BUCKET_CHUNK_BYTES), b"")
        checks = _checks({"ETag": f'"{said.version.strip(chr(34))}"', "x-amz-request-id": ""})
        answer = _Answer(start, said.size_bytes, said.version, said.version, product.address,
                         checks, chunks)  # fmt: skip
        _receive(product, part, have, answer, "an object", advance)
    return _checked(product, part, answer, advance)


def _receive(
    product: Product, part: Path, have: int, answer: _Answer, kind: str, advance: Advance
) -> None:
    """Write what comes behind what is here."""
    chunks = answer.chunks
    if answer.start == 0:
        # Before anything that is here is given up for it.
        chunks = _of_fits(product, chunks, answer.final_address, kind)
    _refuse_without_room(product, part, answer)
    if answer.start < have:
        advance(answer.start - have)
    _note(part).write_text(answer.version, encoding="utf-8")
    with part.open("r+b" if answer.start else "wb") as file:
        file.seek(answer.start)
        file.truncate()
        for chunk in chunks:
            file.write(chunk)
            advance(len(chunk))


def _refuse_without_room(product: Product, part: Path, answer: _Answer) -> None:
    """Before a byte is written, where the length was not known before."""
    left = (answer.total or 0) - answer.start
    if left > shutil.disk_usage(part.parent).free:
        raise OSError(
            errno.ENOSPC, f"no room for the {left:,} bytes of {product.name} still to come"
        )


def _version_of(part: Path) -> str:
    note = _note(part)
    return note.read_text(encoding="utf-8") if note.is_file() else ""


def _headers(part: Path, have: int) -> dict[str, str]:
    # Lengths and ranges are of the file as it is, not of a compressed answer.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        version = _version_of(part)
        if version:
            headers["If-Range"] = version
    return headers


def _read_head(product: Product, response: requests.Response, have: int) -> _Answer:
    status, said = response.status_code, response.headers
    if response.url.startswith("http:") and product.address.startswith("https:"):
        raise UnfitFileError(
            f"{product.name}: {product.address} leads to {response.url}, which is not encrypted"
        )
    if status in _GONE:
        raise UnfitFileError(
            f"{product.name}: {product.address} answers {status} {response.reason}; ask again "
            "with `lensweep find`"
        )
    start, total = 0, _length(said.get("Content-Length"))
    if status in (206, 416):
        found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", said.get("Content-Range", ""))
        total = _length(found[2]) if found else None
        start = int(found[1]) if found and found[1] else 0
    if status == 416 and total == have:
        # All of it was here before.
        return _answer(product, response, have, total, iter(()))
    if status == 416:
        raise _StaleError(f"{product.name}: what is here is longer than the file is now")
    if status == 206 and start != have:
        raise _StaleError(f"{product.name}: the server gave another part than was asked for")
    if status not in (200, 206):
        raise ServiceError(
            f"{product.name}: {product.address} answers {status} {response.reason}; try later"
        )
    chunks = response.iter_content(CHUNK_BYTES)
    return _answer(product, response, start, total, chunks)


def _answer(
    product: Product, response: requests.Response, start: int, total: int | None, chunks: Any
) -> _Answer:
    if total is not None:
        _refuse_length(product, response.url, total)
    said = response.headers
    etag = said.get("ETag", "")
    # A weak ETag may stand for another file (RFC 9110, If-Range).
    version = said.get("Last-Modified", "") if etag.startswith("W/") or not etag else etag
    return _Answer(start, total, etag, version, response.url, _checks(said), chunks)


def _refuse_length(product: Product, address: str, total: int) -> None:
    if product.size_bytes and total != product.size_bytes:
        raise UnfitFileError(
            f"{product.name}: listed with {product.size_bytes:,} bytes, but {address} has "
            f"{total:,}; ask again with `lensweep find`"
        )


def _checks(said: Any) -> dict[str, bytes]:
    """Digests that a server states: RFC 9530, RFC 3230, RFC 1864, and S3's ETag of one part."""
    found = {}
    for name, value in re.findall(
        r"(sha-256|md5)=:?([A-Za-z0-9+/]+={0,2})",
        f"{said.get('Repr-Digest', '')} {said.get('Digest', '')}".replace("SHA", "sha"),
    ):
        found[name.replace("-", "")] = base64.b64decode(value)
    if "Content-MD5" in said and "Content-Range" not in said:
        found["md5"] = base64.b64decode(said["Content-MD5"])
    plain = re.fullmatch(r'"([0-9a-f]{32})"', said.get("ETag", ""))
    if plain and "x-amz-request-id" in said and "x-amz-server-side-encryption" not in said:
        found["md5"] = bytes.fromhex(plain[1])
    return found


def _checked(product: Product, part: Path, answer: _Answer, advance: Advance) -> Origin:
    size = part.stat().st_size
    if answer.total is not None and size < answer.total:
        raise requests.ConnectionError(f"ended after {size:,} of {answer.total:,} bytes")
    expected = answer.total if answer.total is not None else product.size_bytes
    wrong = f"{size:,} bytes, {expected:,} expected" if expected and size != expected else ""
    for name, digest in answer.checks.items():
        if not wrong and _digest(part, name) != digest:
            wrong = f"its {name.upper()} is not the one that the server states"
    if not wrong and _checksums_of_fits_fail(part):
        wrong = "its own checksums (CHECKSUM, DATASUM) do not fit"
    if wrong:
        advance(-size)
        part.unlink()
        raise DamagedFileError(f"{product.name}: {wrong}")
    return Origin(
        name=product.name,
        address=product.address,
        final_address=answer.final_address,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        size_bytes=size,
        sha256=_digest(part, "sha256").hex(),
        etag=answer.etag,
        collection=product.collection,
        programme=product.programme,
        survey=product.survey,
        doi=product.doi,
    )


def _of_fits(product: Product, chunks: Iterator[bytes], address: str, kind: str) -> Iterator[bytes]:
    """The same chunks, of which the first begins as FITS does, or gzip."""
    start = next(chunks, b"")
    if not start.startswith((b"SIMPLE", b"\x1f\x8b")):
        text = re.sub(rb"<[^>]*>|\s+", b" ", start[:300]).decode("ascii", "replace").strip()
        raise UnfitFileError(
            f"{product.name}: {address} gives no FITS file, but {kind}: {text[:80]!r}"
        )
    return itertools.chain([start], chunks)


def _checksums_of_fits_fail(part: Path) -> bool:
    """Whether a file's CHECKSUM and DATASUM cards, if it has any, deny what it holds."""
    with part.open("rb") as file:
        if file.read(6) != b"SIMPLE":
            return False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", AstropyUserWarning)
        with fits.open(part, checksum=True) as hdus:
            # Reads them all.
            len(hdus)
    return any("verification failed" in str(one.message) for one in told)


def _digest(path: Path, name: str) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).digest()


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _note(part: Path) -> Path:
    """Of which version of the server's file a part is."""
    return part.with_name(part.name + ".version")
