"""Candidates as tables of other formats: VOTable, FITS, CSV, ECSV, LaTeX, and DS9's regions."""

from pathlib import Path

import astropy.units as u
import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Table

from lensweep.catalogs import written_tables
from lensweep.ground.files import whole_file

TABLE = "candidates"
# Half a window: what the ensemble looked at lies within.
CIRCLE_ARCSEC = 2.5
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
})  # fmt: skip


def write_votable(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write a VOTable with units, UCDs and provenance."""
    written_tables.write_votable(rows, path, TABLE)


def write_fits(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write a FITS table with units, UCDs, meanings and provenance."""
    written_tables.write_fits(rows, path, TABLE)


def write_csv(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write plain comma-separated values."""
    written_tables.write_csv(rows, path)


def write_ecsv(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write astropy's ECSV, with units, meanings and provenance."""
    written_tables.write_ecsv(rows, path)


def write_ds9(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write a circle of `CIRCLE_ARCSEC` about every candidate, with its rank, as DS9 reads it."""
    from regions import CircleSkyRegion, Regions

    table = rows.select(["rank", "ra_deg", "dec_deg"]).to_pandas()
    radius = CIRCLE_ARCSEC * u.arcsec
    circles = [
        CircleSkyRegion(SkyCoord(row.ra_deg, row.dec_deg, unit="deg"), radius,
                        meta={"text": str(row.rank)})
        for row in table.itertuples(index=False)
    ]  # fmt: skip
    with whole_file(path) as aside:
        aside.write_text(Regions(circles).serialize(format="ds9", precision=7), encoding="utf-8")


def write_latex(_root: Path, rows: pa.Table, path: Path) -> None:
    """Write a table for a paper: rank, name, position, probability, known lens."""
    shown = rows.to_pandas()
    table = Table({
        "Rank": shown["rank"].to_numpy(),
        "Name": [latex(name) for name in shown["candidate_id"]],
        "R.A. (deg)": [f"{value:.5f}" for value in shown["ra_deg"]],
        "Decl. (deg)": [f"${value:+.5f}$" for value in shown["dec_deg"]],
        r"$p_\mathrm{lens}$": [_scientific(value) for value in shown["p_lens"]],
        "Known lens": [latex(known_name(row)) for _, row in shown.iterrows()],
    })  # fmt: skip
    with whole_file(path) as aside:
        table.write(aside, format="ascii.latex", overwrite=True,
                    latexdict={"preamble": r"\centering", "tabletype": "table"})  # fmt: skip


def latex(text: str) -> str:
    """Text as LaTeX prints it, whatever characters are in it."""
    return text.translate(_LATEX)


def known_name(row: pd.Series) -> str:
    """The matched known lens of a candidate, CASTLES before LensFlow; empty without one."""
    if not pd.isna(row["castles_name"]):
        return str(row["castles_name"])
    return "" if pd.isna(row["lensflow_id"]) else f"LensFlow {int(row['lensflow_id'])}"


def _scientific(value: float) -> str:
    if pd.isna(value):  # an ensemble that was never measured on fields
        return "--"
    if value >= 0.01:
        return f"{value:.2f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$"
