"""What was asked for, kept beside what came of it: nothing is continued as something else."""

from collections.abc import Mapping
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
