"""Where a file came from: a small JSON file beside it, which ends in a run's provenance."""

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, whole_file
from lensweep.scanner.sky.names import file_name

FORMAT, VERSION = "lensweep-origin", 1
_ENDING = ".origin.json"


@dataclass(frozen=True)
class Origin:
    """Where a file was fetched, when, and what it was.

    Attributes
    ----------
    name : str
        Of the file.
    address : str
        That was asked for.
    final_address : str
        That answered, after redirects.
    fetched : str
        UTC, ISO 8601.
    size_bytes : int
    sha256 : str
        0 and empty where the file was not fetched, but read by section.
    etag : str
        As the server stated it; empty if it did not.
    collection, programme, survey, doi : str
        Of the product; empty if it was an address alone.
    """

    name: str
    address: str
    final_address: str
    fetched: str
    size_bytes: int
    sha256: str
    etag: str = ""
    collection: str = ""
    programme: str = ""
    survey: str = ""
    doi: str = ""


def origin_now(address: str, version: str) -> Origin:
    """The origin of what is read at its address, by section, from now on."""
    return Origin(
        name=file_name(address),
        address=address,
        final_address=address,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        size_bytes=0,
        sha256="",
        etag=version,
    )


def origin_path(file: Path) -> Path:
    """The origin's file beside a file."""
    return file.with_name(file.name + _ENDING)


def write_origin(origin: Origin, file: Path) -> None:
    """Write the origin of a file beside it."""
    values = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(origin)}
    with whole_file(origin_path(file)) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_origin(file: Path) -> Origin | None:
    """Read the origin of a file; None if none lies beside it.

    Raises
    ------
    InputError
        If it is there and is not what `write_origin` wrote.
    """
    path = origin_path(file)
    if not is_file(path):
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if (values.pop("format"), values.pop("version")) != (FORMAT, VERSION):
            raise InputError(f"{path}: not of this format")
        return Origin(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: cannot be used ({error}); remove it and its file, and fetch again"
        ) from error
