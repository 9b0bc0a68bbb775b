"""The published LensFlow grades, once a user has fetched them; lensweep does not ship them.

They lie in the user's data folder, in one JSON file with their source and date. Until they are
there, the 92 candidates have the two-level grading of lenscat, under its own name.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from lensweep.catalogs.formats import TableError
from lensweep.ground.files import whole_file

FORMAT = "lensweep-lensflow-grades"
# Another data folder, such as one that a whole group reads.
FOLDER_VARIABLE = "LENSWEEP_DATA"
LETTERS = ("A", "B", "C")
TWO_LEVEL_SCHEME = "lenscat confident/probable, not LensFlow's A/B/C"


class GradeError(TableError):
    """Grades that cannot be used."""


@dataclass(frozen=True)
class LensFlowGrades:
    """The published grades of the 92 candidates.

    Attributes
    ----------
    grades : dict of int to str
        A, B or C by ``lensflow_id`` (1 to 92).
    source : str
        Where they were fetched.
    date : str
        When (UTC), ISO 8601.
    """

    grades: dict[int, str]
    source: str
    date: str

    def __post_init__(self) -> None:
        if sorted(self.grades) != list(range(1, 93)):
            raise GradeError(f"LensFlow grades: {len(self.grades)} of them, but 92 candidates")
        for number, grade in sorted(self.grades.items()):
            if grade not in LETTERS:
                raise GradeError(
                    f"LensFlow grades: candidate {number} has {grade!r}, none of A, B and C"
                )

    @property
    def scheme(self) -> str:
        """What the grades are, for tables that show them."""
        return f"LensFlow A/B/C ({self.source}, fetched {self.date[:10]})"


def grades_path() -> Path:
    """Where the grades are kept."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder) if folder else user_data_path("lensweep")) / "lensflow92_grades.json"


def stored_grades() -> LensFlowGrades | None:
    """Read the grades that were fetched; None if none were.

    Raises
    ------
    GradeError
        If the file is there and is not what `store_grades` wrote.
    """
    path = grades_path()
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != FORMAT:
            raise GradeError(f"format {kept['format']!r}, expected {FORMAT!r}")
        grades = {int(number): grade for number, grade in kept["grades"].items()}
        return LensFlowGrades(grades, kept["source"], kept["date"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GradeError(
            f"LensFlow grades {path}: cannot be used ({error}); repeat `lensweep catalogs update`,"
            " or remove the file"
        ) from error


def lensflow_scheme() -> str:
    """Which grades of the 92 candidates are in use: those fetched, with their date, or lenscat's.

    Raises
    ------
    GradeError
        If the file of fetched grades is damaged.
    """
    published = stored_grades()
    return TWO_LEVEL_SCHEME if published is None else published.scheme


def store_grades(grades: LensFlowGrades) -> Path:
    """Keep the grades in the user's data folder; the file is whole or stays what it was.

    Raises
    ------
    GradeError
        If the folder cannot be written to.
    """
    path = grades_path()
    kept = {"format": FORMAT, "source": grades.source, "date": grades.date, "grades": grades.grades}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as aside:
            aside.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise GradeError(
            f"LensFlow grades: {path.parent} cannot be written to ({error.strerror}); set"
            f" {FOLDER_VARIABLE} to a folder that can"
        ) from error
    return path
