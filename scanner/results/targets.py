"""What became of every target: a row for each row of the table of positions that was given."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lensweep.catalogs.candidates import ranks_of_detections
from lensweep.catalogs.schemas import TARGETS, provenance_of, with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.catalogs.target_lists import ASKED
from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.worth import FieldScores, asked_of
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.opening import ranking_in
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_windows
from lensweep.scanner.run.tally import failed_mosaics
from lensweep.scanner.run.target_list import kept_targets
from lensweep.scanner.sky.grid import grid_to_mosaic_pixels

OFF, FAILED = "off the mosaic", "failed"
# Of several windows at one target, the first of these tells most.
STATES = ("scored", "screened", "masked", FAILED)
_WORTH = ("p_lens", "false_per_deg2", "extrapolated")


def write_targets(
    paths: RunPaths, plans: Sequence[Plan], candidates: pa.Table, scores: FieldScores | None
) -> None:
    """Write what became of every target of a run whose ledger is written.

    Parameters
    ----------
    paths : RunPaths
    plans : sequence of Plan
        Of all mosaics that have one.
    candidates : pyarrow.Table
        As ranked, with their provenance.
    scores : FieldScores or None
        What `p_lens` is from.
    """
    targets = kept_targets(paths)
    assert targets is not None
    facts = provenance_of(candidates.schema)
    best = _best_windows(paths, plans).reindex(range(len(targets)))
    best["n_mosaics"] = best["n_mosaics"].fillna(0)
    unread = sorted(failed_mosaics(paths.root).keys() - {plan.mosaic.name for plan in plans})
    off = best["state"].isna()
    best.loc[off, "state"] = FAILED if unread else OFF
    best.loc[off, "reason"] = _why_off(len(plans), unread)
    best = _with_worth(best, scores, facts)
    ranks = _ranks(paths, plans, facts)
    where = pd.MultiIndex.from_frame(best[["mosaic", "window"]])
    best["candidate_rank"] = ranks.reindex(where).to_numpy()
    ids = dict(zip(candidates["rank"].to_pylist(), candidates["candidate_id"].to_pylist(),
                   strict=True))  # fmt: skip
    best["candidate_id"] = best["candidate_rank"].map(ids)
    write_parquet(with_provenance(_table(targets, best), facts), paths.targets)


def _table(targets: pa.Table, best: pd.DataFrame) -> pa.Table:
    """The columns of `TARGETS`, and behind them those of the given table."""
    fields = [*TARGETS, *(field for field in targets.schema if field.name not in ASKED)]
    columns = [
        targets[field.name] if field.name in targets.column_names
        else pa.array(best[field.name], field.type, from_pandas=True)
        for field in fields
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _best_windows(paths: RunPaths, plans: Sequence[Plan]) -> pd.DataFrame:
    """By target, for those that lie on a mosaic: the window that tells most of it."""
    with paths.ledger.open("rb") as file:
        ledger = pq.read_table(
            file, columns=["mosaic", "window", "state", "reason", "screen_logit"]
        ).to_pandas()
    by_mosaic = dict(list(ledger.groupby("mosaic")))
    parts = [
        _windows_of(paths, plan, by_mosaic.get(plan.mosaic.name, ledger.head(0))) for plan in plans
    ]
    seen = pd.concat(parts, ignore_index=True)
    seen["order"] = seen["state"].map({state: order for order, state in enumerate(STATES)})
    seen["n_mosaics"] = seen.groupby("target")["window"].transform("size")
    seen = seen.sort_values(
        ["target", "order", "logit_mean", "mosaic"], ascending=[True, True, False, True],
        kind="stable",
    )  # fmt: skip
    return seen.drop_duplicates("target").set_index("target")


def _windows_of(paths: RunPaths, plan: Plan, ledger: pd.DataFrame) -> pd.DataFrame:
    """What is known of a mosaic's windows, in their order."""
    name = plan.mosaic.name
    windows = read_windows(paths.root, name)
    logits, _, _ = score_store.read(paths.scores(name))
    scored = np.isfinite(logits).all(axis=1)
    x_pix, y_pix = grid_to_mosaic_pixels(plan.mosaic, plan.grid, windows.x, windows.y)
    rows = ledger.reset_index(drop=True).assign(
        target=windows.target,
        x_pix=x_pix,
        y_pix=y_pix,
        valid_fraction=cutout_store.read_column(paths.cutouts(name), "valid_fraction"),
        n_members=np.where(scored, logits.shape[1], np.nan),
    )
    for column, values in zip(
        ("p_mean", "p_std", "logit_mean"), summarise(logits[scored]), strict=True
    ):
        rows[column] = np.nan
        rows.loc[scored, column] = values
    return rows


def _with_worth(
    best: pd.DataFrame, scores: FieldScores | None, facts: dict[str, str]
) -> pd.DataFrame:
    best = best.assign(**dict.fromkeys(_WORTH))
    scored = best["logit_mean"].notna().to_numpy()
    if scores is None or not scored.any():
        return best
    calibration = scores.calibration(asked_of(facts)["centres"])
    score = best["logit_mean"].to_numpy(np.float64)[scored]
    found = (
        calibration.probability(score, ranking_in(facts)["lens_density"]),
        calibration.false.above(score),
        calibration.extrapolated(score),
    )
    for name, values in zip(_WORTH, found, strict=True):
        best.loc[scored, name] = values
    return best


def _ranks(paths: RunPaths, plans: Sequence[Plan], facts: dict[str, str]) -> "pd.Series[int]":
    """By mosaic and window of every detection, the rank of what it became."""
    detections = pd.concat(
        [
            read_detections(paths.root, plan, float(facts["min_logit"]), recentre=False)
            for plan in plans
        ],
        ignore_index=True,
    )
    ranks = ranks_of_detections(detections, float(facts["merge_radius_arcsec"]))
    return pd.Series(ranks, pd.MultiIndex.from_frame(detections[["mosaic", "window"]]))


def _why_off(n_mosaics: int, unread: Sequence[str]) -> str:
    if not unread:
        return f"on none of the {n_mosaics} mosaics" if n_mosaics > 1 else "not on the mosaic"
    return (
        f"on no mosaic that could be read; not read: {', '.join(unread[:3])}"
        f"{f' and {len(unread) - 3} more' if len(unread) > 3 else ''}"
    )
