"""Attempts at a piece of work: a record while it lasts, a limit of its time.

What kills the worker that touches it, or holds it for ever, is tried `ATTEMPTS` times. A record
that is still there belongs to a worker that died: a scheduler only knows which shards a dead
worker had been given, not which of them it was at.
"""

import json
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensweep.ground.files import make_folder
from lensweep.scanner.run.paths import RunPaths

ATTEMPTS = 3
# What a hung file system leaves of the time to write down that it hangs.
LAST_WORDS_S = 5.0
HUNG_STATUS = 124  # as timeout(1) ends


class AttemptsError(ValueError):
    """Work that was tried as often as it may be."""


@contextmanager
def attempt(paths: RunPaths, mosaic: str, shard: int, stage: str, limit_s: float) -> Iterator[None]:
    """Record that a shard is being worked on, and end this process if that takes too long.

    Only a process that another one watches and starts again is ended: a worker under a nanny.

    Parameters
    ----------
    paths : RunPaths
    mosaic, shard, stage
        What is worked on: `plan`, `cut` or `score`.
    limit_s : float

    Raises
    ------
    AttemptsError
        If `ATTEMPTS` workers have died of it already; the message says of each where and how.
    """
    record = _begin(paths, mosaic, shard, stage)
    over = threading.Event()
    if multiprocessing.parent_process() is not None:
        threading.Thread(target=_end_hung, args=(over, record, limit_s), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        record.unlink(missing_ok=True)


def _begin(paths: RunPaths, mosaic: str, shard: int, stage: str) -> Path:
    records = [paths.attempt(mosaic, shard, stage, number) for number in range(ATTEMPTS)]
    make_folder(records[0].parent)
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    for record in records:
        try:
            with record.open("x") as file:
                json.dump(here, file)
        except FileExistsError:
            continue
        except OSError:
            # A full disk is no attempt.
            record.unlink(missing_ok=True)
            raise
        return record
    ends = "; ".join(_end_of(record) for record in records)
    raise AttemptsError(
        f"mosaic {mosaic}: shard {shard}: {ATTEMPTS} workers ended at its {stage}: {ends}"
    )


def _end_of(record: Path) -> str:
    try:
        last = json.loads(record.read_text())
    except (OSError, ValueError):  # gone by now, or of a worker that died while writing it
        return "one died"
    return f"{last.get('how', 'died (killed, or out of memory)')} on {last.get('host')}"


def _end_hung(over: threading.Event, record: Path, limit_s: float) -> None:
    if over.wait(limit_s):
        return
    here = {"host": socket.gethostname(), "pid": os.getpid()}
    text = json.dumps({**here, "how": f"hung for more than {limit_s:g} s"})
    last_words = threading.Thread(target=record.write_text, args=(text,), daemon=True)
    last_words.start()
    last_words.join(LAST_WORDS_S)
    if not over.is_set():
        os._exit(HUNG_STATUS)
