"""How far a command is, kept in its folder for who asks elsewhere: `lensweep status FOLDER`."""

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lensweep.ground.atomic import write_json
from lensweep.ground.progress import Progress, duration, open_progress
from lensweep.ground.terminal import plain_console

# What begins with a dot is no part of a data set, or of a bundle.
RECORD = ".progress.json"
SECONDS_BETWEEN_WRITES = 2.0


@dataclass
class KeptStage:
    """One stage of a command; times are seconds since 1970."""

    name: str
    unit: str
    total: int
    resumed: int
    done: int
    started: float
    changed: float

    @property
    def rate(self) -> float | None:
        """Units a second of this command; None before there are two."""
        done, took = self.done - self.resumed, self.changed - self.started
        return done / took if done and took > 0.0 else None

    def __str__(self) -> str:
        words = f"{self.name:<9} {self.done:,} of {self.total:,} {self.unit}"
        left = self.total - self.done
        if self.rate and left > 0:
            words += f", {duration(left / self.rate)} left at the present rate"
        return words


@dataclass
class Kept:
    """What a command keeps of itself.

    Attributes
    ----------
    command : str
    host, pid
        Of its process.
    heard : float
        When it was last written, seconds since 1970.
    ended : bool or None
        Whether it came to its end: true if well, false if not, None while it is at work.
    stages : list of KeptStage
    """

    command: str
    host: str
    pid: int
    heard: float
    ended: bool | None = None
    stages: list[KeptStage] = field(default_factory=list)

    @property
    def state(self) -> str:
        """What it is doing, in a few words."""
        if self.ended is not None:
            return "finished" if self.ended else "stopped: repeat it to continue"
        if self.host == socket.gethostname() and not psutil.pid_exists(self.pid):
            return "its process is gone: repeat it to continue"
        ago = duration(max(0.0, time.time() - self.heard))
        return f"at work, process {self.pid} on {self.host}, last heard of {ago} ago"


class KeptProgress:
    """Progress that is shown as before, and kept in a file.

    Parameters
    ----------
    shown : Progress
    path : Path
        Its folder need not be there before the first stage.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, shown: Progress, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._shown, self._path, self._clock = shown, path, clock
        self._kept = Kept(" ".join(sys.argv), socket.gethostname(), os.getpid(), clock())
        self._own: dict[int, KeptStage] = {}

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        """Begin a stage of `total` units, `done` of them by an earlier run; its number."""
        number, now = self._shown.stage(name, total, done, unit), self._clock()
        self._own[number] = KeptStage(name, unit, total, done, done, now, now)
        self._kept.stages.append(self._own[number])
        self._write()
        return number

    def advance(self, stage: int, n: int) -> None:
        """Say that n more units of a stage are done."""
        self._shown.advance(stage, n)
        own = self._own[stage]
        own.done, own.changed = own.done + n, self._clock()
        if own.done >= own.total or own.changed - self._kept.heard >= SECONDS_BETWEEN_WRITES:
            self._write()

    def note(self, text: str) -> None:
        """Write a line of its own."""
        self._shown.note(text)

    def end(self, well: bool) -> None:
        """Say that the command came to its end; of one that began nothing, nothing is kept."""
        self._kept.ended = well
        if self._own:
            self._write()

    def _write(self) -> None:
        self._kept.heard = self._clock()
        # A disk that is full stops a command where its results do not fit, not here.
        with suppress(OSError):
            write_json(self._path, dataclasses.asdict(self._kept))


@contextmanager
def keep_progress(folder: Path) -> Iterator[Progress]:
    """Show progress as `open_progress` does, and keep it in a folder of this machine."""
    with open_progress() as shown:
        kept, well = KeptProgress(shown, folder / RECORD), False
        try:
            yield kept
            well = True
        finally:
            kept.end(well)


def read_kept(folder: Path) -> Kept | None:
    """What a command keeps of itself in its folder; None if there was none."""
    try:
        values = json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    stages = [KeptStage(**one) for one in values.pop("stages")]
    return Kept(**values, stages=stages)


def show_kept(kept: Kept) -> None:
    """Print how far a command is."""
    console = plain_console()
    console.print(f"command   {kept.command}")
    console.print(f"          {kept.state}")
    for stage in kept.stages:
        console.print(str(stage))
