"""Grades on disk while people give them: a file for each grader, whole at any moment."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lensweep.ground.errors import InputError
from lensweep.scanner.inspection.grade_files import (
    COLUMNS,
    GRADES,
    read_grades,
    remarks_of,
    write_grades,
)

# Letters of any script, digits, space and a few signs; a letter first: it becomes a file's name.
_NAME = re.compile(r"[^\W\d_][\w .'-]{0,39}")
MOST_COMMENT = 1000
_CLIENT = "client: "
_GIVEN = ("grade", "flag", "comment", "graded_at")


class TakenError(InputError):
    """A name under which somebody else grades."""


@dataclass
class _Grader:
    client: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


class GradeShelf:
    """The grades of one page.

    Parameters
    ----------
    folder : Path
        Holds a CSV file for each grader; made when the first grades come.
    candidates : mapping
        By the key that the page knows a row by, its other columns of
        `lensweep.scanner.inspection.grade_files.COLUMNS`.
    run_id : str
    """

    def __init__(
        self, folder: Path, candidates: Mapping[str, Mapping[str, Any]], run_id: str
    ) -> None:
        self._folder, self._candidates, self._run_id = folder, candidates, run_id
        self._graders: dict[str, _Grader] = {}
        self._lock = threading.Lock()

    def read(self, name: str) -> dict[str, dict[str, Any]]:
        """The rows of one grader, by key: grade, flag, comment, graded_at.

        Raises
        ------
        InputError
            If it is no name, or the file cannot be read.
        """
        with self._lock:
            return dict(self._grader(name).rows)

    def save(self, name: str, client: str, take: bool, rows: Mapping[str, Any]) -> int:
        """Put rows on disk; they are there when this returns.

        Parameters
        ----------
        name : str
            The grader's.
        client : str
            What tells one browser from another.
        take : bool
            Go on as a grader whom another browser has been.
        rows : mapping
            By key, as of `read`; of two grades of one candidate the later stays.

        Returns
        -------
        int
            Number of rows that were new.

        Raises
        ------
        TakenError
            If another browser has graded under this name.
        InputError
            If something in it is no name, key, or grade.
        """
        checked = {key: self._checked(key, row) for key, row in rows.items()}
        with self._lock:
            grader = self._grader(name)
            if grader.client not in ("", client) and not take:
                raise TakenError(f"{name} grades from another browser")
            new = {key: row for key, row in checked.items()
                   if row["graded_at"] > grader.rows.get(key, {}).get("graded_at", "")}  # fmt: skip
            changed = _Grader(client, grader.rows | new)
            if new or client != grader.client:
                self._write(name, changed)
                self._graders[name] = changed
            return len(new)

    def path(self, name: str) -> Path:
        """The file of a grader."""
        return self._folder / f"{name}.csv"

    def _grader(self, name: str) -> _Grader:
        if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
            raise InputError(f"grader {name!r}: a name is a letter, then up to 39 letters, digits, "
                             "spaces or one of _ . ' -")  # fmt: skip
        if name not in self._graders:
            self._refuse_alike(name)
            self._graders[name] = self._read(name)
        return self._graders[name]

    def _refuse_alike(self, name: str) -> None:
        """On some disks names that differ in case only are one file."""
        for path in self._folder.glob("*.csv"):
            if path.stem != name and path.stem.casefold() == name.casefold():
                raise InputError(f"grader {name}: there is a {path.stem} already; spell it so")

    def _read(self, name: str) -> _Grader:
        path = self.path(name)
        if not path.is_file():
            return _Grader("")
        said = [line.removeprefix(_CLIENT) for line in remarks_of(path) if line.startswith(_CLIENT)]
        table = read_grades(path).rows
        rows = {row["candidate_id"]: {key: row[key] for key in _GIVEN}
                for row in table.to_dict("records")}  # fmt: skip
        return _Grader(said[0] if said else "", rows)

    def _write(self, name: str, grader: _Grader) -> None:
        rows = [
            {**self._candidates[key], "candidate_id": key, "grader": name, "run_id": self._run_id}
            | row | {"flag": int(row["flag"])}
            for key, row in grader.rows.items()
            if key in self._candidates
        ]  # fmt: skip
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        write_grades(self.path(name), table, [f"{_CLIENT}{grader.client}"])

    def _checked(self, key: str, row: Any) -> dict[str, Any]:
        if key not in self._candidates:
            raise InputError(f"{key!r}: no candidate of this page")
        if not isinstance(row, dict) or set(row) != set(_GIVEN):
            raise InputError(f"{key}: not the columns {', '.join(_GIVEN)}")
        grade, flag, comment, when = (row[name] for name in _GIVEN)
        if grade not in ("", *GRADES):
            raise InputError(f"{key}: {grade!r} is no grade; {', '.join(GRADES)}, or empty")
        fits = isinstance(flag, bool) and isinstance(comment, str) and isinstance(when, str)
        if not fits or len(comment) > MOST_COMMENT or not re.fullmatch(r"[\dT:.Z+-]{10,40}", when):
            raise InputError(f"{key}: flag, comment or time that cannot be")
        said = " ".join(comment.split())
        return {"grade": grade, "flag": flag, "comment": said, "graded_at": when}
