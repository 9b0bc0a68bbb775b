"""Lists of targets: the positions of somebody's table, with every row's identity and columns."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

from lensweep.catalogs.formats import (
    RawTable,
    TableError,
    columns_of_frame,
    columns_of_table,
    read_columns,
)
from lensweep.catalogs.hats_folders import is_hats
from lensweep.catalogs.schemas import TARGET_COLUMNS, with_provenance
from lensweep.catalogs.tables import first_present, positions_of
from lensweep.ground.files import place

Given: TypeAlias = str | Path | Table | SkyCoord | pd.DataFrame
# The first that is there names the targets.
ID_COLUMNS = ("target_id", "target", "name", "id", "source_id", "object_id", "objid", "object",
              "designation", "number", "candidate_id")  # fmt: skip
ASKED = ("row", "target_id", "ra_deg", "dec_deg")
# Says of a file that it is such a list already.
_MARK = "targets"
_WHOLE = r"-?(?:0|[1-9]\d{0,17})"
_NUMBER = r"[+-]?(?:0|[1-9]\d*)?(?:\.\d*)?(?:[eE][+-]?\d+)?"


def read_targets(given: Given) -> pa.Table:
    """Read a list of targets: a row for every row of a table, in its order.

    Parameters
    ----------
    given : str, Path, astropy.table.Table, SkyCoord or DataFrame
        A file of any format of `lensweep.catalogs.formats`, a HATS catalogue's folder, or a table
        or positions in memory.

    Returns
    -------
    pyarrow.Table
        The columns `ASKED` of `lensweep.catalogs.schemas.TARGETS`, then those of the given table
        with their units, under their names; one that has a name of ours is called ``input_...``,
        and columns of arrays are left out. Columns of a file without types are numbers if all of
        their values are written as numbers are: ``007`` is text.

    Raises
    ------
    TableError
        If it cannot be read, or as of `lensweep.catalogs.tables.read_positions`.
    """
    if isinstance(given, str | Path) and not is_hats(given):
        kept = _kept(place(given))
        if kept is not None:
            return kept
    raw, what = _raw(given)
    ra_deg, dec_deg = positions_of(raw, what)
    n = len(ra_deg)
    found = {name.lower(): name for name in raw.values}
    name = first_present(ID_COLUMNS, found)
    ids = [None] * n if name is None else _texts(raw.values[name])
    asked = {"row": np.arange(n), "target_id": ids, "ra_deg": ra_deg, "dec_deg": dec_deg}
    fields = [column.field() for column in TARGET_COLUMNS if column.name in ASKED]
    columns = [pa.array(asked[field.name], field.type) for field in fields]
    for field, values in _given_columns(raw, name, (ra_deg, dec_deg)):
        fields.append(field)
        columns.append(values)
    return with_provenance(pa.Table.from_arrays(columns, schema=pa.schema(fields)), {_MARK: what})


def _kept(path: Path) -> pa.Table | None:
    """A list that this module has read before."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError):  # said by whoever reads it as any other table
        return None
    return table if f"lensweep.{_MARK}".encode() in (table.schema.metadata or {}) else None


def _raw(given: Given) -> tuple[RawTable, str]:
    if isinstance(given, SkyCoord):
        return columns_of_table(Table({"sky": given.reshape(-1)}), "SkyCoord"), "SkyCoord"
    if isinstance(given, Table):
        return columns_of_table(given, "Table"), "Table"
    if isinstance(given, pd.DataFrame):
        return columns_of_frame(given), "DataFrame"
    if not isinstance(given, str | Path):
        raise TableError(
            f"centres: a path, an astropy Table, a SkyCoord or a DataFrame is needed, not "
            f"{type(given).__name__}"
        )
    if is_hats(given):
        # Takes two seconds to import.
        from lensweep.catalogs.hats import read_hats

        return columns_of_frame(read_hats(given)), str(given)
    return read_columns(Path(given), None), str(given)


def _given_columns(
    raw: RawTable, id_name: str | None, asked: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> list[tuple[pa.Field, pa.Array]]:
    """The given table's own columns."""
    taken = {column.name for column in TARGET_COLUMNS}
    columns = []
    for name, values in raw.values.items():
        if values.ndim != 1 or _is_asked(name, values, asked):
            continue
        array = _array(values, raw.untyped and name != id_name)
        called = name
        while called.lower() in taken:
            called = f"input_{called}"
        taken.add(called.lower())
        unit = raw.units.get(name, "")
        columns.append((pa.field(called, array.type, metadata={"unit": unit} if unit else None),
                        array))  # fmt: skip
    return columns


def _is_asked(
    name: str, values: NDArray[Any], asked: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> bool:
    """Whether a column says once more where a target is."""
    ours = dict(zip(("ra_deg", "dec_deg"), asked, strict=True)).get(name)
    return ours is not None and values.dtype.kind == "f" and np.array_equal(values, ours)


def _array(values: NDArray[Any], untyped: bool) -> pa.Array:
    """Values as Arrow holds numbers, truth values and text; anything else is text."""
    if values.dtype.kind in "iufb":
        return pa.array(values.astype(values.dtype.newbyteorder("=")))
    if untyped:
        return _typed(pd.Series(values, dtype="str"))
    if values.dtype.kind == "O":
        try:
            array = pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
            return pa.array(_texts(values), pa.string())
        if (
            pa.types.is_floating(array.type)
            or pa.types.is_integer(array.type)
            or (pa.types.is_boolean(array.type))
        ):
            return array
    return pa.array(_texts(values), pa.string())


def _typed(text: pd.Series) -> pa.Array:
    """Text as numbers, if every value is written as one."""
    bare = text.str.strip()
    there = bare.dropna()
    for form, kind in ((_WHOLE, pa.int64()), (_NUMBER, pa.float64())):
        if len(there) and there.str.fullmatch(form).all() and there.str.contains(r"\d").all():
            return pa.array(bare, pa.string(), from_pandas=True).cast(kind)
    return pa.array(text, pa.string(), from_pandas=True)


def _texts(values: NDArray[Any]) -> list[str | None]:
    text = pd.Series(values).astype("str").str.strip()
    return [None if pd.isna(one) else one for one in text]
