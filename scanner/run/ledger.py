"""What became of every window: read off the files of a run, never kept beside them."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensweep.catalogs.schemas import LEDGER
from lensweep.catalogs.vo_tables import string_lengths, vo_metadata
from lensweep.ground.errors import TryAgainError
from lensweep.ground.files import whole_file
from lensweep.scanner.network.blank import BLANK_SIGNAL_TO_NOISE
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_windows
from lensweep.scanner.run.records import read_record
from lensweep.scanner.run.tally import Tally, tally
from lensweep.scanner.sky.grid import grid_to_sky


class LedgerError(RuntimeError):
    """Windows are unaccounted for; never expected, and never passed over."""


class LostScoresError(TryAgainError):
    """Scores that were written, and are not there, or not all of them."""


def write_ledger(root: Path, plans: Sequence[Plan], min_valid_fraction: float) -> Tally:
    """Write the ledger of a run and check it against its plans and its shards' markers.

    Returns
    -------
    Tally
        Over all plans.

    Raises
    ------
    LedgerError
        If a planned window is missing, or there twice.
    LostScoresError
        If what was written of shards cannot be read back; they are no longer marked as scored.
    """
    paths = RunPaths(root)
    total, first = Tally(), 0
    with whole_file(paths.ledger) as aside:
        _write_rows(aside, root, plans, min_valid_fraction)
        # Read back a mosaic at a time: a survey's ledger is larger than memory.
        with pq.ParquetFile(aside) as file:
            for plan in plans:
                groups = range(first, first + plan.n_shards)
                read = file.read_row_groups(list(groups), columns=["window", "state"])
                total += check(read.to_pandas(), plan, tally(root, plan.mosaic.name))
                first += plan.n_shards
    return total


def _write_rows(path: Path, root: Path, plans: Sequence[Plan], min_valid_fraction: float) -> None:
    lost: list[LostScoresError] = []
    lengths: Counter[str] = Counter()
    with pq.ParquetWriter(path, LEDGER) as writer:
        for plan in plans:
            windows = read_windows(root, plan.mosaic.name)
            sky = grid_to_sky(plan.grid, windows.x, windows.y)
            for shard in range(plan.n_shards):
                try:
                    rows = shard_ledger(root, plan, shard, min_valid_fraction, windows.corners, sky)
                except LostScoresError as error:
                    RunPaths(root).score_marker(plan.mosaic.name, shard).unlink()
                    lost.append(error)
                else:
                    writer.write_table(rows)
                    # The longest of all shards.
                    lengths |= Counter(string_lengths(rows))
        writer.add_key_value_metadata(vo_metadata(LEDGER, lengths))
    if lost:
        raise LostScoresError(f"{lost[0]}; shards lost in all: {len(lost)}, to be done again")


def shard_ledger(
    root: Path,
    plan: Plan,
    shard: int,
    min_valid_fraction: float,
    corners: NDArray[np.int32],
    sky: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> pa.Table:
    """The ledger of one shard, a row per window.

    Parameters
    ----------
    root, plan, shard
        Which shard of which run.
    min_valid_fraction : float
    corners : ndarray, shape (n_windows, 2), int32
        Of all windows of the mosaic.
    sky : tuple of two ndarray, shape (n_windows,), float64
        RA and Dec of all of them, ICRS degrees.

    Raises
    ------
    LedgerError
        If the shard is neither scored nor failed.
    LostScoresError
        If it was scored, and that cannot be read back.
    """
    paths, mosaic = RunPaths(root), plan.mosaic.name
    start, stop = plan.bounds(shard)
    if paths.score_marker(mosaic, shard).is_file():
        try:
            state, reason, screen_logit = _read_back(paths, plan, shard, min_valid_fraction)
        except ValueError as error:  # of Zarr: a file of another length, or ours
            raise LostScoresError(
                f"mosaic {mosaic}: shard {shard} was scored, but that is lost ({error})"
            ) from error
    elif paths.failure(mosaic, shard).is_file():
        why = read_record(paths.failure(mosaic, shard))["reason"]
        state, reason = ["failed"] * (stop - start), [why] * (stop - start)
        screen_logit = np.full(stop - start, np.nan, np.float32)
    else:
        raise LedgerError(f"mosaic {mosaic}: shard {shard} is neither scored nor failed")
    corners = corners[start:stop]
    columns = {
        "mosaic": [mosaic] * (stop - start),
        "shard": np.full(stop - start, shard, np.int32),
        "window": np.arange(start, stop, dtype=np.int64),
        "x0": corners[:, 0],
        "y0": corners[:, 1],
        "ra_deg": sky[0][start:stop],
        "dec_deg": sky[1][start:stop],
        "state": state,
        "reason": reason,
        "screen_logit": pa.array(screen_logit, from_pandas=True),
    }
    return pa.table(columns, schema=LEDGER)


def _read_back(
    paths: RunPaths, plan: Plan, shard: int, min_valid_fraction: float
) -> tuple[list[str], list[str | None], NDArray[np.float32]]:
    """State, reason and screen logit of a scored shard's windows."""
    mosaic, (start, stop) = plan.mosaic.name, plan.bounds(shard)
    marker = read_record(paths.score_marker(mosaic, shard))
    found = score_store.read_written(paths.scores(mosaic), start, stop, marker.get("files"))
    logits, dx, dy, peak_sn, screen_logit = (
        found[name] for name in ("member_logits", *score_store.COLUMNS)
    )
    valid = cutout_store.read_column(paths.cutouts(mosaic), "valid_fraction", start, stop)
    screened = _why_screened(peak_sn, screen_logit, marker["screen_threshold"])
    state, reason = _outcomes(logits, valid, min_valid_fraction, screened)
    # To Zarr, what is lost is as if it had never been: all NaN.
    for outcome in ("scored", "screened", "masked"):
        if state.count(outcome) != marker[outcome]:
            raise ValueError(
                f"{state.count(outcome)} windows {outcome}, but its marker says {marker[outcome]}"
            )
    scored = np.isfinite(logits).all(axis=1)
    if np.isnan(valid).any() or np.isnan((dx, dy, peak_sn))[:, scored].any():
        raise ValueError("no numbers where there should be some")
    return state, reason, screen_logit


def _outcomes(
    logits: NDArray[np.float32],
    valid_fraction: NDArray[np.generic],
    min_valid_fraction: float,
    screened: Sequence[str | None],
) -> tuple[list[str], list[str | None]]:
    states: list[str] = []
    reasons: list[str | None] = []
    scored = np.asarray(np.isfinite(logits).all(axis=1))
    for ok, passed_over, value in zip(scored, screened, valid_fraction, strict=True):
        if ok:
            states.append("scored")
            reasons.append(None)
        elif passed_over is not None:
            states.append("screened")
            reasons.append(passed_over)
        else:
            states.append("masked")
            low = f"valid fraction {value:.3f} < {min_valid_fraction:g}"
            reasons.append(low if value else "no data")
    return states, reasons


def _why_screened(
    peak_sn: NDArray[np.float32], screen_logit: NDArray[np.float32], threshold: float | None
) -> list[str | None]:
    """Why each window would be passed over; None for those that were not looked at."""
    reasons: list[str | None] = []
    for peak, logit in zip(peak_sn.tolist(), screen_logit.tolist(), strict=True):
        if math.isnan(peak):
            reasons.append(None)
        elif math.isnan(logit):
            reasons.append(f"blank: peak S/N {peak:.1f} < {BLANK_SIGNAL_TO_NOISE:g}")
        else:
            reasons.append(f"screen: {logit:+.2f} < {threshold:+.2f}")
    return reasons


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
    order = ("scored", "masked", "failed", "screened")
    rows = Tally(len(ledger), *(int(states.get(state, 0)) for state in order))
    if rows != counted:
        raise LedgerError(f"mosaic {name}: the ledger has {rows}, its shards' markers {counted}")
    return counted
