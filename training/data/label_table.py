"""Positions with labels: known lenses from catalogues, and users' own tables and grades."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import all_pairs
from lensweep.catalogs.grade_scales import (
    GRADES,
    LEAST_TRUSTED,
    NOT_A_LENS,
    at_least,
)
from lensweep.catalogs.lens_lists import LENSCAT, known_lenses, read_lens_list
from lensweep.catalogs.tables import read_table
from lensweep.ground.errors import InputError

# The shipped lists under the names of the command line.
CATALOGUES = {"castles": "CASTLES", "lensflow": "LensFlow", "faure2008": "Faure2008"}
LABELS = {"lens": True, "1": True, "nonlens": False, "0": False}
GRADE_LABELS = {grade.lower(): grade != NOT_A_LENS for grade in GRADES}
# Two positions this close are one object.
SAME_ARCSEC = 1.0

COLUMNS = ("source", "source_row", "name", "ra_deg", "dec_deg", "is_lens", "kind", "grade")


def read_catalogue(name: str) -> pd.DataFrame:
    """Read a list of known lenses: positives, but for those that a file of grades calls none.

    Parameters
    ----------
    name : str
        ``castles``, ``lensflow``, ``faure2008``, ``lenscat`` or a file with positions.

    Returns
    -------
    DataFrame
        `COLUMNS`.
    """
    if name.lower() in CATALOGUES:
        known = known_lenses()
        known = known[known["catalogue"] == CATALOGUES[name.lower()]]
    elif name == LENSCAT:
        known = known_lenses([LENSCAT])
        known = known[known["catalogue"] == LENSCAT]
    else:
        known = read_lens_list(name)
    is_lens = (known["grade"] != NOT_A_LENS).fillna(True).astype("bool")
    return pd.DataFrame({
        "source": known["catalogue"], "source_row": known["catalogue_row"],
        "name": known["known_name"], "ra_deg": known["known_ra_deg"],
        "dec_deg": known["known_dec_deg"], "is_lens": is_lens,
        "kind": np.where(is_lens, "known_lens", "graded_nonlens"), "grade": known["grade"],
    })  # fmt: skip


def read_labels(path: Path) -> pd.DataFrame:
    """Read a user's table of labelled or graded positions.

    Parameters
    ----------
    path : Path
        CSV, FITS, VOTable or Parquet with a pair of position columns in degrees, and ``label``
        (``lens`` or 1, ``nonlens`` or 0) or else ``grade`` (A, B and C are lenses, X is none, and a
        row without a grade is left out), as the files of `lensweep inspect` have it; ``name``,
        ``id`` or ``candidate_id`` if it has one. Other columns are ignored.

    Returns
    -------
    DataFrame
        `COLUMNS`.

    Raises
    ------
    InputError
        If there is neither column, or a row whose label or grade is none; with the row, counted
        from 0.
    catalogs.tables.TableError
        If the table or a position cannot be read.
    """
    table = read_table(path, ("label", "grade"), refuse_hours=True)
    column = next((name for name in ("label", "grade") if name in table), None)
    if column is None:
        raise InputError(
            f"labels {path}: no column label, whose values are {', '.join(LABELS)}, and no column "
            f"grade, with {', '.join(GRADES)} ({NOT_A_LENS} is not a lens)"
        )
    meaning = LABELS if column == "label" else GRADE_LABELS
    # 1.0 is what a column of integers becomes in some formats.
    given = table[column].fillna("").str.strip().str.lower().str.replace(r"\.0$", "", regex=True)
    if column == "grade":
        table, given = table[given != ""], given[given != ""]
        if not len(table):
            raise InputError(f"labels {path}: not one row has a grade; grade some candidates")
    _refuse_unknown(path, column, table, given, meaning)
    is_lens = given.map(meaning).to_numpy(np.bool_)
    word = "labelled" if column == "label" else "graded"
    return pd.DataFrame({
        "source": path.name, "source_row": table["row"],
        "name": table["name"].fillna("") if "name" in table else "",
        "ra_deg": table["ra_deg"], "dec_deg": table["dec_deg"], "is_lens": is_lens,
        "kind": np.where(is_lens, f"{word}_lens", f"{word}_nonlens"),
        "grade": given.str.upper() if column == "grade" else None,
    }, index=table.index).reset_index(drop=True)  # fmt: skip


def describe_labels(table: pd.DataFrame) -> str:
    """What was made of a table of `read_labels`, in a line."""
    counts = table["grade"].value_counts().reindex(list(GRADES)).dropna()
    lenses = int(table["is_lens"].sum())
    how = ", ".join(f"{n:.0f} {grade}" for grade, n in counts.items())
    mapped = f" (A, B and C are lenses, {NOT_A_LENS} is none: {how})" if how else ""
    return f"{table['source'].iloc[0]}: {lenses} lenses, {len(table) - lenses} others{mapped}"


def vote(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """Join the tables of several graders: of what several name alike, the majority's label.

    Parameters
    ----------
    tables : sequence of DataFrame
        As of `read_labels`. Rows without a name are not compared.

    Returns
    -------
    DataFrame
        A row per object, that of the first grader who agrees with the majority.
    int
        Objects that are left out, since as many graders call them lenses as do not.
    """
    rows = pd.concat(tables, ignore_index=True)
    key = rows["name"].where(rows["name"] != "", [f"row {row}" for row in range(len(rows))])
    share = rows["is_lens"].groupby(key).transform("mean")
    kept = rows[(share != 0.5) & (rows["is_lens"] == (share > 0.5))]
    return (
        kept[~key[kept.index].duplicated()].reset_index(drop=True),
        int(key[share == 0.5].nunique()),
    )


def gather_labels(
    catalogues: Sequence[str], labels: Sequence[Path], min_grade: str | None = None
) -> pd.DataFrame:
    """All labelled positions that are asked for, catalogues first.

    Parameters
    ----------
    catalogues : sequence of str
        As of `read_catalogue`.
    labels : sequence of Path
        As of `read_labels`; graders vote.
    min_grade : str, optional
        As of `catalogs.grade_scales.at_least`: weaker lenses are no labels.

    Returns
    -------
    DataFrame
        `COLUMNS`, and ``repeats``: the row (of this table) of the same object, within an
        arcsecond, that comes first; -1 if it is the first. ``weak`` says why a lens is no label,
        and is empty for those that are.

    Raises
    ------
    InputError
        If two rows call one object a lens and a non-lens.
    """
    tables = [read_catalogue(name) for name in dict.fromkeys(catalogues)]
    # Who grades stamps is asked for C too; who lists lenses is not asked.
    weak = [~at_least(table["grade"], min_grade) for table in tables]
    if labels:
        tables.append(vote([read_labels(path) for path in labels])[0])
        weak.append(tables[-1]["is_lens"] & ~at_least(tables[-1]["grade"], min_grade or "C"))
    if not tables:
        empty = pd.DataFrame(columns=[*COLUMNS, "repeats", "weak"])
        return empty.astype({"ra_deg": "float64", "dec_deg": "float64", "is_lens": "bool"})
    wanted = pd.concat(tables, ignore_index=True)
    least = min_grade or f"{LEAST_TRUSTED} unless --min-grade C"
    why = "grade " + wanted["grade"].astype("str") + f": weaker than {least}"
    wanted["weak"] = why.where(pd.concat(weak, ignore_index=True), "")
    return wanted.assign(repeats=_repeats(wanted))


def _repeats(wanted: pd.DataFrame) -> NDArray[np.int64]:
    usable = np.flatnonzero(wanted["weak"] == "")
    ra_deg, dec_deg = (wanted[name].to_numpy()[usable] for name in ("ra_deg", "dec_deg"))
    first, second, _ = all_pairs(ra_deg, dec_deg, ra_deg, dec_deg, SAME_ARCSEC)
    repeats = np.full(len(wanted), -1)
    for one, other in zip(usable[first].tolist(), usable[second].tolist(), strict=True):
        if one >= other:
            continue
        if wanted["is_lens"].iloc[one] != wanted["is_lens"].iloc[other]:
            raise InputError(
                f"{_row(wanted, one)} and {_row(wanted, other)} are within {SAME_ARCSEC:g} "
                "arcsec, but one is labelled a lens and the other not; remove one"
            )
        if repeats[other] < 0:
            repeats[other] = one
    return repeats


def _row(wanted: pd.DataFrame, row: int) -> str:
    one = wanted.iloc[row]
    return f"{one['source']} row {one['source_row']} ({one['name'] or 'no name'})"


def _refuse_unknown(
    path: Path, column: str, table: pd.DataFrame, given: pd.Series, meaning: dict[str, bool]
) -> None:
    unknown = np.flatnonzero(~given.isin(list(meaning)).to_numpy())
    if unknown.size:
        first = int(unknown[0])
        known = ", ".join(name.upper() if column == "grade" else name for name in meaning)
        raise InputError(
            f"labels {path}: row {table['row'].iloc[first]} (counted from 0) has {column} "
            f"{table[column].iloc[first]!r}, but must be one of {known} ({unknown.size} such rows)"
        )
