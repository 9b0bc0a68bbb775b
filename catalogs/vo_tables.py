"""Arrow tables as astronomers' tools know them: astropy's tables, VOTables, VOParquet metadata.

Units, UCDs, descriptions and provenance go along. VOParquet is the IVOA's note of that name
(ivoa.net/documents/Notes/VOParquet, 1.0): a Parquet file's metadata hold a VOTable without rows.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io.votable.tree import CooSys, Info, VOTableFile
from astropy.table import Column, MaskedColumn, Table
from astropy.table.meta import get_yaml_from_table
from numpy.typing import NDArray

from lensweep.catalogs.schemas import provenance_of

# Null text comes out of astropy's Parquet reader as the word None, and would be cut to this.
_LEAST_LENGTH = len("None")
_POSITIONS = ("pos.eq.ra", "pos.eq.dec")


def astropy_table(table: pa.Table) -> Table:
    """An Arrow table as astropy's.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of numbers, truth values or text. Metadata ``unit``, ``ucd`` and ``description`` of
        its fields become those of the columns (the UCD in ``meta``); the provenance is the table's
        ``meta``.

    Returns
    -------
    astropy.table.Table
        Nulls are masked; a column without any is a plain one.
    """
    columns = [_column(table[name], table.schema.field(name)) for name in table.column_names]
    return Table(columns, meta=provenance_of(table.schema))


def votable(table: pa.Table, name: str) -> VOTableFile:
    """An Arrow table as a VOTable: ICRS positions, UCDs, and its provenance as INFO.

    Parameters
    ----------
    table : pyarrow.Table
        As of `astropy_table`.
    name : str
        Of the TABLE.
    """
    columns = astropy_table(table)
    for name in columns.colnames:
        if columns[name].dtype.kind == "b" and hasattr(columns[name], "mask"):
            # astropy writes a null truth value as nothing, which VOTable does not allow.
            columns[name] = columns[name].astype(np.int16)
    provenance, columns.meta = dict(columns.meta), {}
    document = VOTableFile.from_table(columns)
    resource = document.resources[0]
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    resource.infos.extend(
        Info(ID=f"info_{number}", name=key, value=text)
        for number, (key, text) in enumerate(provenance.items())
    )
    (element,) = resource.tables
    element.name = name
    for field in element.fields:
        if (field.ucd or "").startswith(_POSITIONS):
            field.ref = "icrs"
    return document


def with_vo_metadata(table: pa.Table) -> pa.Table:
    """The same table with the metadata by which TOPCAT and astropy know its units."""
    known = table.schema.metadata or {}
    added = vo_metadata(table.schema, string_lengths(table))
    return table.replace_schema_metadata({**known, **{
        key.encode(): text.encode() for key, text in added.items()
    }})  # fmt: skip


def vo_metadata(schema: pa.Schema, lengths: Mapping[str, int]) -> dict[str, str]:
    """File metadata of a Parquet table: VOParquet's, and those that astropy reads.

    Parameters
    ----------
    schema : pyarrow.Schema
    lengths : mapping of str to int
        As of `string_lengths`.

    Returns
    -------
    dict of str to str
        ``IVOA.VOTable-Parquet.*``, ``table_meta_yaml``, and ``table::len::<column>`` for text.
    """
    empty = schema.empty_table()
    text = io.BytesIO()
    votable(empty, "table").to_xml(text)
    return {
        "IVOA.VOTable-Parquet.version": "1.0",
        "IVOA.VOTable-Parquet.encoding": "utf-8",
        "IVOA.VOTable-Parquet.content": text.getvalue().decode(),
        "table_meta_yaml": "\n".join(get_yaml_from_table(astropy_table(empty))),
        **{f"table::len::{name}": str(length) for name, length in lengths.items()},
    }


def string_lengths(table: pa.Table) -> dict[str, int]:
    """Characters of the longest text of every column of text, and no fewer than ``None`` has."""
    lengths = {}
    for field in table.schema:
        if _is_text(field.type):
            longest = pc.max(pc.utf8_length(table[field.name].cast(pa.string()))).as_py()
            lengths[field.name] = max(_LEAST_LENGTH, longest or 0)
    return lengths


def _column(values: pa.ChunkedArray, field: pa.Field) -> Column:
    described = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
    mask = np.asarray(pc.is_null(values))
    filled, dtype = _filled(values, field.type)
    about = {
        "name": field.name, "unit": described.get("unit") or None, "dtype": dtype,
        "description": described.get("description") or None,
        "meta": {"ucd": described["ucd"]} if described.get("ucd") else None,
    }  # fmt: skip
    return MaskedColumn(filled, mask=mask, **about) if mask.any() else Column(filled, **about)


def _filled(values: pa.ChunkedArray, kind: pa.DataType) -> tuple[NDArray[Any], Any]:
    """Values without nulls, and their type in NumPy."""
    if _is_text(kind):
        return pc.fill_null(values.cast(pa.string()), "").to_numpy(), str
    if pa.types.is_boolean(kind):
        return pc.fill_null(values, False).to_numpy(), bool
    zero = pa.scalar(0).cast(kind)
    return pc.fill_null(values, zero).to_numpy(), kind.to_pandas_dtype()


def _is_text(kind: pa.DataType) -> bool:
    # A column of nothing but nulls may be of no type; pandas' text is large.
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    )
