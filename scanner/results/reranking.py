"""Rank a finished run by another aggregate of its members; needs no pixels and no network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import rankdata

from lensweep.catalogs.candidates import build_candidates
from lensweep.catalogs.lensflow_grades import lensflow_scheme
from lensweep.catalogs.schemas import CANDIDATES, Column, with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.finished_run import bundle_of, read_facts
from lensweep.scanner.results.worth import (
    FieldScores,
    as_candidates,
    asked_of,
    describe_fields,
    find_field_scores,
    with_worth,
)
from lensweep.scanner.run import score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.opening import ranking_facts, ranking_in
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.run.tally import planned_mosaics

AGGREGATES = ("mean", "median", "rank")
_SCORE = Column(
    "aggregate_score", pa.float64(), "", "stat.value",
    "Aggregate of the members' logits that the ranking follows; which one, the file metadata say.",
)  # fmt: skip
_RANK = Column("rank", pa.int32(), "", "stat.rank", "1 for the highest aggregate_score.")
RERANKED = pa.schema([_RANK.field(), *list(CANDIDATES)[1:], _SCORE.field()])


def rerank(
    root: Path,
    aggregate: str = "mean",
    ensemble: str | None = None,
    **ranking: float | None,
) -> Path:
    """Rank a finished run in another way, into a new catalogue beside the old one.

    As many windows become detections as reach the least mean logit: those with the highest
    aggregate score. Everything else is computed as the run did: `p_lens` follows a window's mean
    logit whatever it is ranked by.

    Parameters
    ----------
    root : Path
        The run's folder.
    aggregate : str
        ``mean`` or ``median`` of the members' logits, or ``rank``, the mean of each window's
        normalised rank among all windows by every member.
    ensemble : str or None
        Where the run's ensemble lies, if it is not a shipped one.
    **ranking
        Fields of `ScanConfig` that decide the ranking; those that are None stay as in the run.

    Returns
    -------
    Path
        ``candidates-<aggregate>.parquet``, of the columns of `RERANKED`; its name tells further
        what else is not as in the run.

    Raises
    ------
    InputError
        If the run is not finished, the ensemble is not the run's, or the aggregate is not known.
    lensweep.scanner.run.lock.HeldError
        If another command is at work in the run.
    """
    if aggregate not in AGGREGATES:
        raise InputError(f"aggregate {aggregate}: none of {', '.join(AGGREGATES)}")
    facts = read_facts(root)
    bundle = bundle_of(facts, ensemble)
    changed = _changed(root, facts, ranking)
    facts |= ranking_facts(changed)
    label = "-".join([aggregate, *(f"{name}={value:g}" for name, value in changed.items())])
    more = {"aggregate": aggregate, "lensflow_grades": lensflow_scheme()}
    scores = find_field_scores(bundle, RunPaths(root), asked_of(facts)["centres"])
    more |= describe_fields(scores)
    paths = RunPaths(root)
    with sole_writer(paths):
        rows = _ranked(root, facts, scores, _score_of(root, aggregate))
        rows = rows.replace_schema_metadata()
        write_parquet(with_provenance(rows, facts | more), paths.reranked(label))
    return paths.reranked(label)


def _changed(
    root: Path, facts: dict[str, str], ranking: dict[str, float | None]
) -> dict[str, float]:
    """What is asked for and not as in the run; checked as the options of a scan are."""
    asked = {name: value for name, value in ranking.items() if value is not None}
    ScanConfig((str(root),), str(root), **asked)  # type: ignore[arg-type]
    was = ranking_in(facts)
    return {name: value for name, value in asked.items() if value != was[name]}


def _ranked(
    root: Path, facts: dict[str, str], scores: FieldScores | None, score: "Score"
) -> pa.Table:
    detections = _detections(root, facts, score)
    by = ["mosaic", "window"]
    originals = detections.set_index(by)[["logit_mean", "aggregate_score"]]
    table = build_candidates(
        detections.assign(logit_mean=detections["aggregate_score"]),
        float(facts["merge_radius_arcsec"]),
        float(facts["match_radius_arcsec"]),
        limit=None,
    ).to_pandas()
    own = originals.reindex(pd.MultiIndex.from_frame(table[by]))
    table["logit_mean"] = own["logit_mean"].to_numpy(np.float32)
    table["aggregate_score"] = own["aggregate_score"].to_numpy(np.float64)
    density = ranking_in(facts)["lens_density"]
    ranked = with_worth(table, scores, asked_of(facts)["centres"], density)
    return as_candidates(ranked, RERANKED)


Score = Callable[[str, NDArray[np.float32]], NDArray[np.float64]]


def _score_of(root: Path, aggregate: str) -> Score:
    """From the logits of a mosaic's scored windows to their aggregate scores."""
    if aggregate == "mean":
        return lambda _, logits: logits.mean(axis=1).astype(np.float64)
    if aggregate == "median":
        return lambda _, logits: np.median(logits, axis=1).astype(np.float64)
    ranks = _mean_ranks(root)
    return lambda mosaic, _: ranks[mosaic]


def _mean_ranks(root: Path) -> dict[str, NDArray[np.float64]]:
    """Mean over the members of (rank - 1/2) / n among the n scored windows of the run.

    The logits of the whole run are in memory: 28 bytes per window with seven members.
    """
    parts = {mosaic: logits for mosaic, _, logits in _scored(root)}
    logits = np.concatenate(list(parts.values()))
    ranks = np.zeros(len(logits))
    for column in logits.T:
        ranks += (rankdata(column) - 0.5) / max(1, len(column))
    ranks /= logits.shape[1]
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    return dict(zip(parts, np.split(ranks, ends), strict=True))


def _scored(root: Path) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
    """Of every mosaic the scored windows, and their logits."""
    for mosaic in planned_mosaics(root):
        store = RunPaths(root).scores(mosaic)
        if store.is_dir():
            logits, _, _ = score_store.read(store)
            # A window is a detection when its mean logit is a number.
            scored = np.flatnonzero(np.isfinite(logits.mean(axis=1)))
            yield mosaic, scored, logits[scored]


def _detections(root: Path, facts: dict[str, str], score: Score) -> pd.DataFrame:
    floor, wanted = float(facts["min_logit"]), 0
    scores: dict[str, NDArray[np.float64]] = {}
    for mosaic, _, logits in _scored(root):
        scores[mosaic] = score(mosaic, logits)
        wanted += int((logits.mean(axis=1) >= floor).sum())
    ranked = np.sort(np.concatenate(list(scores.values())))[::-1]
    least = ranked[wanted - 1] if wanted else np.inf
    recentre = asked_of(facts)["centres"] == "grid"
    parts = []
    for mosaic, values in scores.items():
        plan = read_plan(root, mosaic)
        windows = read_detections(root, plan, -np.inf, recentre)
        windows["aggregate_score"] = values
        parts.append(windows[windows["aggregate_score"] >= least])
    return pd.concat(parts, ignore_index=True)
