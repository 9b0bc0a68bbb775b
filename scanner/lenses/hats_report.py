"""What the command line shows and writes of matches with HATS catalogues."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lensweep.catalogs.hats import count_rows, match_hats, rows_near
from lensweep.catalogs.hats_folders import is_hats
from lensweep.catalogs.lens_lists import ANY_RADIUS_ARCSEC, known_lenses
from lensweep.catalogs.lens_matches import match_lenses, radii_of
from lensweep.catalogs.lens_schemas import MATCHES
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.written_tables import write_table
from lensweep.ground.errors import InputError
from lensweep.ground.terminal import wide_console
from lensweep.scanner.lenses.lens_report import print_matches, write_lenses
from lensweep.scanner.run.outputs import check_output


def show_hats_matches(
    source: Path, known: Sequence[str], radius_arcsec: float | None, every: bool, out: Path | None
) -> pd.DataFrame:
    """Print and write what lies near the rows of a HATS catalogue.

    Parameters
    ----------
    source : Path
        HATS catalogue.
    known : sequence of str
        One HATS catalogue, which is matched row by row; or lists of known lenses besides the
        shipped ones.
    radius_arcsec : float or None
        By default each lens's own, and 3 for another HATS catalogue.
    every : bool
        All matches; else the nearest of each position.
    out : Path or None
        File to write, of any ending of `catalogs.written_tables`.

    Raises
    ------
    InputError
        If a HATS catalogue stands beside other lists, or the file cannot be written.
    """
    if out is not None:
        check_output(out, [source, *known], as_table=True)
    console = wide_console()
    others = [name for name in known if is_hats(name)]
    if others:
        if len(known) > 1:
            raise InputError(f"--known {others[0]}: match a HATS catalogue by itself")
        radius_arcsec = ANY_RADIUS_ARCSEC if radius_arcsec is None else radius_arcsec
        matches = match_hats(source, others[0], radius_arcsec, every)
        n_ambiguous = matches.loc[matches["n_others"] > 1, ["ra_deg", "dec_deg"]].drop_duplicates()
        n_shared = matches.loc[
            matches["n_positions"] > 1, ["other_ra_deg", "other_dec_deg"]
        ].drop_duplicates()
        console.print(
            f"{len(matches):,} {'pairs' if every else 'nearest pairs'} within {radius_arcsec:g}″ "
            f"of {source} and {others[0]}; {len(n_ambiguous):,} positions have several of the "
            f"other, {len(n_shared):,} of the other several positions"
        )
        if out is not None:
            _write(matches, {"match_radius_arcsec": repr(radius_arcsec)}, out)
    else:
        lenses = known_lenses(known)
        widest = float(radii_of(lenses, radius_arcsec).max())
        positions = rows_near(
            source, lenses["known_ra_deg"], lenses["known_dec_deg"], widest
        ).assign(rank=pd.Series(dtype="Int64"))
        matches = match_lenses(positions, lenses, radius_arcsec, every)
        print_matches(console, matches, count_rows(source), radius_arcsec)
        if out is not None:
            facts = {"match_radius_arcsec": repr(radius_arcsec), "source": str(source)}
            write_lenses(matches, MATCHES, facts, out)
    if out is not None:
        console.print(f"wrote {out}")
    return matches


def _write(matches: pd.DataFrame, facts: dict[str, str], path: Path) -> None:
    table = pa.Table.from_pandas(matches, preserve_index=False)
    try:
        write_table(with_provenance(table.replace_schema_metadata(), facts), path)
    except OSError as error:
        raise InputError(f"output file {path}: cannot be written ({error.strerror})") from error
