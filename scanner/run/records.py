"""The small records of a run, and the sums of its larger files: what is damaged is found.

Everything is flushed before what says that it is there, so that only a disk that lies, or fails,
tears it. A record holds the CRC32C of what it says; a marker the length and the CRC32C of every
file that it stands for. Records without them, of earlier versions, are taken as they are.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError

_SUM = "crc32c"
# The length of a file in bytes, and its CRC32C.
FileSum = tuple[int, int]


class DamagedError(InputError):
    """A file of a run that is not what was written."""


def write_record(path: Path, values: dict[str, Any]) -> None:
    """Write a record with its own sum: a reader never sees half of it."""
    write_json(path, values | {_SUM: _sum_of(values)})


def read_record(path: Path) -> dict[str, Any]:
    """Read a record back, without its sum.

    Raises
    ------
    DamagedError
        If it is not what was written.
    """
    try:
        values = json.loads(path.read_text())
        found = values.pop(_SUM, None)
    except (ValueError, AttributeError, TypeError):
        values, found = {}, ""
    if found is not None and found != _sum_of(values):
        raise DamagedError(f"{path}: is damaged; repeat the scan's command to have it made again")
    return dict(values)


def sum_of_parts(parts: Sequence[bytes | memoryview]) -> FileSum:
    """The sum of a file that consists of parts."""
    length, crc = 0, 0
    for part in filter(len, parts):
        # It takes no memory that could be written to.
        view = np.frombuffer(part, np.uint8)
        view.flags.writeable = False
        length, crc = length + len(part), google_crc32c.extend(crc, view)
    return length, int(crc)


def _sum_of(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True).encode()
    return f"{int(google_crc32c.value(text)):08x}"
