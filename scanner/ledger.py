"""What became of every window: read off the files of a run, never kept beside them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from catalogs.schemas import LEDGER
from numpy.typing import NDArray

from scanner import cutout_store
from scanner.paths import RunPaths
from scanner.plan import Plan, read_plan, read_windows


@dataclass(frozen=True)
class Tally:
    """Counts of windows.

    Attributes
    ----------
    planned, scored, masked, failed : int
    """

    planned: int = 0
    scored: int = 0
    masked: int = 0
    failed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.planned + other.planned,
            self.scored + other.scored,
            self.masked + other.masked,
            self.failed + other.failed,
        )

    @property
    def waiting(self) -> int:
        """Planned windows of which nothing has become yet."""
        return self.planned - self.scored - self.masked - self.failed


class LedgerError(RuntimeError):
    """Windows are unaccounted for; never expected, and never passed over."""


def planned_mosaics(root: Path) -> list[str]:
    """Names of the mosaics that have a plan, sorted."""
    return sorted(path.stem for path in RunPaths(root).plans.glob("*.json"))


def failed_mosaics(root: Path) -> dict[str, str]:
    """Mosaics that could not be planned, each with the reason."""
    folder = RunPaths(root).root / "failed"
    return {path.stem: json.loads(path.read_text())["reason"] for path in folder.glob("*.json")}


def tally(root: Path, mosaic: str) -> Tally:
    """Count the windows of one mosaic from the markers of its shards."""
    paths, plan = RunPaths(root), read_plan(root, mosaic)
    counts = Tally(planned=plan.n_windows)
    for shard, (start, stop) in enumerate(plan.shards):
        marker = paths.score_marker(mosaic, shard)
        if marker.is_file():
            outcome = json.loads(marker.read_text())
            counts += Tally(scored=outcome["scored"], masked=outcome["masked"])
        elif paths.failure(mosaic, shard).is_file():
            counts += Tally(failed=stop - start)
    return counts


def shard_ledger(root: Path, plan: Plan, shard: int, min_valid_fraction: float) -> pa.Table:
    """The ledger of one shard, a row per window.

    Raises
    ------
    LedgerError
        If the shard is neither scored nor failed.
    """
    paths, mosaic = RunPaths(root), plan.mosaic.name
    start, stop = plan.shards[shard]
    if paths.score_marker(mosaic, shard).is_file():
        valid = np.asarray(
            cutout_store.read_column(paths.cutouts(mosaic), "valid_fraction", start, stop)
        )
        state, reason = _outcomes(valid, min_valid_fraction)
    elif paths.failure(mosaic, shard).is_file():
        why = json.loads(paths.failure(mosaic, shard).read_text())["reason"]
        state, reason = ["failed"] * (stop - start), [why] * (stop - start)
    else:
        raise LedgerError(f"mosaic {mosaic}: shard {shard} is neither scored nor failed")
    corners = read_windows(root, mosaic).corners[start:stop]
    columns = {
        "mosaic": [mosaic] * (stop - start),
        "shard": np.full(stop - start, shard, np.int32),
        "window": np.arange(start, stop, dtype=np.int64),
        "x0": corners[:, 0],
        "y0": corners[:, 1],
        "state": state,
        "reason": reason,
    }
    return pa.table(columns, schema=LEDGER)


def _outcomes(
    valid_fraction: NDArray[np.generic], min_valid_fraction: float
) -> tuple[list[str], list[str | None]]:
    scored = valid_fraction >= min_valid_fraction
    reasons = [
        None if ok else f"valid fraction {value:.3f} < {min_valid_fraction:g}"
        for ok, value in zip(scored, valid_fraction, strict=True)
    ]
    return ["scored" if ok else "masked" for ok in scored], reasons


def check(ledger: pd.DataFrame, root: Path) -> None:
    """Check that every planned window is in the ledger exactly once.

    Raises
    ------
    LedgerError
        If one is missing, or there twice.
    """
    for mosaic in planned_mosaics(root):
        windows = np.sort(ledger.loc[ledger["mosaic"] == mosaic, "window"].to_numpy())
        planned = read_plan(root, mosaic).n_windows
        if not np.array_equal(windows, np.arange(planned)):
            raise LedgerError(
                f"mosaic {mosaic}: {planned} windows planned, {len(windows)} rows in the ledger"
            )
