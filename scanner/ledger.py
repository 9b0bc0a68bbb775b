"""What became of every window: read off the files of a run, never kept beside them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from catalogs.schemas import LEDGER
from scanner import cutout_store, score_store
from scanner.paths import RunPaths
from scanner.plan import Plan, read_windows
from scanner.tally import Tally, tally


class LedgerError(RuntimeError):
    """Windows are unaccounted for; never expected, and never passed over."""


def write_ledger(root: Path, plans: Sequence[Plan], min_valid_fraction: float) -> Tally:
    """Write the ledger of a run and check it against its plans and its shards' markers.

    Returns
    -------
    Tally
        Over all plans.

    Raises
    ------
    LedgerError
        If a planned window is missing, there twice, or not what its shard's marker says.
    """
    paths = RunPaths(root)
    partial = paths.ledger.with_name(f".{paths.ledger.name}.partial")
    with pq.ParquetWriter(partial, LEDGER) as writer:
        for plan in plans:
            for shard in range(len(plan.shards)):
                writer.write_table(shard_ledger(root, plan, shard, min_valid_fraction))
    ledger = pd.read_parquet(partial, columns=["mosaic", "window", "state"])
    total = Tally()
    for plan in plans:
        of_mosaic = ledger[ledger["mosaic"] == plan.mosaic.name]
        total += check(of_mosaic, plan, tally(root, plan.mosaic.name))
    partial.replace(paths.ledger)
    return total


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
        logits, _, _ = score_store.read(paths.scores(mosaic), start, stop)
        valid = cutout_store.read_column(paths.cutouts(mosaic), "valid_fraction", start, stop)
        state, reason = _outcomes(logits, valid, min_valid_fraction)
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
    logits: NDArray[np.float32], valid_fraction: NDArray[np.generic], min_valid_fraction: float
) -> tuple[list[str], list[str | None]]:
    scored = np.asarray(np.isfinite(logits).all(axis=1))
    masked = (
        f"valid fraction {value:.3f} < {min_valid_fraction:g}" if value else "no data"
        for value in valid_fraction
    )
    reasons = [None if ok else why for ok, why in zip(scored, masked, strict=True)]
    return ["scored" if ok else "masked" for ok in scored], reasons


def check(ledger: pd.DataFrame, plan: Plan, counted: Tally) -> Tally:
    """Check that every planned window of a mosaic is in the ledger once, as its shard counted it.

    Parameters
    ----------
    ledger : DataFrame
        The mosaic's rows.
    plan : Plan
    counted : Tally
        What the shards' markers say.

    Returns
    -------
    Tally
        The same as `counted`.

    Raises
    ------
    LedgerError
        If a window is missing, there twice, or the sums differ.
    """
    name, windows = plan.mosaic.name, np.sort(ledger["window"].to_numpy())
    if not np.array_equal(windows, np.arange(plan.n_windows)):
        raise LedgerError(
            f"mosaic {name}: {plan.n_windows} windows planned, {len(windows)} rows in the ledger"
        )
    states = ledger["state"].value_counts()
    rows = Tally(len(ledger), *(int(states.get(s, 0)) for s in ("scored", "masked", "failed")))
    if rows != counted:
        raise LedgerError(f"mosaic {name}: the ledger has {rows}, its shards' markers {counted}")
    return counted
