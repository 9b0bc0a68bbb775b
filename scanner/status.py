"""Where a run stands, told from its files alone: by another shell, or after it died."""

import json
from dataclasses import dataclass
from pathlib import Path

from scanner import ledger
from scanner.errors import InputError
from scanner.ledger import Tally
from scanner.paths import RunPaths

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
    windows_per_second : float or None
        Over the last shards; None before two of them are done.
    finished : bool
        The catalogue is written.
    """

    tally: Tally
    mosaics_asked: int
    mosaics_planned: int
    failed_mosaics: dict[str, str]
    windows_per_second: float | None
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
    asked = json.loads(paths.run.read_text())["asked"]
    names = ledger.planned_mosaics(root)
    return Status(
        sum((ledger.tally(root, name) for name in names), Tally()),
        len(asked["mosaics"]),
        len(names),
        ledger.failed_mosaics(root),
        _recent_rate(paths),
        paths.candidates.is_file(),
    )


def _recent_rate(paths: RunPaths) -> float | None:
    markers = (paths.root / "done").glob("*/*.score.json")
    recent = sorted((path.stat().st_mtime, path) for path in markers)[-RECENT_SHARDS:]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    outcomes = (json.loads(path.read_text()) for _, path in recent[1:])
    windows = sum(outcome["scored"] + outcome["masked"] for outcome in outcomes)
    return float(windows / (recent[-1][0] - recent[0][0]))
