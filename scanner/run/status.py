"""Where a run stands, told from its files alone: by another shell, or after it died."""

import time
from dataclasses import dataclass
from pathlib import Path

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
    windows_per_second : float or None
        Over the last shards since the command was last given; None before two of them are done.
    seconds_since_last : float or None
        Since the last shard was done; None before the first.
    finished : bool
        Nothing is left to do, and the catalogue is written.
    """

    tally: Tally
    mosaics_asked: int
    mosaics_planned: int
    failed_mosaics: dict[str, str]
    windows_per_second: float | None
    seconds_since_last: float | None
    finished: bool

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None if there is none."""
        if not self.windows_per_second:
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
    done = sorted(
        (path.stat().st_mtime, path) for name in names for path in paths.score_markers(name)
    )
    return Status(
        total,
        len(asked["mosaics"]),
        len(names),
        failed,
        _recent_rate(done, paths.run.stat().st_mtime),
        time.time() - done[-1][0] if done else None,
        paths.candidates.is_file() and not total.waiting and known == len(asked["mosaics"]),
    )


def _recent_rate(done: list[tuple[float, Path]], started: float) -> float | None:
    """Windows per second over the last shards; those of an earlier attempt do not count."""
    recent = [(when, path) for when, path in done[-RECENT_SHARDS:] if when >= started]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    outcomes = (read_record(path) for _, path in recent[1:])
    states = ("scored", "masked", "screened")
    windows = sum(outcome[state] for outcome in outcomes for state in states)
    return float(windows / (recent[-1][0] - recent[0][0]))


def show_status(root: Path) -> None:
    """Print where a run stands."""
    status, console = read_status(root), plain_console()
    console.print(f"mosaics   {status.mosaics_planned:,} of {status.mosaics_asked:,} planned")
    for state in ("planned", "scored", "screened", "masked", "failed", "waiting"):
        console.print(f"{state:9s} {getattr(status.tally, state):,} windows")
    if status.finished:
        console.print("finished  the catalogue is written")
    elif status.seconds_since_last is not None:
        console.print(f"last      shard done {duration(status.seconds_since_last)} ago")
    if not status.finished and status.windows_per_second:
        console.print(
            f"rate      {status.windows_per_second:,.0f} windows/s, "
            f"{duration(status.seconds_left or 0.0)} left at that rate"
        )
    holder = read_holder(root)
    if holder is not None and not holder.is_gone:
        console.print(f"command   {holder}")
    elif not status.finished:
        console.print("          no command is at it: repeat it to continue")
    for reason in status.failed_mosaics.values():
        console.print(f"failed    {reason}", style="red")
