"""Counts of what became of the windows, from the markers of their shards; quick to import."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import read_record


@dataclass(frozen=True)
class Tally:
    """Counts of windows.

    Attributes
    ----------
    planned, scored, masked, failed, screened : int
        Screened: looked at, and passed over as blank or by the screen.
    """

    planned: int = 0
    scored: int = 0
    masked: int = 0
    failed: int = 0
    screened: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.planned + other.planned,
            self.scored + other.scored,
            self.masked + other.masked,
            self.failed + other.failed,
            self.screened + other.screened,
        )

    @property
    def waiting(self) -> int:
        """Planned windows of which nothing has become yet."""
        return self.planned - self.scored - self.masked - self.failed - self.screened

    @property
    def done(self) -> int:
        """Windows of which the run knows what they are: scored, masked or screened."""
        return self.scored + self.masked + self.screened

    @property
    def seen(self) -> int:
        """Windows that were looked at: scored, or screened."""
        return self.scored + self.screened


def planned_mosaics(root: Path) -> list[str]:
    """Names of the mosaics that have a plan, sorted."""
    return sorted(path.stem for path in RunPaths(root).plans.glob("*.json"))


def failed_mosaics(root: Path) -> dict[str, str]:
    """Mosaics that could not be planned, each with the reason."""
    paths = sorted(RunPaths(root).failures.glob("*.json"))
    return {path.stem: read_record(path)["reason"] for path in paths}


def tally(root: Path, mosaic: str) -> Tally:
    """Count the windows of one mosaic from the markers of its shards."""
    paths = RunPaths(root)
    counts = Tally(planned=read_record(paths.plan(mosaic))["n_windows"])
    for marker in paths.score_markers(mosaic):
        outcome = read_record(marker)
        counts += Tally(
            scored=outcome["scored"], masked=outcome["masked"], screened=outcome["screened"]
        )
    for failure in paths.shard_failures(mosaic):
        counts += Tally(failed=read_record(failure)["windows"])
    return counts


def windows_by_precision(root: Path, mosaics: Sequence[str]) -> dict[str, int]:
    """How many windows were scored in which precision, and what shows that it may be used."""
    counts: Counter[str] = Counter()
    for mosaic in mosaics:
        for marker in RunPaths(root).score_markers(mosaic):
            outcome = read_record(marker)
            shown_by = outcome.get("precision_shown_by")
            precision = str(outcome["precision"])
            counts[f"{precision}, by {shown_by}" if shown_by else precision] += outcome["scored"]
    return dict(counts)
