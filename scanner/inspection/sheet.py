"""A contact sheet of as many candidates as are asked for, on stamps of 10 arcsec."""

import tempfile
from pathlib import Path

import numpy as np

from lensweep.ground.files import is_remote
from lensweep.ground.settings import within
from lensweep.scanner.inspection.contents import read_finished
from lensweep.scanner.inspection.wide_stamps import STAMP_SIDE_PX, cut_stamps
from lensweep.scanner.results.contact_sheet import draw_contact_sheet
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.run.paths import RunPaths

# A page of 25,400 pixels: a PNG of more than 65,535 could not be drawn, nor looked at.
MOST = 800


def write_sheet(root: Path, top: int, out: Path | None = None) -> Path:
    """Draw the first candidates of a finished run onto one page.

    Parameters
    ----------
    root : Path
        The run's folder.
    top : int
        Candidates to show, 1 to `MOST`.
    out : Path, optional
        PNG file; by default ``sheet.png`` in the run's folder.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    InputError
        If there is no run, it is not finished, or the file cannot be written.
    """
    within("top", top, 1, MOST)
    candidates, _ = read_finished(root)
    path = RunPaths(root).sheet if out is None else out
    check_output(path)
    first = candidates.head(top)
    flux = np.full((len(first), STAMP_SIDE_PX, STAMP_SIDE_PX), np.nan, np.float32)
    # Compressed mosaics are unpacked here, and nowhere in the run.
    with tempfile.TemporaryDirectory() as scratch:
        for stamp in cut_stamps(root, first, Path(scratch)):
            flux[stamp.row] = stamp.flux
    name = root.name if is_remote(root) else root.absolute().name
    draw_contact_sheet(path, candidates, flux, None, top, f'{name}, 10" stamps')
    return path
