"""How much sky a run has searched, which densities are per."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.catalogs.coverage import area_deg2, coverage_of, joined
from lensweep.ground.errors import InputError
from lensweep.scanner.results.footprint import REGION_SIDE_PX, run_footprint, valid_cells
from lensweep.scanner.sky.grid import ScanGrid, read_grid_region
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.training.data.real_cutouts import Opened


def searched_deg2(root: Path, asked: dict[str, Any], opened: Opened) -> float:
    """Sky that a run has searched, square degrees; where mosaics overlap it counts once.

    On a grid, valid pixels of the windows that were looked at. On sources, all valid pixels of the
    mosaics: where no window lies, there was no source.

    Parameters
    ----------
    root : Path
        The run's folder.
    asked : dict
        What the run was asked.
    opened : dict
        Its mosaics.

    Raises
    ------
    InputError
        If its windows lie where a table says: how much sky they stand for nobody knows.
    """
    if asked["centres"] == "grid":
        return area_deg2(run_footprint(root))
    if asked["centres"] != "sources":
        raise InputError(
            f"run {root}: its windows lie where {asked['centres']} says, and how much sky these "
            "positions stand for is not known; scan the mosaics on a grid or on sources for that"
        )
    return area_deg2(
        joined(coverage_of(cells) for mosaic, grid in opened.values()
               for cells in _cells(mosaic, grid))
    )  # fmt: skip


def _cells(mosaic: Mosaic, grid: ScanGrid) -> Iterator[NDArray[np.int64]]:
    """The cells of the sky on valid pixels, some at a time."""
    ny, nx = grid.shape
    for row in range(0, ny, REGION_SIDE_PX):
        for column in range(0, nx, REGION_SIDE_PX):
            rows, columns = (
                slice(start, min(start + REGION_SIDE_PX, end))
                for start, end in ((row, ny), (column, nx))
            )
            valid = np.isfinite(read_grid_region(mosaic, grid, rows, columns))
            yield valid_cells(grid, valid, row, column)
