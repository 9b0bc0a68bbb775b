"""Bring one file here: resumed where it broke off, checked, and under its name only when whole."""

import errno
import hashlib
import itertools
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import requests
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from lensweep.ground.files import flush
from lensweep.scanner.archive.answers import (
    Answer,
    DamagedFileError,
    StaleError,
    UnfitFileError,
    read_head,
    refuse_length,
    stated_digests,
)
from lensweep.scanner.archive.names import safe_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services, first_line, wait_s
from lensweep.scanner.sky.origins import Origin, read_origin, write_origin
from lensweep.scanner.sky.remote import open_address, stat_address

# Each is a question of its own.
BUCKET_CHUNK_BYTES = 8 << 20
Advance = Callable[[int], None]


class Stopped(Exception):
    """The download was told to end; what is here stays, to go on from."""


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
            if isinstance(error, StaleError):
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
        answer = read_head(product, response, have)
        kind = response.headers.get("Content-Type", "no type")
        _receive(product, part, have, answer, kind, advance)
    return _checked(product, part, answer, advance)


def _try_bucket(product: Product, part: Path, have: int, advance: Advance) -> Origin:
    """The same from an object store, through fsspec, which asks several times by itself."""
    said = stat_address(product.address)
    refuse_length(product, product.address, said.size_bytes)
    start = have if _version_of(part) == said.version and have <= said.size_bytes else 0
    with open_address(product.address) as file:
        file.seek(start)
        chunks = iter(lambda: file.read(BUCKET_CHUNK_BYTES), b"")
        etag = f'"{said.version.strip(chr(34))}"'
        checks = stated_digests({"ETag": etag, "x-amz-request-id": ""})
        answer = Answer(start, said.size_bytes, said.version, said.version, product.address,
                         checks, chunks)  # fmt: skip
        _receive(product, part, have, answer, "an object", advance)
    return _checked(product, part, answer, advance)


def _receive(
    product: Product, part: Path, have: int, answer: Answer, kind: str, advance: Advance
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


def _refuse_without_room(product: Product, part: Path, answer: Answer) -> None:
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


def _checked(product: Product, part: Path, answer: Answer, advance: Advance) -> Origin:
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


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _note(part: Path) -> Path:
    """Of which version of the server's file a part is."""
    return part.with_name(part.name + ".version")
