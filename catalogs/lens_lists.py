"""Lists of known lenses in one form, wherever they are from: shipped, lenscat, or a user's file."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.catalogs.crossmatch import all_pairs
from lensweep.catalogs.formats import TableError
from lensweep.catalogs.grade_scales import NOT_A_LENS
from lensweep.catalogs.known_lenses import castles, faure2008, lensflow92
from lensweep.catalogs.lens_schemas import KNOWN
from lensweep.catalogs.lensflow_grades import lensflow_scheme, stored_grades
from lensweep.catalogs.tables import read_table

LENSCAT = "lenscat"
# For a list that says nothing of its positions' errors: COSMOS and lenscat agree within 2 arcsec,
# and most image separations are below 2.
ANY_RADIUS_ARCSEC = 3.0
# Archives' own astrometry: 1-2 arcsec in raw HLA mosaics, below 0.1 in HAP ones (HLA help).
ASTROMETRY_ARCSEC = 1.0
# Columns of a file that are understood, the first present of each.
_COLUMNS = {
    "grade": ("grade", "grading", "confidence"),
    "z_lens_listed": ("z_lens", "zlens", "zl", "z"),
    "kind": ("type", "kind"),
    "reference": ("ref", "reference", "source"),
}
_NO_NAME = {"", "-", "--"}
# Two rows of one name this close are one system listed twice.
_SAME_ARCSEC = 1.0


class LensListError(TableError):
    """A list of known lenses that cannot be used."""


def known_lenses(more: Sequence[str | Path] = ()) -> pd.DataFrame:
    """The shipped lists of known lenses and more of them, in the columns of `KNOWN`.

    Parameters
    ----------
    more : sequence of str or Path
        Tables (CSV, FITS, VOTable, Parquet) with positions in degrees, or the word ``lenscat``
        for the catalogue of that package, if it is installed.

    Raises
    ------
    LensListError
        If a list repeats a system, two lists have one name, or lenscat is not installed.
    TableError
        If a file cannot be read.
    """
    lists = [_castles(), _lensflow(), _faure()]
    lists += [_lenses_of(read_lens_list(item)) for item in more]
    names = [str(table["catalogue"].iloc[0]) for table in lists]
    for name in names:
        if names.count(name) > 1:
            raise LensListError(f"two lists of known lenses are called {name}; rename one file")
    return pd.concat(lists, ignore_index=True)


def _lenses_of(table: pd.DataFrame) -> pd.DataFrame:
    """A list without what its graders found to be none."""
    return table[(table["grade"] != NOT_A_LENS).fillna(True)]


def read_lens_list(path: str | Path) -> pd.DataFrame:
    """Read a user's list of known lenses, or lenscat's.

    Parameters
    ----------
    path : str or Path
        The word ``lenscat``, or a table with a pair of position columns in degrees, and, if it has
        them, ``name``, ``grade``, ``z_lens`` (or ``zlens``), ``type`` and ``reference``.

    Returns
    -------
    DataFrame
        The columns of `KNOWN`; ``catalogue`` is the file's name without its ending. A redshift
        cell that is not one plain number is kept in ``z_lens_listed`` only.

    Raises
    ------
    LensListError
        If two rows have one name and lie within an arcsecond, or lenscat is not installed.
    TableError
        If the file cannot be read, or a position is missing, sexagesimal, in hours, without a
        unit and below 24 throughout, or off the sphere; with the row, counted from 0.
    """
    if str(path) == LENSCAT:
        return _lenscat()
    path = Path(path)
    if path.is_dir():
        raise LensListError(
            f"{path}: is a folder, but a list of known lenses is a table; HATS catalogues are for "
            "`lensweep crossmatch` alone"
        )
    table = _as_known(path, path.name.split(".")[0])
    _refuse_repeats(path, table)
    return table


def _as_known(path: Path, catalogue: str) -> pd.DataFrame:
    extra = {name for names in _COLUMNS.values() for name in names}
    read = read_table(path, sorted(extra), refuse_hours=True)
    found = {
        column: next((name for name in names if name in read), None)
        for column, names in _COLUMNS.items()
    }
    values = {
        column: None if name is None else read[name].str.strip().replace("", None)
        for column, name in found.items()
    }
    grade, scheme = values["grade"], None
    if grade is not None:
        scheme = grade.notna().map({True: f"{path.name}, column {found['grade']}", False: None})
    return list_of(
        catalogue,
        read["name"] if "name" in read else pd.Series([""] * len(read), dtype="str"),
        read["ra_deg"],
        read["dec_deg"],
        grade=grade,
        grade_scheme=scheme,
        z_lens=None if found["z_lens_listed"] is None else _redshifts(values["z_lens_listed"]),
        z_lens_listed=values["z_lens_listed"],
        kind=values["kind"],
        reference=values["reference"],
    )


def list_of(
    catalogue: str, names: pd.Series, ra_deg: pd.Series, dec_deg: pd.Series, **columns: object
) -> pd.DataFrame:
    """A list in the columns of `KNOWN`; those that are not given are null."""
    rows = np.arange(len(names))
    values = {
        "catalogue": catalogue,
        "catalogue_row": rows,
        "known_name": _unlike(names),
        "known_ra_deg": np.asarray(ra_deg, np.float64),
        "known_dec_deg": np.asarray(dec_deg, np.float64),
        "match_radius_arcsec": ANY_RADIUS_ARCSEC,
    }
    table = pd.DataFrame(values | columns, columns=KNOWN.names, index=rows)
    numbers = {"catalogue_row": "int64", "z_lens": "float64", "known_ra_deg": "float64",
               "known_dec_deg": "float64", "match_radius_arcsec": "float64"}  # fmt: skip
    return table.astype({name: numbers.get(name, "str") for name in KNOWN.names})


def _unlike(names: pd.Series) -> list[str]:
    """Names that tell rows apart; a row without a name is called after its number."""
    stripped = ["" if pd.isna(name) else str(name).strip() for name in names]
    counts = pd.Series(stripped).value_counts()
    return [
        f"row {row}" if name in _NO_NAME else f"{name} (row {row})" if counts[name] > 1 else name
        for row, name in enumerate(stripped)
    ]


def _redshifts(listed: pd.Series) -> pd.Series:
    """The numbers among what is listed: 0.48 is one; 0.48 | 0.7, 0.5?, - and measured are not."""
    plain = listed.str.fullmatch(r"\d*\.?\d+(?:[eE][+-]?\d+)?").fillna(False).astype("bool")
    return pd.to_numeric(listed.where(plain), errors="coerce")


def _refuse_repeats(path: Path, table: pd.DataFrame) -> None:
    plain = table["known_name"].str.replace(r" \(row \d+\)$", "", regex=True)
    repeated = np.flatnonzero((plain != table["known_name"]).to_numpy())
    ra, dec = table["known_ra_deg"].iloc[repeated], table["known_dec_deg"].iloc[repeated]
    first, second, _ = all_pairs(ra, dec, ra, dec, _SAME_ARCSEC)
    for one, other in zip(repeated[first], repeated[second], strict=True):
        if one < other and plain[one] == plain[other]:
            raise LensListError(
                f"{path}: rows {one} and {other} (counted from 0) are both {plain[one]}, within"
                f" {_SAME_ARCSEC:g} arcsec; remove one"
            )


def _castles() -> pd.DataFrame:
    table = castles()
    listed = table["z_lens"].astype("str")
    uncertain = table["z_lens_flag"] == "uncertain"
    return list_of(
        "CASTLES", table["name"], table["ra_deg"], table["dec_deg"], grade=table["grade"],
        grade_scheme="CASTLES A/B/C: of being a lens",
        z_lens=table["z_lens"].mask(uncertain),
        z_lens_listed=listed.mask(uncertain, listed + " (uncertain)"), reference=table["source"],
        match_radius_arcsec=_castles_radii(table),
    )  # fmt: skip


def _castles_radii(table: pd.DataFrame) -> pd.Series:
    """Position errors: against an independent list where there is one, else by the digits."""
    declination = np.radians(table["dec_deg"].to_numpy(np.float64))
    seconds, arcsec = (table[name].map(_half_unit) for name in ("ra_hms", "dec_dms"))
    digits = np.hypot(15.0 * np.cos(declination) * seconds, arcsec)
    error = np.fmax(digits, table["xcheck_sep_arcsec"].astype("float64"))
    half = table["image_separation_arcsec"].astype("float64").fillna(2.0) / 2.0
    return ASTROMETRY_ARCSEC + error + half


def _half_unit(sexagesimal: str) -> float:
    """Half a unit of the last digit of the seconds."""
    _, _, decimals = sexagesimal.rsplit(":", 1)[1].partition(".")
    return float(0.5 * 10.0 ** -len(decimals))


def _lensflow() -> pd.DataFrame:
    table, published = lensflow92(), stored_grades()
    return list_of(
        "LensFlow", "LensFlow " + table["lensflow_id"].astype("str"), table["ra_deg"],
        table["dec_deg"], grade=table["confidence"] if published is None else table["grade"],
        grade_scheme=lensflow_scheme(),
        reference="doi:10.3847/1538-4357/aaae6a",
    )  # fmt: skip


def _faure() -> pd.DataFrame:
    table = faure2008()
    return list_of(
        "Faure2008", table["name"], table["ra_deg"], table["dec_deg"], z_lens=table["z_lens"],
        z_lens_listed=table["z_lens"].astype("str"), reference="arXiv:0802.2174",
    )  # fmt: skip


def _lenscat() -> pd.DataFrame:
    # Found, not imported: importing it loads plotting and sky-map packages.
    package = importlib.util.find_spec(LENSCAT)
    if package is None or package.origin is None:
        raise LensListError("known lenses: lenscat is not installed; `pip install lenscat`")
    table = _as_known(Path(package.origin).parent / "data" / "catalog.csv", LENSCAT)
    return table.assign(grade_scheme="lenscat confident/probable")
