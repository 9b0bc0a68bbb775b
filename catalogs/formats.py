"""The file formats of astronomers' tables: names, units and values of the columns that matter.

Readable endings: ``.csv`` (comment lines may come first, commas separate), ``.ecsv``, ``.txt``
``.dat`` ``.tsv`` ``.tab`` ``.tbl`` ``.mrt`` ``.ascii`` (whatever form of text table astropy
recognises), ``.fits`` ``.fit`` ``.fits.gz`` (first table extension), ``.xml`` ``.vot`` ``.votable``
(first table), ``.parquet``.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.io import ascii as text_tables
from astropy.io import fits, votable
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from lensweep.catalogs.frames import Frame, FrameError, frame_of
from lensweep.ground.errors import InputError

# Not NA, as pandas has it: a lens may be called that.
_CSV_NULLS = ["", "nan", "NaN", "null", "NULL"]
_ECSV = "# %ECSV"
# How the tables of journals say that positions are not of today.
_OLD_EQUINOX = re.compile(r"\bB ?1950|\(1950")
# Names in lower case of the columns to read; None for all.
Wanted = Collection[str] | None


class TableError(InputError):
    """A table or a list of positions that cannot be used as it is."""


@dataclass(frozen=True)
class RawTable:
    """The columns of a file: every name seen, and the units and values of the wanted ones.

    Attributes
    ----------
    names : list of str
    values : dict of str to ndarray, shape (rows,)
    units : dict of str to str
        As declared; a column without a unit may be missing or empty.
    frames : dict of str to Frame or str
        Of columns that are declared to be in another frame than ICRS; a name instead of a frame
        is of one that nothing is known of here.
    untyped : bool
        Whether the file says nothing of types: all values are text then.
    """

    names: list[str]
    values: dict[str, NDArray[Any]]
    units: dict[str, str] = field(default_factory=dict)
    frames: dict[str, Frame | str] = field(default_factory=dict)
    untyped: bool = False


def read_columns(path: Path, wanted: Wanted) -> RawTable:
    """Read columns of a table by their names, whatever its format.

    Parameters
    ----------
    path : Path
        Table; the format follows from the ending (see the module's docstring).
    wanted : collection of str or None
        Names in lower case; the file's are matched without regard to case. Those that it lacks
        are left out. None reads all.

    Returns
    -------
    RawTable

    Raises
    ------
    TableError
        File missing, of unknown ending or not readable.
    """
    read = _reader(path)
    if not path.is_file():
        raise TableError(f"{path}: no such file")
    return read(path, wanted)


def _reader(path: Path) -> Callable[[Path, Wanted], RawTable]:
    readers = {
        (".csv", ".ecsv"): _read_csv,
        (".txt", ".dat", ".tsv", ".tab", ".tbl", ".mrt", ".ascii"): _read_text,
        (".fits", ".fit", ".fits.gz"): _read_fits,
        (".xml", ".vot", ".votable"): _read_votable,
        (".parquet",): _read_parquet,
    }
    for endings, reader in readers.items():
        if path.name.lower().endswith(endings):
            return reader
    known = ", ".join(ending for endings in readers for ending in endings)
    raise TableError(f"{path}: unknown file ending; a table of positions ends with one of {known}")


def _read_csv(path: Path, wanted: Wanted) -> RawTable:
    if _begins_as_ecsv(path):
        return _read_text(path, wanted)
    # As text: names such as "0028" keep their zeros, and sexagesimal values can be shown back.
    try:
        frame = pd.read_csv(
            path, skiprows=_remarks(path), dtype="str", encoding="utf-8-sig", skipinitialspace=True,
            keep_default_na=False, na_values=_CSV_NULLS,
        )  # fmt: skip
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError
        raise TableError(f"{path}: not a readable CSV table: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the surplus as an index and shifts every value by one column.
        raise TableError(f"{path}: rows have more values than the header has names")
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    names = list(frame.columns)
    values = {name: frame[name].to_numpy() for name in _wanted(names, wanted)}
    return RawTable(names, values, untyped=True)


def _begins_as_ecsv(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline().startswith(_ECSV)


def _read_text(path: Path, wanted: Wanted) -> RawTable:
    typed = _begins_as_ecsv(path)
    try:
        if typed:
            table = Table.read(path, format="ascii.ecsv")
        else:
            table, typed = _guessed(path)
    except (text_tables.InconsistentTableError, ValueError, TypeError, KeyError) as error:
        # astropy's own words are a page of guesses.
        raise TableError(
            f"{path}: not a readable text table, in any form that astropy knows"
        ) from error
    raw = columns_of_table(table, str(path))
    values = {name: raw.values[name] for name in _wanted(raw.names, wanted)}
    return RawTable(raw.names, values, raw.units, raw.frames, untyped=not typed)


def _guessed(path: Path) -> tuple[Table, bool]:
    """A text table of whatever form, and whether it says of what types its columns are."""
    try:
        # As text, for the reasons of a CSV table.
        return text_tables.read(path, converters={"*": [text_tables.convert_numpy(str)]}), False
    except text_tables.InconsistentTableError:
        # Of IPAC and the CDS: whoever says types wants no others.
        return text_tables.read(path), True


def columns_of_table(table: Table, what: str) -> RawTable:
    """The columns of a table that is in memory already.

    Parameters
    ----------
    table : astropy.table.Table
        Plain columns, quantities, times; one column of positions (`SkyCoord`) at most, which
        becomes ``ra_deg`` and ``dec_deg``, ICRS.
    what : str
        What it is, for messages.

    Raises
    ------
    TableError
        If it has several columns of positions, or positions of its own beside one.
    """
    sky = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
    if len(sky) > 1:
        raise TableError(f"{what}: {len(sky)} columns of positions, {', '.join(sky)}; keep one")
    values: dict[str, NDArray[Any]] = {}
    units: dict[str, str] = {}
    frames: dict[str, Frame | str] = {}
    old = frame_of("FK4", "B1950")
    for name in table.colnames:
        column = table[name]
        if name in sky:
            units |= {"ra_deg": "deg", "dec_deg": "deg"}
            values |= {"ra_deg": column.icrs.ra.deg, "dec_deg": column.icrs.dec.deg}
            continue
        units[str(name)] = str(getattr(column, "unit", None) or "")
        values[str(name)] = _plain(column)
        if old and _OLD_EQUINOX.search(getattr(column, "description", None) or ""):
            frames[str(name)] = old
    return RawTable(list(values), values, units, frames)


def _plain(column: Any) -> NDArray[Any]:
    """A column as an array; what is masked is NaN, or None."""
    if isinstance(column, Time):
        return np.asarray(column.isot)
    values = getattr(column, "value", column)
    if not np.ma.is_masked(values):
        found = np.asarray(values)
        # A FITS file's own byte order is what pandas and Arrow refuse.
        return found.astype(found.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f":
        return np.asarray(values.astype(np.float64).filled(np.nan))
    # Not as floats: an ID 12 would become 12.0.
    found = np.array(values, object)
    found[values.mask] = None
    return found


def columns_of_frame(frame: pd.DataFrame) -> RawTable:
    """The columns of a table of pandas; an index that has a name is one of them."""
    named = [name for name in frame.index.names if name is not None]
    columns = frame.reset_index() if named else frame
    names = [str(name) for name in columns.columns]
    values = [columns.iloc[:, number].to_numpy() for number in range(len(names))]
    return RawTable(names, dict(zip(names, values, strict=True)))


def _remarks(path: Path) -> int:
    """Number of lines before the header: comments, as a file of grades or ECSV has them."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return sum(1 for _ in itertools.takewhile(lambda line: line.startswith("#"), file))


def _read_fits(path: Path, wanted: Wanted) -> RawTable:
    try:
        with fits.open(path) as hdus:
            table = next((h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)), None)
            if table is None:
                raise TableError(f"{path}: has no table extension, only {len(hdus)} image HDUs")
            names = [column.name for column in table.columns]
            units = {column.name: column.unit or "" for column in table.columns}
            # astropy's own tables know what a null is in each kind of column.
            whole = Table.read(table, mask_invalid=False)
            part = Table({name: whole[name] for name in _wanted(names, wanted)})
            part.convert_bytestring_to_unicode()
            values = {name: _plain(part[name]) for name in part.colnames}
            stated = _stated(*_frame_cards(table.header))
    except (OSError, TypeError) as error:  # TypeError: the rows of a truncated file
        raise TableError(f"{path}: not a readable FITS file: {error}") from error
    frames = {} if stated is None else dict.fromkeys(values, stated)
    return RawTable(names, values, units, frames)


def _read_votable(path: Path, wanted: Wanted) -> RawTable:
    try:
        whole = votable.parse(path, verify="ignore")
        table = whole.get_first_table()
    except (VOTableSpecError, ExpatError, IndexError, ValueError) as error:
        raise TableError(f"{path}: not a readable VOTable: {error}") from error
    columns = {column.name or column.ID: column for column in table.fields}
    names = list(columns)
    columns = {name: columns[name] for name in _wanted(names, wanted)}
    units = {name: str(column.unit or "") for name, column in columns.items()}
    values = {name: _plain(table.array[column.ID]) for name, column in columns.items()}
    systems = {name: _system_of(column, table, whole) for name, column in columns.items()}
    frames = {name: stated for name, one in systems.items() if (stated := _stated_by(one))}
    return RawTable(names, values, units, frames)


def _frame_cards(header: fits.Header) -> tuple[str, Any, None]:
    """The frame that a FITS table's header states, by the keywords of an image's."""
    return str(header.get("RADESYS", header.get("RADECSYS", ""))), header.get("EQUINOX"), None


def _system_of(column: Any, table: Any, whole: Any) -> Any:
    """The COOSYS of a column: what it refers to, or its group, or one that nothing refers to."""
    systems = {system.ID: system for system in whole.iter_coosys()}
    groups = [group for group in table.iter_groups() if group.ref in systems]
    of_groups = {
        entry.ref: systems[group.ref]
        for group in groups
        for entry in group.entries
        if isinstance(entry, votable.tree.FieldRef)
    }
    referred = {one.ref for one in whole.iter_fields_and_params()} | {one.ref for one in groups}
    free = [system for ID, system in systems.items() if ID not in referred]
    if column.ref in systems:
        return systems[column.ref]
    # Several that nobody refers to say nothing.
    return of_groups.get(column.ID, free[0] if len(free) == 1 else None)


def _stated_by(system: Any) -> Frame | str | None:
    return None if system is None else _stated(system.system or "", system.equinox, system.epoch)


def _stated(system: str, equinox: Any, epoch: Any) -> Frame | str | None:
    """A frame that is stated; None for ICRS, and where nothing is."""
    if not system.strip() and equinox in (None, ""):
        return None
    try:
        return frame_of(system, equinox, epoch)
    except FrameError as error:
        return str(error)


def _read_parquet(path: Path, wanted: Wanted) -> RawTable:
    try:
        schema = pq.read_schema(path)
        names = schema.names
        table = pq.read_table(path, columns=_wanted(names, wanted))
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: not a readable Parquet file: {error}") from error
    units = {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in table.schema}
    # Integers with nulls as objects, else an id 12 would come back as "12.0".
    frame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    values = {name: frame[name].to_numpy() for name in table.column_names}
    return RawTable(names, values, units)


def _wanted(names: Iterable[str], wanted: Wanted) -> list[str]:
    return [name for name in names if wanted is None or name.lower() in wanted]
