"""How much a command says while it works: the result alone, how far it is, or all that it does.

Errors are always said, and so is the result, which goes to stdout; the rest goes to stderr.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum


class Loudness(Enum):
    """How much is said."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


_loudness = ContextVar("loudness", default=Loudness.NORMAL)
_LOGGER = logging.getLogger("lensweep")
_LINE = "%(asctime)s  %(message)s"


def loudness() -> Loudness:
    """How much is said now."""
    return _loudness.get()


@contextmanager
def as_loud(as_this: Loudness) -> Iterator[None]:
    """Say as much until the block ends; `VERBOSE` shows the log, a line each with its time."""
    before = _loudness.set(as_this)
    handler = logging.StreamHandler(sys.stderr) if as_this is Loudness.VERBOSE else None
    if handler is not None:
        handler.setFormatter(logging.Formatter(_LINE, datefmt="%H:%M:%S"))
        _LOGGER.addHandler(handler)
        _LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        _loudness.reset(before)
        if handler is not None:
            _LOGGER.removeHandler(handler)
