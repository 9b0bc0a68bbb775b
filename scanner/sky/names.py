"""The name of a mosaic: what its files in a run's folder, its stores and its rows are called."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote

_IN_ADDRESS = re.compile(r"[\w.+-]+\.(?:fits|fit|fts)(?:\.(?:gz|fz))?(?![\w.])", re.IGNORECASE)
_FILE_ENDING = re.compile(r"(\.(fits|fit|fts))?(\.(gz|fz))?$", re.IGNORECASE)
# What object stores and shares of Windows take amiss ("Naming Amazon S3 objects: characters to
# avoid"; "Naming Files, Paths, and Namespaces"), patterns of file names among them.
_UNSAFE = frozenset('\\/:*?"<>|[]{}^%`~#')
# Of UTF-8. A file system takes 255; what is written aside has 40 more, and an ending.
LONGEST_BYTES = 100


def mosaic_name(path: str | Path) -> str:
    """A mosaic's name: its file name without `.fits`, `.fits.gz` or the like.

    It can be a file or a folder anywhere, and stays within the folder that it is put into. One that
    could not is changed, and ends with a hash of the file name, so that no two become the same; the
    path as given stands in the mosaic's plan.
    """
    whole = file_name(path)
    name = _FILE_ENDING.sub("", whole)
    safe = "".join("_" if char in _UNSAFE or not char.isprintable() else char for char in name)
    # Hidden files are those that are being written; `__` is Zarr's own, and `.json` of a run's.
    safe = re.sub(r"^(\.|__)+", "", safe).rstrip(". ")
    safe = re.sub(r"\.json$", "_json", safe, flags=re.IGNORECASE)
    if safe == name != "" and len(name.encode()) <= LONGEST_BYTES:
        return name
    short = safe.encode()[:LONGEST_BYTES].decode(errors="ignore")
    return f"{short or 'mosaic'}-{hashlib.sha256(_bytes(whole)).hexdigest()[:8]}"


def file_name(path: str | Path) -> str:
    """The last part of a path; of an address, the last word in it that is a FITS file's name.

    Archives give files by a query: `https://host/get.cgi?dataset=hst_10092_01_drz.fits&download=1`.
    """
    if not is_remote(path):
        return Path(path).name
    names = _IN_ADDRESS.findall(unquote(str(path)))
    return str(names[-1]) if names else Path(urlsplit(str(path)).path).name


def printable(text: str) -> str:
    """Text that any table, file or screen takes: bytes of a file name that are no UTF-8 as `\\xe9`.

    Python holds such bytes as lone surrogates (PEP 383), which cannot be encoded.
    """
    return _bytes(text).decode(errors="backslashreplace")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def file_names(given: Any, what: str) -> tuple[str, ...]:
    """The names of the files that a caller gives: one path, or several.

    Parameters
    ----------
    given : str, Path or iterable of them
        A single path is one file.
    what : str
        What they are, for the message: ``images``, ``mosaics``.

    Raises
    ------
    InputError
        If anything in it is no path, such as the pixels of an image.
    """
    several = [given] if isinstance(given, str | os.PathLike) else given
    if isinstance(several, Iterable) and not isinstance(several, bytes):
        # No list of a large array's pixels is made: the first that is no path ends it.
        names = []
        for one in several:
            if not isinstance(one, str | os.PathLike):
                break
            names.append(os.fsdecode(one))
        else:
            return tuple(names)
    shape = getattr(given, "shape", None)
    found = type(given).__name__ if shape is None else f"{type(given).__name__} of shape {shape}"
    raise InputError(f"{what}: a path of a file or several are needed, not {found}")
