"""What stands above the candidates: where was looked, how the scores lie, what lists are worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.scanner.lenses.recall import Recall, measure_recall
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.tally import Tally, failed_mosaics, planned_mosaics, tally

BINS = 40
# Ranks at which a curve is drawn: finer than a screen shows.
CURVE_POINTS = 400
PURITY = "expected_purity"


def histogram(logit_mean: NDArray[np.float64]) -> dict[str, list[float]]:
    """Counts of candidates by mean logit: ``edges`` (one more than bins) and ``counts``."""
    if not len(logit_mean):
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(logit_mean, BINS)
    return {"edges": np.round(edges, 3).tolist(), "counts": counts.tolist()}


def purity_curve(candidates: pd.DataFrame) -> dict[str, list[float]] | None:
    """Expected purity of the list down to each rank, with its interval; None if unknown."""
    if PURITY not in candidates or candidates[PURITY].isna().all():
        return None
    ranked = candidates.sort_values("rank")
    ranks = np.unique(np.geomspace(1, len(ranked), CURVE_POINTS).astype(int)) - 1
    columns = {"value": PURITY, "low": f"{PURITY}_low", "high": f"{PURITY}_high"}
    drawn = {"rank": "rank"} | {key: name for key, name in columns.items() if name in ranked}
    return {
        key: np.round(ranked[name].to_numpy(float)[ranks], 5).tolist()
        for key, name in drawn.items()
    }


def recall_of(root: Path, radius_arcsec: float) -> dict[str, Any]:
    """What became of the known lenses in the footprint.

    Returns
    -------
    dict
        ``radius_arcsec``; ``summary``, a row per catalogue and grade with lenses in the footprint;
        ``lenses``, each of them with its candidate.
    """
    recall = measure_recall(root, known_lenses(()), radius_arcsec)
    return {
        "radius_arcsec": radius_arcsec,
        "summary": _rows(
            recall.summary[recall.summary["n_observed"] > 0],
            "catalogue", "grade", "n_observed", "n_candidates", "recall", "recall_low",
            "recall_high",
        ),
        "lenses": _observed(recall),
    }  # fmt: skip


def completeness_of(root: Path) -> dict[str, Any] | None:
    """The completeness that was measured on the run; None where none was.

    Returns
    -------
    dict or None
        ``depths``: how deep a list was looked at, by name; ``shares``: a row per bin, with ``by``,
        ``value``, ``n``, and the share found at every depth with the ends of its interval.
    """
    path = RunPaths(root).completeness / "completeness.parquet"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        shares = pd.read_parquet(file)
    depths = [name for name in shares if f"{name}_low" in shares]
    names = ["by", "value", "n", *(f"{d}{end}" for d in depths for end in ("", "_low", "_high"))]
    return {"depths": depths, "shares": _rows(shares, *names)}


def ledger_of(root: Path) -> dict[str, Any]:
    """Counts of windows by what became of them, and the mosaics that could not be planned."""
    names = planned_mosaics(root)
    total = sum((tally(root, name) for name in names), Tally())
    counts = {name: getattr(total, name) for name in
              ("planned", "scored", "screened", "masked", "failed")}  # fmt: skip
    return counts | {"mosaics": len(names), "failed_mosaics": failed_mosaics(root)}


def _observed(recall: Recall) -> list[dict[str, Any]]:
    observed = recall.lenses[recall.lenses["observed"]]
    return _rows(
        observed.sort_values("logit_mean", ascending=False, kind="stable"),
        "catalogue", "known_name", "grade", "rank", "candidate_id", "separation_arcsec",
    )  # fmt: skip


def _rows(table: pd.DataFrame, *names: str) -> list[dict[str, Any]]:
    """Rows as JSON takes them: what is missing is None."""
    return [
        {name: plain(row[name]) for name in names} for row in table[list(names)].to_dict("records")
    ]


def plain(value: Any) -> Any:
    """A cell of a table as JSON takes it: missing is None, numbers have six digits."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
