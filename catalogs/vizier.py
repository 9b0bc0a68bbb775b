"""Fetch the published LensFlow grades from VizieR, and check them against the shipped positions."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import nearest
from lensweep.catalogs.formats import TableError
from lensweep.catalogs.known_lenses import lensflow92
from lensweep.catalogs.lensflow_grades import LETTERS, LensFlowGrades, store_grades

# Pourrahmani, Nayyeri & Cooray 2018, ApJ 856, 68, table 2.
TABLE = "J/ApJ/856/68/table2"
SERVER = "vizier.cds.unistra.fr"
# VizieR computes these two in decimal degrees, whatever the table's own columns hold.
_POSITION = ("_RAJ2000", "_DEJ2000")
TOLERANCE_ARCSEC = 1.0


class VizierError(TableError):
    """VizieR's answer cannot be used; what was stored before stays as it was."""


def update_grades(server: str = SERVER, timeout_s: float = 60.0) -> tuple[LensFlowGrades, Path]:
    """Fetch the grades of the 92 candidates, check them, and keep them.

    Parameters
    ----------
    server : str
        VizieR's host, or that of a mirror.
    timeout_s : float
        Longest wait for an answer, above 0.

    Returns
    -------
    grades : LensFlowGrades
    path : Path
        Where they are kept.

    Raises
    ------
    VizierError
        If there is no answer, or it is not the table of the 92 candidates with their grades.
    GradeError
        If the grades cannot be kept.
    """
    table = fetch_table(server, timeout_s)
    grades = LensFlowGrades(
        grades_of(table), f"VizieR {TABLE}", datetime.now(UTC).isoformat(timespec="seconds")
    )
    return grades, store_grades(grades)


def fetch_table(server: str, timeout_s: float) -> Table:
    """Ask VizieR for all rows and columns of the table.

    Raises
    ------
    VizierError
        If there is no answer, or no table in it, or the time-out is not above 0.
    """
    # astroquery takes a second to import, and nothing else needs it.
    from astroquery import cache_conf
    from astroquery.exceptions import TableParseError
    from astroquery.vizier import Vizier
    from requests.exceptions import RequestException

    if not timeout_s > 0.0:
        raise VizierError(f"time-out of {timeout_s:g} s: must be above 0")
    # "**" asks for all columns; "*" for those that VizieR shows by default, which may lack grades.
    asked = Vizier(
        columns=["**", *_POSITION], row_limit=-1, timeout=timeout_s, vizier_server=server
    )
    try:
        # Otherwise astroquery gives yesterday's answer again, error pages among them.
        with cache_conf.set_temp("cache_active", False):
            tables = asked.get_catalogs(TABLE)
    except (RequestException, TableParseError) as error:
        raise VizierError(f"VizieR at {server}: {_first_line(error)}; try later, or another"
                          " --server") from error  # fmt: skip
    # astroquery gives None for what does not begin like XML, such as an error page.
    if not tables:
        raise VizierError(f"VizieR at {server}: no table {TABLE} in its answer; try later, or"
                          " another --server")  # fmt: skip
    return tables[0]


def grades_of(table: Table) -> dict[int, str]:
    """The grades in VizieR's table by ``lensflow_id``, told by position.

    Raises
    ------
    VizierError
        If there are not 92 rows, if they are not one to one within `TOLERANCE_ARCSEC` of the
        shipped positions, or if no single column holds an A, B or C in every row.
    """
    shipped = lensflow92()
    if len(table) != len(shipped):
        raise VizierError(
            f"VizieR {TABLE}: {len(table)} rows, but LensFlow has {len(shipped)} candidates"
        )
    rows = _rows_by_candidate(table, shipped)
    letters = _grade_column(table)
    return dict(zip(shipped["lensflow_id"].tolist(), letters[rows].tolist(), strict=True))


def _rows_by_candidate(table: Table, shipped: pd.DataFrame) -> NDArray[np.int64]:
    """The table's row of each shipped candidate."""
    missing = [name for name in _POSITION if name not in table.colnames]
    if missing:
        raise VizierError(
            f"VizieR {TABLE}: no column {missing[0]} among {', '.join(table.colnames)}"
        )
    ra, dec = (np.ma.filled(table[name].astype(np.float64), np.nan) for name in _POSITION)
    index, row, _ = nearest(shipped["ra_deg"], shipped["dec_deg"], ra, dec, TOLERANCE_ARCSEC)
    if len(index) < len(shipped):
        lost = shipped["lensflow_id"].drop(index).tolist()
        raise VizierError(
            f"VizieR {TABLE}: no row within {TOLERANCE_ARCSEC:g} arcsec of LensFlow {lost[0]}"
            f" ({len(lost)} such candidates); its positions are not those that are shipped"
        )
    if len(np.unique(row)) < len(row):
        raise VizierError(f"VizieR {TABLE}: a row is the nearest of two candidates")
    return row


def _grade_column(table: Table) -> NDArray[np.str_]:
    """The one column of which every value is a grade."""
    found = {}
    for name in table.colnames:
        if table[name].dtype.kind in "OSU":
            filled = np.ma.filled(table[name].astype(str), "")
            values = np.array([str(value).strip() for value in filled])
            if np.isin(values, LETTERS).all():
                found[name] = values
    if len(found) != 1:
        raise VizierError(
            f"VizieR {TABLE}: {len(found)} columns hold an A, B or C in every row, of"
            f" {', '.join(table.colnames)}; expected one, with the grades"
        )
    return next(iter(found.values()))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
