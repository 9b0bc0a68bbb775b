"""Grades of several people become one list: read, unblinded, compared, joined onto candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder
from lensweep.scanner.inspection.agreement import Agreement, compare
from lensweep.scanner.inspection.blind import CANDIDATE, PREFIX, read_keys
from lensweep.scanner.inspection.contents import read_finished, run_id
from lensweep.scanner.inspection.grade_files import COLUMNS, GradeFile, read_grades, write_grades
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.run.paths import RunPaths

MERGED = "merged"


@dataclass(frozen=True)
class Merged:
    """What came of merging.

    Attributes
    ----------
    agreement : Agreement
    grades : Path
        CSV of the columns of every file of grades, with the mean grades, and more after them.
    joined : Path or None
        Parquet file of the run's candidates with their grades, where a run was named.
    """

    agreement: Agreement
    grades: Path
    joined: Path | None


def merge_grades(files: Sequence[Path], root: Path | None, out: Path | None) -> Merged:
    """Merge files of grades.

    Parameters
    ----------
    files : sequence of Path
        None takes all that the page's server has kept in the run.
    root : Path or None
        The run's folder: needed for grades of blind pages, and to join them onto candidates.
    out : Path or None
        CSV file to write; by default ``merged.csv`` in the run's ``inspect`` folder.

    Raises
    ------
    InputError
        If there are no files, two are of one grader or of two runs, a row is of another page, or
        the output has no place, or one that is taken.
    """
    if root is not None:
        read_facts(root)
    if root is not None and not files:
        files = sorted(RunPaths(root).grades.glob("*/*.csv"))
    if not files:
        raise InputError("no grades: name files, or a run with --run whose page was served")
    if out is None and root is None:
        raise InputError("no place for the merged grades: give --out FILE, or --run RUN")
    path = out or RunPaths(root).inspection / f"{MERGED}.csv"  # type: ignore[arg-type]
    joined = None if root is None else path.with_suffix(".parquet")
    if out is not None:
        _check_outputs(out, joined, files)
    read = _one_each([read_grades(path) for path in files])
    identity = _one_run(read)
    candidates = None
    if root is not None:
        candidates, identity = _candidates_of(root, identity)
    rows = [_unblinded(one, root, candidates) for one in read]
    agreement = compare([one.grader for one in read], rows)
    table = _as_grades(agreement.candidates, rows, candidates, identity)
    names = ", ".join(one.grader for one in read)
    try:
        write_grades(path, table, [f"mean grades of {names}", "mean_grade: 0 X, 1 C, 2 B, 3 A"])
    except OSError as error:
        raise InputError(f"output file {path}: cannot be written ({error.strerror})") from error
    if candidates is not None and joined is not None:
        _write_joined(joined, candidates, agreement)
    return Merged(agreement, path, joined)


def _check_outputs(out: Path, joined: Path | None, files: Sequence[Path]) -> None:
    if out.suffix.lower() != ".csv":
        raise InputError(f"output file {out}: grades are written as CSV; name a file *.csv")
    check_folder(out.parent)
    for path in (out, joined):
        if path is not None:
            check_output(path, files)


def _one_each(read: Sequence[GradeFile]) -> Sequence[GradeFile]:
    """Grades of several pages of one grader are one; two files with the same rows are not."""
    seen: dict[str, GradeFile] = {}
    for one in read:
        before = seen.get(one.grader)
        if before is None:
            seen[one.grader] = one
            continue
        both = set(before.rows["candidate_id"]) & set(one.rows["candidate_id"])
        if both:
            raise InputError(
                f"grades {before.path} and {one.path}: both are of {one.grader}, and both grade "
                f"{min(both)}; if they are two people, change the column grader of one"
            )
        rows = pd.concat([before.rows, one.rows], ignore_index=True)
        seen[one.grader] = GradeFile(before.path, one.grader, rows)
    return list(seen.values())


def _one_run(read: Sequence[GradeFile]) -> str:
    found = {run: one.path for one in read for run in set(one.rows["run_id"]) if run}
    if len(found) > 1:
        (first, path), (second, other) = list(found.items())[:2]
        raise InputError(f"grades {path} and {other}: of two runs ({first}, {second})")
    return next(iter(found), "")


def _candidates_of(root: Path, identity: str) -> tuple[pd.DataFrame, str]:
    """The candidates of a run and its name, which grades of another run do not have."""
    candidates, facts = read_finished(root)
    found = run_id(facts)
    if identity not in ("", found):
        raise InputError(f"run {root}: is run {found}, but the grades are of run {identity}")
    return candidates, found


def _unblinded(one: GradeFile, root: Path | None, candidates: pd.DataFrame | None) -> pd.DataFrame:
    """A grader's rows with ``what`` they were, and candidates by their own names."""
    rows = one.rows.assign(what=CANDIDATE)
    blind = rows["candidate_id"].str.startswith(PREFIX)
    if blind.any():
        if root is None:
            raise InputError(f"grades {one.path}: of a blind page; name its run with --run")
        keys = read_keys(root).drop_duplicates("key").set_index("key")
        strange = rows["candidate_id"][blind & ~rows["candidate_id"].isin(keys.index)]
        if len(strange):
            raise InputError(
                f"grades {one.path}: {strange.iloc[0]} is of no blind page of run {root}; was the "
                "page written again, with other numbers?"
            )
        known = keys.loc[rows["candidate_id"][blind]]
        for name in ("what", "candidate_id", "ra_deg", "dec_deg", "mosaic", "rank"):
            rows.loc[blind, name] = known[name].astype("str").where(known[name].notna(), "").values
    if candidates is not None:
        named = rows["candidate_id"][(rows["what"] == CANDIDATE) & (rows["grade"] != "")]
        strange = named[~named.isin(candidates["candidate_id"])]
        if len(strange):
            raise InputError(f"grades {one.path}: {strange.iloc[0]} is no candidate of run {root}")
    # Planted rows have no name of their own, and are not on several pages.
    named = rows["candidate_id"].where(rows["candidate_id"] != "", one.rows["candidate_id"])
    return _last_grades(rows.assign(candidate_id=named))


def _last_grades(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a candidate that a grader graded on several pages, what was said last."""
    order = rows.assign(graded=rows["grade"] != "").sort_values(["graded", "graded_at"])
    last = order.drop_duplicates(["what", "candidate_id"], keep="last")
    return last.drop(columns="graded").sort_index()


def _as_grades(
    means: pd.DataFrame,
    rows: Sequence[pd.DataFrame],
    candidates: pd.DataFrame | None,
    identity: str,
) -> pd.DataFrame:
    """Mean grades with the columns that every file of grades has, and theirs after them."""
    everything = pd.concat(rows, ignore_index=True)
    everything = everything[everything["what"] == CANDIDATE]
    by_name = everything.groupby("candidate_id", sort=False)
    names = ["ra_deg", "dec_deg", "mosaic", "rank"]
    # The run itself knows better than files that may lack them.
    places = (
        by_name[names].first()
        if candidates is None
        else (candidates.set_index("candidate_id")[names].round({"ra_deg": 7, "dec_deg": 7}))
    )
    said = by_name["comment"].agg(lambda comments: "; ".join(text for text in comments if text))
    table = means.merge(places.reset_index(), on="candidate_id", how="left").assign(
        grader=MERGED,
        graded_at="",
        run_id=identity,
        flag=lambda t: t["candidate_id"].map(by_name["flag"].any()).astype(int),
        comment=lambda t: t["candidate_id"].map(said),
    )  # fmt: skip
    order = pd.to_numeric(table["rank"], errors="coerce")
    table = table.iloc[np.argsort(order.to_numpy(), kind="stable")]
    return table[[*COLUMNS, *(name for name in means if name not in COLUMNS)]]


def _write_joined(path: Path, candidates: pd.DataFrame, agreement: Agreement) -> None:
    joined = candidates.merge(agreement.candidates, on="candidate_id", how="left")
    table = pa.Table.from_pandas(joined, preserve_index=False).replace_schema_metadata()
    facts = {
        "graders": agreement.graders.to_json(orient="records"),
        "cohen_kappa": agreement.pairs.to_json(orient="records"),
        "fleiss_kappa": repr(agreement.fleiss),
    }
    write_parquet(with_provenance(table, facts), path)
