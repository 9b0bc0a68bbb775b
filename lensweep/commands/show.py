"""What the command line shows of plans, runs and scores."""

import tempfile
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from lensweep.catalogs.crossmatch import nearest
from lensweep.catalogs.tables import read_table
from lensweep.deploy.cores import usable_cores
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.ground.progress import duration
from lensweep.ground.terminal import plain_console, wide_console
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.results.ranking import draw_candidates
from lensweep.scanner.results.worth import asked_of, departures
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.plan import Plan, note_of_positions_outside, plan_mosaic
from lensweep.scanner.run.tally import Tally
from lensweep.scanner.sky.mosaics import CompanionError, MosaicError
from lensweep.scanner.sky.names import file_name
from lensweep.scanner.sky.remote import NoSectionsError, RemoteError
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.work.estimate import Estimate, estimate
from lensweep.scanner.work.join import Joined
from lensweep.scanner.work.scan import Outcome

TOP = 30
# What a lens hunter looks at first.
EXPECTED_TOP = 20
# Half a window: a detection of a wide lens may sit on one of its images instead of its middle.
PLANTED_RADIUS_ARCSEC = 2.5
PLANTED = "planted"
CUTOUT_BYTES = 4 * CUTOUT_SIZE**2
SHARD = "shard: the windows that one task does and one file holds"
# Windows that the rate of scoring is measured on.
RATED = 32


def show_candidates(candidates: pd.DataFrame, marks: list[str | None]) -> None:
    """Print the top of a ranked catalogue."""
    table = Table(title=f"top {min(TOP, len(candidates))} of {len(candidates):,} candidates")
    columns = ["rank", "candidate", "ra_deg", "dec_deg", "p_lens", "false/deg²", "purity",
               "p_mean", "p_std", "known as"]  # fmt: skip
    if any(marks):
        columns.append("planted")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row, mark in zip(candidates.head(TOP).itertuples(), marks, strict=False):
        known = [row.castles_name] if isinstance(row.castles_name, str) else []
        if not pd.isna(row.lensflow_id):
            known.append(f"LensFlow {int(row.lensflow_id)}")
        table.add_row(
            str(row.rank), row.candidate_id, f"{row.ra_deg:.5f}", f"{row.dec_deg:.5f}",
            _known(row.p_lens), _known(row.false_per_deg2), _known(row.expected_purity),
            f"{row.p_mean:.3f}", f"{row.p_std:.3f}", ", ".join(known), *[mark or ""] * any(marks),
        )  # fmt: skip
    wide_console().print(table)


def read_planted(truth: Path) -> pd.DataFrame:
    """Read a table of planted lenses, of any format that positions are read from.

    Returns
    -------
    DataFrame
        ``ra_deg``, ``dec_deg`` and ``kind``, which is ``planted`` where the table does not say.

    Raises
    ------
    lensweep.catalogs.tables.TableError
        If it cannot be read.
    """
    planted = read_table(truth, ("kind",))
    kinds = planted["kind"] if "kind" in planted else pd.Series("", planted.index)
    return planted.assign(kind=kinds.fillna("").str.strip().replace("", PLANTED))


def _known(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2g}" if value < 10.0 else f"{value:,.0f}"


def show_expectation(candidates: pd.DataFrame, facts: dict[str, str]) -> None:
    """Say how many lenses to expect among the first candidates, or why nobody can tell.

    Parameters
    ----------
    candidates : DataFrame
        By rank.
    facts : dict
        Of their catalogue.
    """
    console = plain_console()
    first = candidates.head(EXPECTED_TOP)
    if not len(first):
        return
    if first["p_lens"].isna().any():
        grid = asked_of(facts)["centres"] == "grid"
        windows = "a grid of windows" if grid else "windows on sources or positions"
        console.print(
            f"p_lens is empty: what a score is worth was not measured for {windows} and ensemble "
            f"{facts['ensemble']}; the order holds. To measure it: `lensweep calibrate RUN` on "
            "your mosaics, `lensweep survey` on simulated ones"
        )
        return
    for departure in departures(facts, asked_of(facts)):
        console.print(f"p_lens was calibrated for another scan: {departure}")
    last, n = first.iloc[-1], len(first)
    beyond = int(first["extrapolated"].sum())
    console.print(
        f"top {n}: {_count(n * last['expected_purity'])} "
        f"({_count(n * last['expected_purity_low'])}-{_count(n * last['expected_purity_high'])}) "
        f"lenses expected at {float(facts['lens_density_per_deg2']):g} per deg²"
        + (f", by extrapolation for {beyond} of them" if beyond else "")
    )


def _count(number: float) -> str:
    return f"{number:.1f}" if 0.05 <= number < 1.0 else f"{number:.0f}"


def planted_marks(
    candidates: pd.DataFrame,
    planted: pd.DataFrame | None,
    radius_arcsec: float = PLANTED_RADIUS_ARCSEC,
) -> list[str | None]:
    """For every candidate, the kind of planted lens that it is, or None."""
    marks: list[str | None] = [None] * len(candidates)
    if planted is None or not len(candidates):
        return marks
    kinds = planted["kind"]
    found, row, _ = nearest(
        planted["ra_deg"].to_numpy(), planted["dec_deg"].to_numpy(),
        candidates["ra_deg"].to_numpy(), candidates["dec_deg"].to_numpy(), radius_arcsec,
    )  # fmt: skip
    for lens, candidate in zip(found, row, strict=True):
        marks[candidate] = str(kinds.iloc[lens])
    return marks


def show_scores(scores: pd.DataFrame, out: Path) -> None:
    """Print a table of scored stamps: all of a few, the best of many."""
    scored = scores[scores["message"].isna()]
    shown = scored
    if len(scored) > TOP:
        shown = scored.sort_values("logit_mean", ascending=False, kind="stable").head(TOP)
    table = Table(title=f"best {TOP} of {len(scored):,} stamps" if len(scored) > TOP else None)
    for name in ("stamp", "p_lens", "p_mean", "p_std", "logit_mean", "valid"):
        table.add_column(name, justify="left" if name == "stamp" else "right")
    for row in shown.to_dict("records"):
        table.add_row(
            _stamp_name(row), _known(row["p_lens"]), f"{row['p_mean']:.3f}", f"{row['p_std']:.3f}",
            f"{row['logit_mean']:+.2f}", f"{row['valid_fraction']:.2f}",
        )  # fmt: skip
    console = wide_console()
    if table.row_count:
        console.print(table)
    messages = scores["message"].dropna()
    for message in messages.head(TOP):
        console.print(f"not scored: {message}", style="red")
    if len(messages) > TOP:
        console.print(f"not scored: {len(messages) - TOP:,} more; see {out}", style="red")
    console.print(f"wrote {out}")


def _stamp_name(row: dict[Hashable, Any]) -> str:
    if isinstance(row["name"], str):
        return row["name"]
    file = Path(str(row["file"])).name
    return file if pd.isna(row["index"]) else f"{file} {int(row['index'])}"


def measured_rate(ensemble: str) -> float:
    """Windows per second that one process scores here if it scores all, measured on some noise."""
    loaded = Ensemble(check_bundle(ensemble))
    noise = np.random.default_rng(0).standard_normal((RATED, 100, 100)).astype(np.float32)
    loaded.logits(noise)
    begin = time.perf_counter()
    loaded.logits(noise)
    return RATED / (time.perf_counter() - begin)


def show_plan(config: ScanConfig) -> int:
    """Print what a scan would do: windows, shards, bytes and time. Writes nothing.

    Returns
    -------
    int
        The exit status that the scan would have: 3 if some mosaics cannot be scanned.
    """
    bundle = check_bundle(config.ensemble)
    console, table = wide_console(), Table(title="plan", caption=SHARD)
    for name in ("mosaic", "grid", "windows", "shards", "cutouts"):
        table.add_column(name, justify="left" if name == "mosaic" else "right")
    plans: list[Plan] = []
    refused: list[str] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as root:
        for path in config.mosaics:
            try:
                _refuse_unseen(path, config)
                plan = plan_mosaic(path, config, bundle.description.band, root)
            except CompanionError as error:
                notes.append(str(error))
                continue
            except (MosaicError, NoSectionsError, RemoteError) as error:
                refused.append(str(error))
                continue
            plans.append(plan)
            notes += [f"mosaic {plan.mosaic.file_name}: {note}" for note in plan.mosaic.notes]
            ny, nx = plan.grid.shape
            table.add_row(
                plan.mosaic.name, f"{nx} x {ny}{', resampled' if plan.grid.resampled else ''}",
                f"{plan.n_windows:,}", f"{len(plan.shards):,}",
                f"{plan.n_windows * CUTOUT_BYTES / 1e6:,.0f} MB",
            )  # fmt: skip
        outside = note_of_positions_outside(config, plans, root)
        tried = estimate(Path(root), plans, bundle, config)
    if plans:
        console.print(table)
    for note in notes:
        console.print(note)
    for reason in (*refused, outside):
        if reason:
            console.print(reason, style="red")
    windows = sum(plan.n_windows for plan in plans)
    if windows:
        console.print(_expected_time(windows, tried, config))
    elif not plans:
        raise InputError("no mosaic can be scanned")
    return 3 if refused else 0


def _expected_time(windows: int, tried: Estimate | None, config: ScanConfig) -> str:
    workers = config.workers or usable_cores()
    if tried is None:
        rate = measured_rate(config.ensemble)
        return (
            f"{windows:,} windows, at most {duration(windows / (rate * workers))}: one process "
            f"scores {rate:.0f} windows/s here, {workers} workers; what has no data or can be "
            "passed over, and is not here to be looked at, takes less"
        )
    took = windows * tried.seconds_per_window / workers
    return (
        f"{windows:,} windows, about {duration(took)} on {workers} "
        f"{'worker' if workers == 1 else 'workers'}, once the networks are loaded: "
        f"of {tried.windows} windows that were tried, "
        f"{tried.masked:.0%} have too little data, {tried.screened:.0%} are passed over and "
        f"{tried.scored:.0%} are scored; one process does "
        f"{1.0 / tried.seconds_per_window:,.0f} windows/s here"
    )


def _refuse_unseen(path: str, config: ScanConfig) -> None:
    """Sources are sought in pixels; of a mosaic at an address, a plan fetches headers only."""
    if is_remote(path) and config.centres == "sources":
        raise MosaicError(
            f"mosaic {file_name(path)}: its sources are known once it is fetched; `lensweep fetch` "
            "it first, or scan it without --plan"
        )


def show_outcome(outcome: Outcome, planted: pd.DataFrame | None) -> None:
    """Print the top of a finished run's catalogue, its ledger's sums, and what was written.

    Parameters
    ----------
    outcome : Outcome
    planted : DataFrame or None
        As of `read_planted`, to mark them.
    """
    with outcome.paths.candidates.open("rb") as file:
        candidates = pd.read_parquet(file)
    marks = planted_marks(candidates, planted)
    if planted is not None:
        draw_candidates(outcome.paths, candidates, marks)
    show_candidates(candidates, marks)
    console, tally = plain_console(), outcome.tally
    if planted is not None:
        found = sum(mark is not None for mark in marks[:TOP])
        console.print(f"{found} of {len(planted)} planted lenses among the top {TOP}")
    console.print(_sum_of(tally))
    written = [outcome.paths.candidates, outcome.paths.contact_sheet, outcome.paths.ledger]
    if outcome.paths.targets.is_file():
        written.append(outcome.paths.targets)
        console.print(_sum_of_targets(outcome.paths.targets))
    for path in written:
        console.print(f"wrote {path}")
    show_expectation(candidates, read_facts(outcome.paths.root))
    for reason in outcome.failed_mosaics.values():
        console.print(f"failed: {reason}", style="red")


def _sum_of_targets(path: Path) -> str:
    with path.open("rb") as file:
        states = pd.read_parquet(file, columns=["state"])["state"].value_counts()
    counts = " + ".join(f"{count:,} {state}" for state, count in states.items())
    return f"{states.sum():,} positions given = {counts}"


def show_joined(joined: Joined) -> None:
    """Print the top of a joined run's catalogue, its ledger's sums, and what was written."""
    with joined.paths.candidates.open("rb") as file:
        candidates = pd.read_parquet(file)
    show_candidates(candidates, planted_marks(candidates, None))
    console = plain_console()
    console.print(
        f"{joined.n_mosaics:,} mosaics, {joined.n_candidates:,} candidates of {joined.n_before:,} "
        "in the parts: what several have seen is one"
    )
    console.print(_sum_of(joined.tally))
    console.print(f"wrote {joined.paths.root}")
    show_expectation(candidates, read_facts(joined.paths.root))
    for reason in joined.failed_mosaics.values():
        console.print(f"failed: {reason}", style="red")


def _sum_of(tally: Tally) -> str:
    return (
        f"{tally.planned:,} windows planned = {tally.scored:,} scored + {tally.screened:,} "
        f"screened + {tally.masked:,} masked + {tally.failed:,} failed\n"
        "scored: judged by the whole ensemble; screened: looked at, and passed over as blank or "
        "hopeless; masked: too little data"
    )
