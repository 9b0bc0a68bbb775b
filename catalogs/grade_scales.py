"""Grades of lens candidates: which are weak, and what people who look at stamps give."""

import pandas as pd

from lensweep.catalogs.formats import TableError

# What graders give: sure, probable, possible, and what is no lens.
GRADES = ("A", "B", "C", "X")
NOT_A_LENS = "X"
# A letter from which a grade counts; lenscat's confident are A or B, its probable C.
_LETTER = {"A": "A", "B": "B", "C": "C", "confident": "B", "probable": "C"}
# C, or probable: not even the one who gave it is sure.
LEAST_TRUSTED = "B"


def at_least(grades: pd.Series, least: str | None) -> pd.Series:
    """Which lenses are graded well enough to be labels.

    Parameters
    ----------
    grades : Series of str
        A, B, C, confident or probable; anything else, or nothing, is not judged, and counts.
    least : str or None
        A, B, C, confident or probable; by default `LEAST_TRUSTED`.

    Returns
    -------
    Series of bool

    Raises
    ------
    TableError
        If `least` is no such grade.
    """
    if least is not None and least not in _LETTER:
        raise TableError(f"min grade {least!r}: none of {', '.join(_LETTER)}")
    letters = grades.map(_LETTER)
    return letters.isna() | (letters <= _LETTER[least or LEAST_TRUSTED])
