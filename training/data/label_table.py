"""Positions with labels: known lenses from catalogues, and a user's own table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.catalogs.crossmatch import all_pairs
from lensweep.catalogs.formats import read_columns
from lensweep.catalogs.lens_lists import LENSCAT, known_lenses, read_lens_list
from lensweep.catalogs.tables import POSITION_COLUMNS, read_table
from lensweep.ground.errors import InputError

# The shipped lists under the names of the command line.
CATALOGUES = {"castles": "CASTLES", "lensflow92": "LensFlow", "faure2008": "Faure2008"}
LABELS = {"lens": True, "1": True, "nonlens": False, "0": False}
_NAME_COLUMNS = ("name", "id")
# Two positions this close are one object.
SAME_ARCSEC = 1.0

COLUMNS = ("source", "source_row", "name", "ra_deg", "dec_deg", "is_lens", "kind")


def read_catalogue(name: str) -> pd.DataFrame:
    """Read a list of known lenses, all of them positives.

    Parameters
    ----------
    name : str
        ``castles``, ``lensflow92``, ``faure2008``, ``lenscat`` or a file with positions.

    Returns
    -------
    DataFrame
        `COLUMNS`.
    """
    if name.lower() in CATALOGUES:
        known = known_lenses()
        known = known[known["catalogue"] == CATALOGUES[name.lower()]]
    elif name == LENSCAT:
        known = known_lenses([LENSCAT])
        known = known[known["catalogue"] == LENSCAT]
    else:
        known = read_lens_list(name)
    return pd.DataFrame({
        "source": known["catalogue"], "source_row": known["catalogue_row"],
        "name": known["known_name"], "ra_deg": known["known_ra_deg"],
        "dec_deg": known["known_dec_deg"], "is_lens": True, "kind": "known_lens",
    })  # fmt: skip


def read_labels(path: Path) -> pd.DataFrame:
    """Read a user's table of labelled positions.

    Parameters
    ----------
    path : Path
        CSV, FITS, VOTable or Parquet with a pair of position columns in degrees, ``label``
        (``lens`` or 1, ``nonlens`` or 0) and, if it has one, ``name`` or ``id``; nothing else.

    Returns
    -------
    DataFrame
        `COLUMNS`.

    Raises
    ------
    InputError
        If there is no column ``label``, a column that is not understood, or a row whose label is
        not; with the row, counted from 0.
    catalogs.tables.TableError
        If the table or a position cannot be read.
    """
    _refuse_unknown_columns(path)
    table = read_table(path, ("label",), refuse_hours=True)
    if "label" not in table:
        raise InputError(f"labels {path}: no column label; its values are {', '.join(LABELS)}")
    # 1.0 is what a column of integers becomes in some formats.
    given = table["label"].fillna("").str.strip().str.lower().str.replace(r"\.0$", "", regex=True)
    unknown = np.flatnonzero(~given.isin(list(LABELS)).to_numpy())
    if unknown.size:
        row = int(unknown[0])
        raise InputError(
            f"labels {path}: row {row} (counted from 0) has label {table['label'].iloc[row]!r}, "
            f"but must be one of {', '.join(LABELS)} ({unknown.size} such rows)"
        )
    is_lens = given.map(LABELS).to_numpy(np.bool_)
    names = table["name"].fillna("") if "name" in table else [""] * len(table)
    return pd.DataFrame({
        "source": path.name, "source_row": table["row"], "name": names,
        "ra_deg": table["ra_deg"], "dec_deg": table["dec_deg"], "is_lens": is_lens,
        "kind": np.where(is_lens, "labelled_lens", "labelled_nonlens"),
    })  # fmt: skip


def gather_labels(catalogues: Sequence[str], labels: Path | None) -> pd.DataFrame:
    """All labelled positions that are asked for, catalogues first.

    Returns
    -------
    DataFrame
        `COLUMNS`, and ``repeats``: the row (of this table) of the same object, within an
        arcsecond, that comes first; -1 if it is the first.

    Raises
    ------
    InputError
        If two rows call one object a lens and a non-lens.
    """
    tables = [read_catalogue(name) for name in dict.fromkeys(catalogues)]
    if labels is not None:
        tables.append(read_labels(labels))
    if not tables:
        empty = pd.DataFrame(columns=[*COLUMNS, "repeats"])
        return empty.astype({"ra_deg": "float64", "dec_deg": "float64", "is_lens": "bool"})
    wanted = pd.concat(tables, ignore_index=True)
    first, second, _ = all_pairs(
        wanted["ra_deg"], wanted["dec_deg"], wanted["ra_deg"], wanted["dec_deg"], SAME_ARCSEC
    )
    repeats = np.full(len(wanted), -1)
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if one >= other:
            continue
        if wanted["is_lens"].iloc[one] != wanted["is_lens"].iloc[other]:
            raise InputError(
                f"{_row(wanted, one)} and {_row(wanted, other)} are within {SAME_ARCSEC:g} "
                "arcsec, but one is labelled a lens and the other not; remove one"
            )
        if repeats[other] < 0:
            repeats[other] = one
    return wanted.assign(repeats=repeats)


def _row(wanted: pd.DataFrame, row: int) -> str:
    one = wanted.iloc[row]
    return f"{one['source']} row {one['source_row']} ({one['name'] or 'no name'})"


def _refuse_unknown_columns(path: Path) -> None:
    understood = {name for pair in POSITION_COLUMNS for name in pair} | {"label", *_NAME_COLUMNS}
    unknown = [name for name in read_columns(path, ()).names if name.lower() not in understood]
    if unknown:
        raise InputError(
            f"labels {path}: unknown column {unknown[0]!r}; the table has ra_deg, dec_deg (or "
            "another pair of positions in degrees), label and name, and nothing else"
        )
