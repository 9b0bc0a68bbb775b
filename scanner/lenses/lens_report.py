"""What the command line shows and writes of known lenses: matches, recall."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from lensweep.catalogs.hats import lenses_near
from lensweep.catalogs.hats_folders import is_hats
from lensweep.catalogs.lens_lists import ANY_RADIUS_ARCSEC, known_lenses
from lensweep.catalogs.lens_matches import count_matches, match_lenses
from lensweep.catalogs.lens_schemas import MATCHES, RECALL
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import read_table
from lensweep.catalogs.written_tables import write_table
from lensweep.ground.errors import InputError
from lensweep.ground.terminal import wide_console
from lensweep.scanner.lenses.recall import CONFIDENCE, Recall, measure_recall
from lensweep.scanner.results.footprint import describe_footprint
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.run.paths import RunPaths

SHOWN = 50


def show_recall(
    root: Path, known: Sequence[str], radius_arcsec: float | None, top: int | None,
    out: Path | None, false_per_deg2: float | None = None,
) -> Recall:  # fmt: skip
    """Print and write the recall of a run on known lenses.

    Parameters
    ----------
    root : Path
        The run's folder.
    known : sequence of str
        Lists besides the shipped ones.
    radius_arcsec : float or None
        By default each lens's own.
    top : int or None
        Count candidates up to this rank only.
    out : Path or None
        File to write, of any ending of `catalogs.written_tables`; by default ``recall.parquet`` in
        the run's folder.
    false_per_deg2 : float or None
        Count only candidates so good that a square degree without lenses gives so many at most.
    """
    lenses = known_lenses(known)
    if out is not None:
        check_output(out, known, as_table=True)
    recall = measure_recall(root, lenses, radius_arcsec, top, false_per_deg2)
    out = out or RunPaths(root).recall
    facts = {
        "match_radius_arcsec": repr(radius_arcsec),
        "top": repr(top),
        "false_per_deg2": repr(false_per_deg2),
        "by_chance": repr(recall.by_chance),
        "footprint_deg2": repr(recall.area_deg2),
        "recall": recall.summary.to_json(orient="records"),
    }
    write_lenses(recall.lenses, RECALL, facts, out)
    console = wide_console()
    console.print(describe_footprint(recall.area_deg2))
    _print_observed(console, recall.lenses)
    _print_summary(console, recall.summary, radius_arcsec, top, false_per_deg2)
    if not np.isnan(recall.by_chance):
        console.print(
            f"control: of random positions in the footprint, {recall.by_chance:.1%} have such a "
            "candidate as near"
        )
    console.print(f"wrote {out}, {RunPaths(root).coverage}")
    return recall


def show_matches(
    source: Path, known: Sequence[str], radius_arcsec: float | None, every: bool, out: Path | None
) -> pd.DataFrame:
    """Print and write the known lenses near a run's candidates or a table's positions.

    Parameters
    ----------
    source : Path
        A run's folder, or a table of positions.
    known : sequence of str
        Lists besides the shipped ones.
    radius_arcsec : float or None
        By default each lens's own.
    every : bool
        All matches; else of every catalogue the nearest of each position.
    out : Path or None
        File to write, likewise; by default ``crossmatch.parquet`` in a run's folder, and none for
        a table.
    """
    positions = read_matchable(source)
    if source.is_dir() and out is None:
        out = RunPaths(source).crossmatch
    if out is not None:
        check_output(out, [source, *known], as_table=True)
    lenses = _lenses_about(positions, known, radius_arcsec)
    matches = match_lenses(positions, lenses, radius_arcsec, every)
    console = wide_console()
    print_matches(console, matches, len(positions), radius_arcsec)
    if out is not None:
        facts = {"match_radius_arcsec": repr(radius_arcsec), "source": str(source)}
        write_lenses(matches, MATCHES, facts, out)
        console.print(f"wrote {out}")
    return matches


def _lenses_about(
    positions: pd.DataFrame, known: Sequence[str], radius_arcsec: float | None
) -> pd.DataFrame:
    """All lists, and of HATS catalogues what lies near the positions."""
    hats = [name for name in known if is_hats(name)]
    lists = [known_lenses([name for name in known if name not in hats])]
    within = ANY_RADIUS_ARCSEC if radius_arcsec is None else radius_arcsec
    for name in hats:
        near = lenses_near(name, positions["ra_deg"], positions["dec_deg"], within)
        lists += [near] if len(near) else []
    return pd.concat(lists, ignore_index=True)


def read_matchable(source: Path) -> pd.DataFrame:
    """Read the positions of a run's candidates, or of a table.

    Returns
    -------
    DataFrame
        ``row``, ``name``, ``rank`` (the last two null where there are none, and no rank is one
        that is not a whole number), ``ra_deg``, ``dec_deg``.

    Raises
    ------
    InputError
        If a folder holds no catalogue.
    catalogs.tables.TableError
        If a table cannot be read, or its RA looks like hours.
    """
    if source.is_dir():
        path = RunPaths(source).candidates
        if not path.is_file():
            raise InputError(f"{source}: no run with a catalogue in this folder (no {path.name})")
        columns = ["candidate_id", "rank", "ra_deg", "dec_deg"]
        with path.open("rb") as file:
            table = pd.read_parquet(file, columns=columns)
        return table.rename(columns={"candidate_id": "name"}).assign(row=np.arange(len(table)))
    table = read_table(source, {"rank"}, refuse_hours=True)
    table = table.reindex(columns=["row", "name", "rank", "ra_deg", "dec_deg"])
    rank = pd.to_numeric(table["rank"], errors="coerce")
    # Another's column of that name may hold anything.
    return table.assign(rank=rank.where(rank.mod(1) == 0))


def print_matches(
    console: Console, matches: pd.DataFrame, n_positions: int, radius_arcsec: float | None
) -> None:
    """Print how many positions match, how ambiguously, and the first matches."""
    near = named_radius(radius_arcsec)
    for row in count_matches(matches).itertuples():
        console.print(
            f"{row.catalogue}: {row.n_positions:,} of {n_positions:,} positions match "
            f"{row.n_lenses:,} lenses within {near}; {row.n_ambiguous:,} positions "
            f"have several lenses, {row.n_shared:,} lenses several positions"
        )
    if not len(matches):
        console.print(f"no known lens within {near} of {n_positions:,} positions")
        return
    table = Table(title=f"{min(SHOWN, len(matches))} of {len(matches):,} matches")
    for name in ("row", "name", "rank", "catalogue", "lens", "grade", "sep", "z_lens", "grades"):
        right = name in ("row", "rank", "sep", "z_lens")
        table.add_column(name, justify="right" if right else "left")
    for row in matches.head(SHOWN).itertuples():
        table.add_row(
            str(row.row), _text(row.name), "" if pd.isna(row.rank) else str(int(row.rank)),
            row.catalogue, row.known_name, _text(row.grade), f"{row.separation_arcsec:.2f}″",
            _text(row.z_lens_listed), _text(row.grade_scheme),
        )  # fmt: skip
    console.print(table)


def named_radius(radius_arcsec: float | None) -> str:
    """How near is near."""
    return "each lens's own radius" if radius_arcsec is None else f"{radius_arcsec:g}″"


def write_lenses(table: pd.DataFrame, schema: pa.Schema, facts: dict[str, str], path: Path) -> None:
    """Write a table of known lenses.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    rows = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
    try:
        write_table(with_provenance(rows.replace_schema_metadata(), facts), path)
    except OSError as error:
        raise InputError(f"output file {path}: cannot be written ({error.strerror})") from error


def _print_observed(console: Console, lenses: pd.DataFrame) -> None:
    table = Table(title="known lenses in the footprint")
    for name in ("catalogue", "name", "grade", "rank", "sep", "logit_mean", "p_mean",
                 "window rank", "best window"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("catalogue", "name") else "right")
    observed = lenses[lenses["observed"]]
    for row in observed.sort_values("logit_mean", ascending=False, kind="stable").itertuples():
        hit = row.is_candidate
        table.add_row(
            row.catalogue, row.known_name, _text(row.grade),
            f"{int(row.rank):,}" if hit else "no candidate",
            f"{row.separation_arcsec:.2f}″" if hit else "",
            _number(row.logit_mean, "+.2f"), _number(row.p_mean, ".3f"),
            _number(row.window_rank, ",d"),
            f"{row.mosaic} {row.window}",
        )  # fmt: skip
    if len(observed):
        console.print(table)
    else:
        console.print(f"none of {len(lenses):,} known lenses lies in the footprint")


def _print_summary(
    console: Console, summary: pd.DataFrame, radius_arcsec: float | None, top: int | None,
    false_per_deg2: float | None,
) -> None:  # fmt: skip
    limit = "candidates" if top is None else f"candidates of rank {top} or better"
    if false_per_deg2 is not None:
        limit += f", with {false_per_deg2:g} false ones per deg² at most,"
    table = Table(
        title=f"recall: {limit} within {named_radius(radius_arcsec)}; Wilson {CONFIDENCE:.0%} "
        "interval"
    )
    for name in ("catalogue", "grade", "listed", "not observed", "observed", "found", "recall",
                 "grades"):  # fmt: skip
        left = name in ("catalogue", "grade", "grades")
        table.add_column(name, justify="left" if left else "right")
    for row in summary.itertuples():
        rate = (
            f"{row.recall:.2f} ({row.recall_low:.2f}-{row.recall_high:.2f})"
            if row.n_observed
            else "none observed"
        )
        table.add_row(
            row.catalogue, row.grade, f"{row.n_listed:,}", f"{row.n_not_observed:,}",
            f"{row.n_observed:,}", f"{row.n_candidates:,}", rate, row.grade_scheme,
        )  # fmt: skip
    console.print(table)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: float, form: str) -> str:
    """A number, or nothing: a window that was screened has no score."""
    return "" if pd.isna(value) else format(value, form)
