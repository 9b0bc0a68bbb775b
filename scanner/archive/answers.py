"""What a server says of a file before its bytes: from where on, how long, of which version."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from lensweep.ground.errors import InputError
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError

# What is lost of the last piece when a connection breaks.
CHUNK_BYTES = 1 << 17
_GONE = frozenset({400, 401, 403, 404, 410, 451})


class UnfitFileError(InputError):
    """An address whose file cannot be used: not there, not FITS, or not what was listed."""


class DamagedFileError(ServiceError):
    """A file that arrived, and not as the server says that it is."""


class StaleError(DamagedFileError):
    """What is here of a file is of no use for the rest."""


@dataclass(frozen=True)
class Answer:
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


def read_head(product: Product, response: requests.Response, have: int) -> Answer:
    """What a server answers to a request for a file, or for the rest of it.

    Parameters
    ----------
    product : Product
    response : requests.Response
        Its bytes are still to come.
    have : int
        Bytes that are here.

    Raises
    ------
    UnfitFileError
        If the file is gone, not as long as it was listed, or not encrypted any more.
    StaleError
        If what is here is of no use for the rest.
    ServiceError
        If the server cannot answer now.
    """
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
        raise StaleError(f"{product.name}: what is here is longer than the file is now")
    if status == 206 and start != have:
        raise StaleError(f"{product.name}: the server gave another part than was asked for")
    if status not in (200, 206):
        raise ServiceError(
            f"{product.name}: {product.address} answers {status} {response.reason}; try later"
        )
    chunks = response.iter_content(CHUNK_BYTES)
    return _answer(product, response, start, total, chunks)


def _answer(
    product: Product, response: requests.Response, start: int, total: int | None, chunks: Any
) -> Answer:
    if total is not None:
        refuse_length(product, response.url, total)
    said = response.headers
    etag = said.get("ETag", "")
    # A weak ETag may stand for another file (RFC 9110, If-Range).
    version = said.get("Last-Modified", "") if etag.startswith("W/") or not etag else etag
    return Answer(start, total, etag, version, response.url, stated_digests(said), chunks)


def refuse_length(product: Product, address: str, total: int) -> None:
    """Refuse a file that is not as long as it was listed.

    Raises
    ------
    UnfitFileError
    """
    if product.size_bytes and total != product.size_bytes:
        raise UnfitFileError(
            f"{product.name}: listed with {product.size_bytes:,} bytes, but {address} has "
            f"{total:,}; ask again with `lensweep find`"
        )


def stated_digests(said: Any) -> dict[str, bytes]:
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


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
