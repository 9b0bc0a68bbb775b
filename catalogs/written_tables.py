"""Write a table in the format that the ending of its file's name asks for.

Endings: ``.parquet``, ``.csv``, ``.ecsv``, ``.fits``, and ``.vot``, ``.votable`` or ``.xml``.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table

from lensweep.catalogs.formats import TableError
from lensweep.catalogs.tables import write_parquet
from lensweep.catalogs.vo_tables import astropy_table, votable
from lensweep.ground.files import whole_file
from lensweep.ground.outputs import check_file

Write = Callable[[pa.Table, Path], None]
# In the header of every FITS file that is written where a user asks for it.
CREATOR, LENSWEEP = "CREATOR", "lensweep"
CREATED = {CREATOR: LENSWEEP}


def check_table_file(path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a file that a table cannot be written to, before anything is computed.

    Parameters
    ----------
    path : Path
    inputs : iterable of str or Path
        What the command reads: it is never written over.

    Raises
    ------
    TableError
        If its ending is none of those that are known, or it is a FITS file of somebody else:
        ``--out *.fits`` may be an image.
    lensweep.ground.errors.InputError
        If it cannot be written, or is one of the inputs.
    """
    check_file(path, inputs)
    _writer(path)
    refuse_foreign_fits(path)


def refuse_foreign_fits(path: Path) -> None:
    """Refuse to write over a FITS file that no command wrote.

    Raises
    ------
    TableError
    """
    if not path.exists():
        return
    try:
        with fits.open(path) as hdus:
            ours = any(hdu.header.get(CREATOR) == LENSWEEP for hdu in hdus)
    except OSError:  # no FITS file, whatever it is called
        ours = path.suffix.lower() not in (".fits", ".fit", ".fts")
    if not ours:
        raise TableError(
            f"output file {path}: is there, and is no file that lensweep wrote; name another"
        )


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table, with the units, UCDs, meanings and provenance that the format has room for.

    Parameters
    ----------
    table : pyarrow.Table
        Numbers, truth values and text, with the schema's metadata.
    path : Path
        Written aside and renamed; its folder exists.

    Raises
    ------
    TableError
        If its ending is none of those that are known.
    """
    _writer(path)(table, path)


def write_votable(table: pa.Table, path: Path, name: str = "table") -> None:
    """Write a VOTable with units, UCDs and provenance."""
    with whole_file(path) as aside:
        votable(table, name).to_xml(str(aside))


def write_fits(table: pa.Table, path: Path, name: str = "table") -> None:
    """Write a FITS table: UCDs and meanings where TOPCAT looks for them, provenance as HISTORY."""
    columns = astropy_table(table)
    provenance, columns.meta = dict(columns.meta), {}
    ucds = [column.meta.get("ucd", "") for column in columns.itercols()]
    meanings = [column.description or "" for column in columns.itercols()]
    _suit_fits(columns)
    hdu = fits.table_to_hdu(columns)
    hdu.name = name
    hdu.header.update(CREATED)
    for number, (ucd, meaning) in enumerate(zip(ucds, meanings, strict=True), start=1):
        hdu.header[f"TUCD{number}"] = ucd
        hdu.header[f"TCOMM{number}"] = _ascii(meaning)
    for key, text in provenance.items():
        hdu.header["HISTORY"] = _ascii(f"{key}: {text}")
    with whole_file(path) as aside:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(aside)


def write_csv(table: pa.Table, path: Path) -> None:
    """Write plain comma-separated values; nulls are empty."""
    with whole_file(path) as aside:
        table.to_pandas(integer_object_nulls=True).to_csv(aside, index=False)


def write_ecsv(table: pa.Table, path: Path) -> None:
    """Write astropy's ECSV, with units, meanings and provenance."""
    with whole_file(path) as aside:
        astropy_table(table).write(aside, format="ascii.ecsv", overwrite=True)


WRITERS: dict[str, Write] = {
    ".parquet": write_parquet, ".csv": write_csv, ".ecsv": write_ecsv, ".fits": write_fits,
    ".vot": write_votable, ".votable": write_votable, ".xml": write_votable,
}  # fmt: skip


def _writer(path: Path) -> Write:
    try:
        return WRITERS[path.suffix.lower()]
    except KeyError:
        raise TableError(
            f"output file {path}: unknown ending; a table's file ends with one of "
            f"{', '.join(WRITERS)}"
        ) from None


def _suit_fits(columns: Table) -> None:
    """FITS has ASCII text only, and a number of its own for a null among whole numbers."""
    for name in columns.colnames:
        if columns[name].dtype.kind == "b" and hasattr(columns[name], "mask"):
            # astropy writes a null truth value as true: 0, 1 or, for a null, -1.
            columns[name] = columns[name].astype(np.int16)
        column = columns[name]
        column.meta.clear()
        if column.dtype.kind == "i" and hasattr(column, "mask"):
            column.fill_value = -1
        if column.dtype.kind == "U":
            texts = column.filled("") if hasattr(column, "mask") else column
            columns[name] = np.array([_ascii(str(text)) for text in texts], dtype=str)


def _ascii(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
