"""Read positions from astronomers' tables; write Parquet files that are whole or absent.

Readable endings: ``.csv``, ``.fits`` ``.fit`` ``.fits.gz`` (first table extension), ``.xml``
``.vot`` ``.votable`` (first table), ``.parquet``.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.io.votable.exceptions import VOTableSpecError
from numpy.typing import ArrayLike, NDArray

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
NAME_COLUMNS = ("name", "id")
_WANTED = {name for pair in POSITION_COLUMNS for name in pair} | set(NAME_COLUMNS)
_DEGREE_UNITS = {"", "deg", "degree", "degrees"}
_HOUR_UNITS = {"h", "hr", "hour", "hours", "hourangle", "h:m:s", '"h:m:s"'}
_SEXAGESIMAL = re.compile(r"\s*[+-]?\d+\s*[:hHdD°\s]\s*\d+")


class TableError(ValueError):
    """A table or a list of positions that cannot be used as it is."""


@dataclass(frozen=True)
class _RawTable:
    """The columns of a file: every name seen, and the units and values of the wanted ones."""

    names: list[str]
    values: dict[str, NDArray[Any]]
    units: dict[str, str] = field(default_factory=dict)


def read_positions(path: str | Path) -> pd.DataFrame:
    """Read the positions of a CSV, FITS, VOTable or Parquet table.

    Column names are matched without regard to case, by the first pair of `POSITION_COLUMNS` that
    the file has. Values are taken as decimal degrees, whatever their range; hours are recognised
    by the declared unit only, never guessed.

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
        columns that differ in case only; a declared unit other than degrees; no rows; a position
        that is not a number, sexagesimal, or off the sphere (RA in [0, 360), Dec in [-90, 90]).
    """
    path = Path(path)
    read = _reader(path)
    if not path.is_file():
        raise TableError(f"{path}: no such file")
    raw = read(path)
    ra_name, dec_name = _position_columns(path, raw.names)
    ra_deg = _degrees(path, raw, ra_name)
    dec_deg = _degrees(path, raw, dec_name)
    if len(ra_deg) == 0:
        raise TableError(f"{path}: the table has no rows")
    check_positions(ra_deg, dec_deg, str(path))
    _check_ra_range(path, ra_deg)
    table = pd.DataFrame({"ra_deg": ra_deg, "dec_deg": dec_deg, "row": np.arange(len(ra_deg))})
    name = _first_present(NAME_COLUMNS, _by_lower_case(path, raw.names))
    if name is not None:
        table["name"] = pd.Series(raw.values[name]).astype("str")
    return table


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

    The rows go to ``.<name>.partial`` in the same folder, are flushed to disk, and the file is
    renamed. A partial file left by a killed process is overwritten by the next write.

    Parameters
    ----------
    table : pyarrow.Table
        Rows, with the schema's metadata.
    path : str or Path
        File to make or replace; its folder exists.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def _reader(path: Path) -> Callable[[Path], _RawTable]:
    readers = {
        (".csv",): _read_csv,
        (".fits", ".fit", ".fits.gz"): _read_fits,
        (".xml", ".vot", ".votable"): _read_votable,
        (".parquet",): _read_parquet,
    }
    for endings, reader in readers.items():
        if path.name.lower().endswith(endings):
            return reader
    known = ", ".join(ending for endings in readers for ending in endings)
    raise TableError(f"{path}: unknown file ending; a table of positions ends with one of {known}")


def _read_csv(path: Path) -> _RawTable:
    # As text: names such as "0028" keep their zeros, and sexagesimal values can be shown back.
    try:
        frame = pd.read_csv(path, dtype="str", encoding="utf-8-sig", skipinitialspace=True)
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError
        raise TableError(f"{path}: not a readable CSV table: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the surplus as an index and shifts every value by one column.
        raise TableError(f"{path}: rows have more values than the header has names")
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    names = list(frame.columns)
    return _RawTable(names, {name: frame[name].to_numpy() for name in _wanted(names)})


def _read_fits(path: Path) -> _RawTable:
    try:
        with fits.open(path) as hdus:
            table = next((h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)), None)
            if table is None:
                raise TableError(f"{path}: has no table extension, only {len(hdus)} image HDUs")
            names = [column.name for column in table.columns]
            units = {column.name: column.unit or "" for column in table.columns}
            values = {name: np.array(table.data[name]) for name in _wanted(names)}
    except (OSError, TypeError) as error:  # TypeError: the rows of a truncated file
        raise TableError(f"{path}: not a readable FITS file: {error}") from error
    return _RawTable(names, values, units)


def _read_votable(path: Path) -> _RawTable:
    try:
        table = votable.parse(path, verify="ignore").get_first_table()
    except (VOTableSpecError, ExpatError, IndexError, ValueError) as error:
        raise TableError(f"{path}: not a readable VOTable: {error}") from error
    columns = {column.name or column.ID: column for column in table.fields}
    names = list(columns)
    columns = {name: columns[name] for name in _wanted(names)}
    units = {name: str(column.unit or "") for name, column in columns.items()}
    values = {name: _unmasked(table.array[column.ID]) for name, column in columns.items()}
    return _RawTable(names, values, units)


def _read_parquet(path: Path) -> _RawTable:
    try:
        schema = pq.read_schema(path)
        names = schema.names
        table = pq.read_table(path, columns=_wanted(names))
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: not a readable Parquet file: {error}") from error
    units = {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in table.schema}
    # Integers with nulls as objects, else an id 12 would come back as "12.0".
    frame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    values = {name: frame[name].to_numpy() for name in table.column_names}
    return _RawTable(names, values, units)


def _unmasked(values: Any) -> NDArray[Any]:
    if values.dtype.kind in "iuf" and np.ma.is_masked(values):
        return np.asarray(values.astype(np.float64).filled(np.nan))
    return np.asarray(values)


def _wanted(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.lower() in _WANTED]


def _by_lower_case(path: Path, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _wanted(names):
        if name.lower() in found:
            raise TableError(
                f"{path}: columns {found[name.lower()]!r} and {name!r} differ in case only;"
                " rename one"
            )
        found[name.lower()] = name
    return found


def _first_present(wanted: Iterable[str], found: dict[str, str]) -> str | None:
    return next((found[name] for name in wanted if name in found), None)


def _position_columns(path: Path, names: list[str]) -> tuple[str, str]:
    found = _by_lower_case(path, names)
    for ra_name, dec_name in POSITION_COLUMNS:
        if ra_name in found and dec_name in found:
            return found[ra_name], found[dec_name]
    pairs = ", ".join(f"{ra_name}/{dec_name}" for ra_name, dec_name in POSITION_COLUMNS)
    raise TableError(
        f"{path}: no pair of RA and Dec columns among {', '.join(names) or 'no columns'};"
        f" rename yours to one of {pairs}"
    )


def _degrees(path: Path, raw: _RawTable, name: str) -> NDArray[np.float64]:
    unit = raw.units.get(name, "").strip().lower()
    if unit in _HOUR_UNITS:
        raise TableError(f"{path}: column {name!r} is in hours ({unit}); convert it to degrees")
    if unit not in _DEGREE_UNITS:
        raise TableError(f"{path}: column {name!r} is in {unit!r}; convert it to degrees")
    values = raw.values[name]
    if values.ndim != 1:
        raise TableError(f"{path}: column {name!r} holds arrays of shape {values.shape[1:]}")
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    return _degrees_of_text(path, name, values)


def _degrees_of_text(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    text = pd.Series(values, dtype="str")
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    # A blank stays NaN here and is refused with its row number as a missing position.
    blank = (text.isna() | (text.str.strip() == "")).to_numpy(dtype=np.bool_)
    bad = np.flatnonzero(np.isnan(numbers) & ~blank)
    if bad.size:
        row = int(bad[0])
        kind = "sexagesimal" if _SEXAGESIMAL.match(str(text.iloc[row])) else "not a number"
        raise TableError(
            f"{path}: column {name!r}, row {row} (counted from 0): {text.iloc[row]!r} is {kind};"
            " convert the column to decimal degrees"
        )
    return numbers


def _check_ra_range(path: Path, ra_deg: NDArray[np.float64]) -> None:
    bad = np.flatnonzero((ra_deg < 0.0) | (ra_deg >= 360.0))
    if bad.size:
        raise TableError(
            f"{path}: row {bad[0]} (counted from 0) has RA {ra_deg[bad[0]]}, outside [0, 360) deg"
            f" ({bad.size} such rows); bring RA into 0 to 360"
        )
