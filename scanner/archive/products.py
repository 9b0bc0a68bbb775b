"""Products of the archives, and the table of those that were found: CSV, ECSV or Parquet."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, Table

from lensweep.catalogs.tables import TableError
from lensweep.ground.files import whole_file

FORMAT, VERSION = "lensweep-find", 1
_ENDINGS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".parquet": "parquet"}


class FindTableError(TableError):
    """A table of found products that cannot be used."""


def _column(description: str, unit: str = "", **options: Any) -> Any:
    return dataclasses.field(metadata={"description": description, "unit": unit}, **options)


@dataclass(frozen=True)
class Product:
    """One image in an archive; a row of the table.

    Attributes
    ----------
    name, collection, level, camera, band : str
        Of its file, as `lensweep.scanner.archive.names` reads them.
    exposure_s : float
        As the archive states it; NaN if it does not.
    depth_s : float
        Exposure time of a typical point in it: see `lensweep.scanner.archive.choice`.
    observed : str
        Date of its last exposure, ISO 8601; empty if unknown.
    calibration : str
        Version of what made it, or the date of its release; empty if unknown.
    size_bytes : int
        Of the file; 0 if the archive does not say.
    footprint : str
        STC-S.
    address : str
        Where it is: http, https or s3.
    programme, survey : str
        Hubble proposal, or high-level science product; empty if it has none.
    doi : str
    rank : int
        1 for the best of its piece of sky.
    """

    name: str = _column("File name.")
    collection: str = _column("HAP-SVM, HAP-MVM, HLA or HLSP.")
    level: str = _column("visit, mosaic or skycell.")
    camera: str = _column("Instrument and detector.")
    band: str = _column("Filter.")
    exposure_s: float = _column("Exposure time as the archive states it.", "s")
    depth_s: float = _column("Exposure time of a typical point in it, for ranking.", "s")
    observed: str = _column("Date of the last exposure.")
    calibration: str = _column("Version of the pipeline, or date of release.")
    size_bytes: int = _column("Length of the file; 0 if not stated.", "byte")
    footprint: str = _column("STC-S, degrees.")
    address: str = _column("Where the file is.")
    programme: str = _column("Hubble proposal.", default="")
    survey: str = _column("Name of the high-level science product.", default="")
    doi: str = _column("Of what it belongs to.", default="")
    rank: int = _column("1 for the best of its piece of sky.", default=0)


_FIELDS = dataclasses.fields(Product)


def write_products(products: Sequence[Product], path: Path, facts: dict[str, str]) -> None:
    """Write a table of products; the file is whole, or what it was.

    Parameters
    ----------
    products : sequence of Product
    path : Path
        Ending in .csv (which has no room for units, nor for `facts`), .ecsv or .parquet.
    facts : dict of str to str
        What was asked, and when.

    Raises
    ------
    FindTableError
        Another ending.
    """
    table = Table([_as_column(field, products) for field in _FIELDS])
    table.meta = {"format": FORMAT, "version": VERSION, **facts}
    with whole_file(path) as aside:
        table.write(aside, format=table_format(path))


def read_products(path: Path) -> list[Product]:
    """Read a table of products back.

    Raises
    ------
    FindTableError
        If it is missing, unreadable, or lacks a column.
    """
    if not path.is_file():
        raise FindTableError(f"{path}: no such table")
    try:
        # Text of digits stays text: a programme is called 05206.
        reading = {"converters": {"*": [str]}} if path.suffix.lower() == ".csv" else {}
        table = Table.read(path, format=table_format(path), **reading)
    except (OSError, ValueError, TypeError) as error:
        raise FindTableError(f"{path}: not a readable table: {error}") from error
    missing = [field.name for field in _FIELDS if field.name not in table.colnames]
    if missing:
        raise FindTableError(
            f"{path}: no table of `lensweep find`: it lacks the column {missing[0]!r} (these have "
            f"{', '.join(field.name for field in _FIELDS)}); positions go with --centres "
            "(scan) or --catalog (find, fetch)"
        )
    return [_of_row(path, number, row) for number, row in enumerate(table)]


def is_find_table(path: str) -> bool:
    """Whether a name given among mosaics is that of a table."""
    return Path(path).suffix.lower() in _ENDINGS


def table_format(path: Path) -> str:
    """Astropy's name of a table's format.

    Raises
    ------
    FindTableError
        Another ending than .csv, .ecsv and .parquet.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError as error:
        raise FindTableError(
            f"{path}: unknown ending; a table of products ends with one of {', '.join(_ENDINGS)}"
        ) from error


def _kind(field: dataclasses.Field[Any]) -> type:
    return {"str": str, "int": int, "float": float}[getattr(field.type, "__name__", "")]


def _as_column(field: Any, products: Sequence[Product]) -> Column:
    values = [getattr(product, field.name) for product in products]
    return Column(
        np.array(values, dtype=_kind(field)), field.name,
        unit=field.metadata["unit"] or None, description=field.metadata["description"],
    )  # fmt: skip


def _of_row(path: Path, number: int, row: Any) -> Product:
    values: dict[str, Any] = {}
    for field in _FIELDS:
        value, kind = row[field.name], _kind(field)
        empty = value is np.ma.masked or str(value) in ("", "--")
        try:
            values[field.name] = ("" if kind is str else math.nan) if empty else kind(value)
        except ValueError as error:
            raise FindTableError(
                f"{path}: column {field.name}, row {number} (counted from 0): {error}"
            ) from error
    return Product(**values)
