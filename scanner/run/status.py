"""Where a run stands, told from its files alone: by another shell, or after it died."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensweep.ground.errors import InputError
from lensweep.ground.progress import duration
from lensweep.ground.terminal import plain_console
from lensweep.scanner.run.lock import read_holder
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import read_record
from lensweep.scanner.run.tally import Tally, failed_mosaics, planned_mosaics, tally

# The rate is that of the last shards: the first ones include the start of the workers.
RECENT_SHARDS = 20


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes
    ----------
    tally : Tally
        Over all planned mosaics.
    mosaics_asked, mosaics_planned : int
    failed_mosaics : dict of str to str
        Mosaics that could not be planned, each with the reason.
    cut : int
        Windows whose pixels are stored, whether they are scored by now or not.
    windows_per_second : float or None
        Over the last shards since the command was last given; None before two of them are done.
        Of cutting, while nothing is scored yet.
    seconds_since_last : float or None
        Since the last shard was done, or cut while nothing is scored; None before the first.
    finished : bool
        Nothing is left to do, and the catalogue is written.
    """

    tally: Tally
    mosaics_asked: int
    mosaics_planned: int
    failed_mosaics: dict[str, str]
    cut: int
    windows_per_second: float | None
    seconds_since_last: float | None
    finished: bool

    @property
    def only_cutting(self) -> bool:
        """Whether windows are cut, and none is scored yet."""
        return self.cut > 0 and not self.tally.done

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None if there is none, or it is that of cutting alone."""
        if not self.windows_per_second or self.only_cutting:
            return None
        return self.tally.waiting / self.windows_per_second


def read_status(root: Path) -> Status:
    """Read where a run stands.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    paths = RunPaths(root)
    if not paths.run.is_file():
        raise InputError(f"{root}: no run in this folder (no {paths.run.name})")
    asked = read_record(paths.run)["asked"]
    names = planned_mosaics(root)
    failed = failed_mosaics(root)
    total = sum((tally(root, name) for name in names), Tally())
    known = len(set(names) | set(failed))
    scored = {path for name in names for path in paths.score_markers(name)}
    # Those of shards that are scored say nothing more.
    cut = {
        path for name in names for path in paths.cut_markers(name)
        if path.with_name(path.name.replace(".cut.", ".score.")) not in scored
    }  # fmt: skip
    done = sorted((path.stat().st_mtime, path) for path in scored or cut)
    return Status(
        total,
        len(asked["mosaics"]),
        len(names),
        failed,
        total.done + sum(int(read_record(path)["windows"]) for path in cut),
        _recent_rate(done, paths.run.stat().st_mtime),
        time.time() - done[-1][0] if done else None,
        paths.candidates.is_file() and not total.waiting and known == len(asked["mosaics"]),
    )


def _recent_rate(done: list[tuple[float, Path]], started: float) -> float | None:
    """Windows per second over the last shards; those of an earlier attempt do not count."""
    recent = [(when, path) for when, path in done[-RECENT_SHARDS:] if when >= started]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    windows = sum(_windows_in(read_record(path)) for _, path in recent[1:])
    return windows / (recent[-1][0] - recent[0][0])


def _windows_in(marker: dict[str, Any]) -> int:
    """How many windows a marker of a shard stands for."""
    states = ("windows",) if "windows" in marker else ("scored", "masked", "screened")
    return sum(int(marker[state]) for state in states)


def show_status(root: Path) -> None:
    """Print where a run stands."""
    status, console = read_status(root), plain_console()
    console.print(f"mosaics   {status.mosaics_planned:,} of {status.mosaics_asked:,} planned")
    console.print(f"planned   {status.tally.planned:,} windows")
    console.print(f"cut       {status.cut:,} windows")
    for state in ("scored", "screened", "masked", "failed", "waiting"):
        console.print(f"{state:9s} {getattr(status.tally, state):,} windows")
    if status.finished:
        console.print("finished  the catalogue is written")
    elif status.seconds_since_last is not None:
        what = "cut" if status.only_cutting else "done"
        console.print(f"last      shard {what} {duration(status.seconds_since_last)} ago")
    if not status.finished and status.windows_per_second:
        left = status.seconds_left
        ending = "cut" if left is None else f"{duration(left)} left at that rate"
        console.print(f"rate      {status.windows_per_second:,.0f} windows/s, {ending}")
    holder = read_holder(root)
    if holder is not None and not holder.is_gone:
        console.print(f"command   {holder}")
    elif not status.finished:
        console.print("          no command is at it: repeat it to continue")
    for reason in status.failed_mosaics.values():
        console.print(f"failed    {reason}", style="red")
