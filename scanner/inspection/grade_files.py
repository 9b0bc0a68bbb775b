"""Files of grades: CSV with comment lines in front, as the page writes them, plain or as ECSV."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lensweep.ground.errors import InputError
from lensweep.ground.files import make_folder, whole_file

# Sure, probable and possible lenses, and what is none.
GRADES = ("A", "B", "C", "X")
COLUMNS = ("candidate_id", "ra_deg", "dec_deg", "grade", "grader", "graded_at", "flag", "comment",
           "mosaic", "rank", "run_id")  # fmt: skip
_NEEDED = ("candidate_id", "grade")
_TRUE = ("1", "true")


@dataclass(frozen=True)
class GradeFile:
    """The grades of one grader.

    Attributes
    ----------
    path : Path
    grader : str
    rows : DataFrame
        `COLUMNS`; all text but ``flag`` (bool). ``grade`` is one of `GRADES`, or empty.
    """

    path: Path
    grader: str
    rows: pd.DataFrame


def read_grades(path: Path) -> GradeFile:
    """Read a file of grades; columns that are not known are ignored.

    Parameters
    ----------
    path : Path
        CSV or ECSV. Without a column ``grader`` the file's name is the grader's.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds a grade that is none, a candidate twice
        or several graders; the message says where.
    """
    rows = pd.DataFrame(_records(path), columns=list(COLUMNS), dtype="str").fillna("")
    rows["grade"] = rows["grade"].str.strip().str.upper()
    rows["flag"] = rows["flag"].str.lower().isin(_TRUE)
    for number, grade in enumerate(rows["grade"]):
        if grade and grade not in GRADES:
            raise InputError(
                f"grades {path}: row {number} (counted from 0) has grade {grade!r}, but grades are "
                f"{', '.join(GRADES)} (X is not a lens), or empty"
            )
    twice = rows["candidate_id"][rows["candidate_id"].duplicated()]
    if len(twice):
        raise InputError(f"grades {path}: {twice.iloc[0]} is there twice; keep one row")
    graders = sorted(set(rows["grader"].str.strip()) - {""})
    if len(graders) > 1:
        raise InputError(
            f"grades {path}: of {len(graders)} graders ({', '.join(graders)}); split it"
        )
    return GradeFile(path, graders[0] if graders else path.stem, rows)


def write_grades(path: Path, rows: pd.DataFrame, remarks: Sequence[str]) -> None:
    """Write grades as CSV, so that the file is whole or what it was.

    Parameters
    ----------
    path : Path
        Its folder is made.
    rows : DataFrame
        Columns of `COLUMNS`, and others after them.
    remarks : sequence of str
        Comment lines in front.
    """
    make_folder(path.parent)
    said = ["lensweep grades", *remarks, "grades: A sure, B probable, C possible, X not a lens, "
            "empty for none"]  # fmt: skip
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {_one_line(line)}\n" for line in said)
        rows.to_csv(file, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)


def remarks_of(path: Path) -> list[str]:
    """The comment lines in front of a file, without their ``#``."""
    with path.open(encoding="utf-8-sig") as file:
        return [line[1:].strip() for line in _until_table(file)]


def _records(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"grades {path}: no such file")
    try:
        text = path.read_text("utf-8-sig")
        lines = text.splitlines(keepends=True)
        start = sum(1 for _ in _until_table(iter(lines)))
        reader = csv.DictReader(lines[start:], strict=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise InputError(
                f"grades {path}: no column {missing[0]}; it has {', '.join(names) or 'none'}"
            )
        reader.fieldnames = names
        return [{name: row.get(name) or "" for name in COLUMNS} for row in reader]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"grades {path}: cannot be read ({error})") from error


def _until_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("#"):
            return
        yield line


def _one_line(text: str) -> str:
    return " ".join(text.split())
