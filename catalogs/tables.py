"""Read positions from astronomers' tables; write Parquet files that are whole or absent.

Which formats: `lensweep.catalogs.formats`.
"""

import re
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import Angle
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import ArrayLike, NDArray

from lensweep.catalogs.formats import RawTable, TableError, read_columns
from lensweep.catalogs.frames import Frame, to_icrs
from lensweep.catalogs.vo_tables import with_vo_metadata
from lensweep.ground.files import place, whole_file

__all__ = [
    "TableError",
    "check_positions",
    "read_positions",
    "read_table",
    "write_frame",
    "write_parquet",
]

# Pairs, so that an RA of one frame is never joined to a Dec of another. The first pair present
# wins: names that say degrees or a frame come before the bare ones.
POSITION_COLUMNS = (
    ("ra_deg", "dec_deg"),
    ("ra [deg]", "dec [deg]"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("_raj2000", "_dej2000"),
    ("raj2000", "dej2000"),
    ("ra_j2000", "dec_j2000"),
    ("alpha_j2000", "delta_j2000"),
    ("ra", "dec"),
    ("ra", "de"),
)
NAME_COLUMNS = ("name", "id", "candidate_id")
# How the CDS, and the journals' machine-readable tables, write positions: a column for each part.
_RA_PARTS, _DEC_PARTS = ("rah", "ram", "ras"), ("de-", "ded", "dem", "des")
_PARTS = {*_RA_PARTS, *_DEC_PARTS}
_WANTED = {name for pair in POSITION_COLUMNS for name in pair} | set(NAME_COLUMNS) | _PARTS
# As tables spell them, and astropy does not.
_UNIT_SPELLINGS = {
    "": "deg", "degree": "deg", "degrees": "deg", "d:m:s": "deg", "h": "hourangle",
    "hr": "hourangle", "hour": "hourangle", "hours": "hourangle", "h:m:s": "hourangle",
}  # fmt: skip
_SEXAGESIMAL = re.compile(
    r"\s*[+-]?\d+\s*[:hHdD°\s]\s*\d+(\s*[:mM'′\s]\s*\d+(\.\d*)?|\.\d+)?\s*[mM'′sS\"″]?\s*"
)


def read_positions(path: str | Path) -> pd.DataFrame:
    """Read the positions of a table in a file.

    Column names are matched without regard to case, by the first pair of `POSITION_COLUMNS` that
    the file has. Positions are ICRS, unless a VOTable's COOSYS or a FITS table's RADESYS and
    EQUINOX declare FK4 or FK5, of any equinox: these are brought to ICRS. Numbers are degrees,
    whatever their range, unless a unit of angle is declared. Sexagesimal text is in the unit that
    it holds (``10h00m28.6s``), else in the declared one, else RA is in hours and Dec in degrees,
    as everywhere. The columns RAh, RAm, RAs, DE-, DEd, DEm, DEs of the CDS are a position too.

    Parameters
    ----------
    path : str or Path
        Table; the format follows from the ending (see the module's docstring).

    Returns
    -------
    DataFrame
        ``ra_deg`` and ``dec_deg`` (float64, degrees), ``row`` (int64, 0-based data row in the
        file) and, if the file has a ``name`` or an ``id`` column, ``name`` (str).

    Raises
    ------
    TableError
        File missing, of unknown ending or not readable; no pair of position columns, or two
        columns that differ in case only; a declared unit that is none of an angle, or a declared
        frame other than ICRS, FK5 and FK4; no rows; a position that is neither a number nor
        sexagesimal, or off the sphere (RA in [0, 360), Dec in [-90, 90]).
    """
    return read_table(path, ())


def read_table(
    path: str | Path, extra: Collection[str], refuse_hours: bool = False
) -> pd.DataFrame:
    """Read the positions of a table, and some more of its columns as text.

    Parameters
    ----------
    path : str or Path
    extra : collection of str
        Names in lower case of the columns to read as well.
    refuse_hours : bool
        Refuse an RA column without a unit, and without ``deg`` in its name, whose values all lie
        below 24, which is what hours look like.

    Returns
    -------
    DataFrame
        The columns of `read_positions`, and those of `extra` that the file has (str; missing
        where the file has no value), under their names in lower case.

    Raises
    ------
    TableError
        As `read_positions`.
    """
    raw = read_columns(Path(path), _WANTED | set(extra))
    ra_deg, dec_deg = positions_of(raw, str(path), refuse_hours)
    table = pd.DataFrame({"ra_deg": ra_deg, "dec_deg": dec_deg, "row": np.arange(len(ra_deg))})
    found = _by_lower_case(str(path), raw)
    name = first_present(NAME_COLUMNS, found)
    if name is not None:
        table["name"] = pd.Series(raw.values[name]).astype("str")
    for column in extra:
        if column in found and column not in table:
            table[column] = pd.Series(raw.values[found[column]]).astype("str")
    return table


def positions_of(
    raw: RawTable, what: str, refuse_hours: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The positions among a table's columns.

    Parameters
    ----------
    raw : RawTable
    what : str
        Path or name of the table, for messages.
    refuse_hours : bool
        As of `read_table`.

    Returns
    -------
    ra_deg, dec_deg : ndarray, shape (rows,), float64
        ICRS.

    Raises
    ------
    TableError
        As `read_positions`.
    """
    ra_name, dec_name, raw = _position_columns(what, raw)
    ra_deg = _degrees(what, raw, ra_name, "hourangle")
    dec_deg = _degrees(what, raw, dec_name, "deg")
    if len(ra_deg) == 0:
        raise TableError(f"{what}: the table has no rows")
    check_positions(ra_deg, dec_deg, what)
    _check_ra_range(what, ra_deg)
    frame = _frame(what, raw, ra_name, dec_name)
    degrees = raw.units.get(ra_name) or "deg" in ra_name.lower()
    written_out = _SEXAGESIMAL.fullmatch(str(raw.values[ra_name][0]))
    if refuse_hours and not degrees and not written_out and max(ra_deg) < 24:
        raise TableError(
            f"{what}: column {ra_name!r} has no unit, and row 0 to {len(ra_deg) - 1} all lie below"
            " 24, as hours do; if they are degrees, call the columns ra_deg and dec_deg"
        )
    return (ra_deg, dec_deg) if frame is None else to_icrs(frame, ra_deg, dec_deg)


def check_positions(ra_deg: ArrayLike, dec_deg: ArrayLike, what: str) -> None:
    """Refuse positions that are not on the sphere.

    RA may be any finite angle: 360.0 and small negative values come out of rounding.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        Degrees.
    what : str
        Name of the table or list, for the message.

    Raises
    ------
    TableError
        Not two lists of one length; a value that is not finite; Dec outside [-90, 90].
    """
    ra, dec = np.asarray(ra_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64)
    if ra.ndim != 1 or ra.shape != dec.shape:
        raise TableError(
            f"{what}: RA has shape {ra.shape} and Dec {dec.shape}; give two lists of one length"
        )
    bad = np.flatnonzero(~(np.isfinite(ra) & np.isfinite(dec)))
    if bad.size:
        raise TableError(
            f"{what}: row {bad[0]} (counted from 0) has RA {ra[bad[0]]}, Dec {dec[bad[0]]}"
            f" ({bad.size} such rows); remove rows without a position"
        )
    bad = np.flatnonzero(np.abs(dec) > 90.0)
    if bad.size:
        raise TableError(
            f"{what}: row {bad[0]} (counted from 0) has Dec {dec[bad[0]]}, outside -90 to 90 deg"
            f" ({bad.size} such rows); are RA and Dec swapped?"
        )


def write_parquet(table: pa.Table, path: str | Path) -> None:
    """Write a table so that `path` holds either all of it or what it held before.

    The file says in the ways of TOPCAT and of astropy what units and meanings its columns have:
    see `lensweep.catalogs.vo_tables`.

    Parameters
    ----------
    table : pyarrow.Table
        Rows, with the schema's metadata.
    path : str or Path
        File to make or replace; its folder exists.
    """
    with whole_file(place(path)) as aside:
        pq.write_table(with_vo_metadata(table), aside, compression="zstd")


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """As `write_parquet`, for a table of pandas; its index comes back with it."""
    write_parquet(pa.Table.from_pandas(frame), path)


def _by_lower_case(what: str, raw: RawTable) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in raw.values:
        if name.lower() in found:
            raise TableError(
                f"{what}: columns {found[name.lower()]!r} and {name!r} differ in case only;"
                " rename one"
            )
        found[name.lower()] = name
    return found


def first_present(wanted: Iterable[str], found: dict[str, str]) -> str | None:
    """The first of some names in lower case that is there, as it is spelled there."""
    return next((found[name] for name in wanted if name in found), None)


def _position_columns(what: str, raw: RawTable) -> tuple[str, str, RawTable]:
    """The names of the pair of columns, and the table that has them."""
    found = _by_lower_case(what, raw)
    for ra_name, dec_name in POSITION_COLUMNS:
        if ra_name in found and dec_name in found:
            return found[ra_name], found[dec_name], raw
    if found.keys() >= _PARTS:
        return "RAh RAm RAs", "DE- DEd DEm DEs", _joined(raw, found)
    pairs = ", ".join(f"{ra_name}/{dec_name}" for ra_name, dec_name in POSITION_COLUMNS)
    raise TableError(
        f"{what}: no pair of RA and Dec columns among {', '.join(raw.names) or 'no columns'};"
        f" rename yours to one of {pairs}"
    )


def _joined(raw: RawTable, found: dict[str, str]) -> RawTable:
    """With the parts of positions as text: ``10 00 28.6``, ``-02 12 06``."""
    parts = {name: pd.Series(raw.values[found[name]]).astype("str") for name in _PARTS}
    # Some leave the sign of what is north blank.
    parts["ded"] = parts["de-"].fillna("").replace("+", "") + parts["ded"]
    text = {
        "RAh RAm RAs": parts["rah"].str.cat([parts["ram"], parts["ras"]], " "),
        "DE- DEd DEm DEs": parts["ded"].str.cat([parts["dem"], parts["des"]], " "),
    }
    frames = {
        name: raw.frames[found[part]]
        for name, part in zip(text, ("rah", "ded"), strict=True) if found[part] in raw.frames
    }  # fmt: skip
    values = {name: one.to_numpy(object) for name, one in text.items()}
    return RawTable(raw.names, values, frames=frames)


def _frame(what: str, raw: RawTable, ra_name: str, dec_name: str) -> Frame | None:
    """The frame of a pair of columns; None for ICRS. Refuse what cannot be brought to it."""
    frame, other = raw.frames.get(ra_name), raw.frames.get(dec_name)
    if frame != other:
        raise TableError(
            f"{what}: column {ra_name!r} is in {frame or 'ICRS'}, but {dec_name!r} in "
            f"{other or 'ICRS'}; give both in ICRS"
        )
    if isinstance(frame, str):
        raise TableError(
            f"{what}: columns {ra_name!r} and {dec_name!r} are declared in {frame}, which is not "
            "understood here; convert them to ICRS"
        )
    if frame is not None and frame.equinox != "J2000" and _says_j2000(ra_name):
        raise TableError(
            f"{what}: columns {ra_name!r} and {dec_name!r} are declared in {frame}, which their "
            "names contradict; correct one or the other"
        )
    return frame


def _says_j2000(name: str) -> bool:
    return "2000" in name or "icrs" in name.lower()


def _degrees(what: str, raw: RawTable, name: str, sexagesimal: str) -> NDArray[np.float64]:
    """A column in degrees; its sexagesimal text is in that unit where nothing else is said."""
    unit, values = _unit_of(what, raw, name), raw.values[name]
    if values.ndim != 1:
        raise TableError(f"{what}: column {name!r} holds arrays of shape {values.shape[1:]}")
    if values.dtype.kind in "iuf":
        return np.asarray(values.astype(np.float64) * unit.to(u.deg))
    text = pd.Series(values, dtype="str")
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    # A blank stays NaN here and is refused with its row number as a missing position.
    blank = (text.isna() | (text.str.strip() == "")).to_numpy(dtype=np.bool_)
    bad = np.flatnonzero(np.isnan(numbers) & ~blank)
    if not bad.size:
        return np.asarray(numbers * unit.to(u.deg))
    stated = unit if raw.units.get(name) else u.Unit(sexagesimal)
    return _of_sexagesimal(what, name, text, stated)


def _unit_of(what: str, raw: RawTable, name: str) -> u.UnitBase:
    stated = raw.units.get(name, "").strip().strip('"').lower()
    try:
        unit = u.Unit(_UNIT_SPELLINGS.get(stated, stated))
    except ValueError:
        unit = u.dimensionless_unscaled
    if not unit.is_equivalent(u.deg):
        raise TableError(f"{what}: column {name!r} is in {stated!r}; convert it to degrees")
    return unit


def _of_sexagesimal(what: str, name: str, text: pd.Series, unit: u.UnitBase) -> NDArray[np.float64]:
    fits_form = text.str.fullmatch(_SEXAGESIMAL).fillna(False).to_numpy(dtype=np.bool_)
    bad = np.flatnonzero(~fits_form)
    if bad.size:
        row = int(bad[0])
        raise TableError(
            f"{what}: column {name!r}, row {row} (counted from 0): {text.iloc[row]!r} is neither a"
            " number like all others of the column, nor sexagesimal like all others; correct it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # astropy takes 60 seconds for a minute, and says so
            return np.asarray(Angle(text.to_list(), unit).deg, np.float64)
    except (ValueError, u.UnitsError, AstropyWarning) as error:
        raise TableError(
            f"{what}: column {name!r}: not all of it is sexagesimal ({error}); correct it"
        ) from error


def _check_ra_range(what: str, ra_deg: NDArray[np.float64]) -> None:
    bad = np.flatnonzero((ra_deg < 0.0) | (ra_deg >= 360.0))
    if bad.size:
        raise TableError(
            f"{what}: row {bad[0]} (counted from 0) has RA {ra_deg[bad[0]]}, outside [0, 360) deg"
            f" ({bad.size} such rows); bring RA into 0 to 360"
        )
