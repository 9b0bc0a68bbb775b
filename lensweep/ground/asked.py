"""What was asked for, kept beside what came of it: nothing is continued as something else."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Change(NamedTuple):
    """Where two requests differ."""

    key: str
    was: Any
    now: Any


def first_change(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Change | None:
    """The first difference of two requests, by the names of their keys; None if there is none.

    Parameters
    ----------
    found, asked : mapping
        As JSON gives them back. A key that is absent is as one that is None.
    """
    for key in sorted(found.keys() | asked.keys()):
        if found.get(key) != asked.get(key):
            return Change(key, found.get(key), asked.get(key))
    return None


def digest_of(rows: Iterable[Any]) -> str:
    """SHA-256 of a list that is too long to be shown where it differs.

    Parameters
    ----------
    rows : iterable
        Of what JSON has, or has a text for.
    """
    return hashlib.sha256(json.dumps(list(rows), default=str).encode()).hexdigest()
