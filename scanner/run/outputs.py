"""Files that a user names for a command to write: never what a run is made of, nor an image."""

from collections.abc import Iterable
from pathlib import Path

from lensweep.catalogs.written_tables import check_table_file, refuse_foreign_fits
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.ground.outputs import check_file
from lensweep.scanner.run.paths import RunPaths


def check_output(path: Path, inputs: Iterable[str | Path] = (), as_table: bool = False) -> None:
    """Refuse a file that cannot be written, or whose writing would cost what is there.

    Parameters
    ----------
    path : Path
    inputs : iterable of str or Path
        What the command reads: it is never written over.
    as_table : bool
        Whether its ending has to be one of `lensweep.catalogs.written_tables`.

    Raises
    ------
    InputError
        If it cannot be written, is one of the inputs, is what a run is made of, or is a FITS file
        of somebody else: ``--out *.fits`` may be an image.
    """
    if as_table:
        check_table_file(path, inputs)
    else:
        check_file(path, inputs)
        refuse_foreign_fits(path)
    if is_remote(path) or not path.exists():
        return
    found = path.resolve()
    for folder in found.parents:
        paths = RunPaths(folder)
        if paths.run.is_file() and paths.is_made_of(found):
            raise InputError(f"output file {path}: the run {folder} is made of it; name another")
