"""Which part of the sky a run has looked at: valid pixels of windows it scored or screened."""

import functools
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from mocpy import MOC
from numpy.typing import NDArray

from lensweep.catalogs.coverage import (
    ORDER,
    CoverageError,
    cells_within,
    coverage_of,
    joined,
    read_coverage,
    write_coverage,
)
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.cutout_store import LostCutoutsError
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan, read_plan, read_windows
from lensweep.scanner.run.records import read_record
from lensweep.scanner.run.tally import planned_mosaics, tally
from lensweep.scanner.sky.grid import ScanGrid, grid_to_sky, sky_to_grid
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import regions


class DamagedPixelsError(TryAgainError):
    """Cutouts that are not what was cut, and are not marked as done any more."""


Each = Callable[[Callable[[str], NDArray[np.int64]], list[str]], Iterable[NDArray[np.int64]]]
# Side of the masks that are held at a time: 4 MB.
REGION_SIDE_PX = 2048


def run_footprint(root: Path, each: Each = map) -> MOC:
    """The footprint of a run, read from its coverage map, which is made if it is not there.

    A map that was made before more windows were seen is made anew.

    Parameters
    ----------
    root : Path
        The run's folder.
    each : callable
        As `map`, but for the order of what is found; another one may look at several mosaics at
        once.

    Raises
    ------
    InputError
        If the folder holds no run, or nothing in it is scored, or cutouts are gone that it needs.
    """
    seen = seen_windows(root)
    if not seen:
        raise InputError(f"run {root}: is finished, and looked at no window: none of its positions "
                         "lies on a mosaic")  # fmt: skip
    return footprint_of(root, seen, each)


def footprint_of(root: Path, seen: int, each: Each = map) -> MOC:
    """As `run_footprint`, of a run of which it is known how many windows it has looked at.

    Parameters
    ----------
    root : Path
    seen : int
        `seen_windows`, not 0.
    each : callable
    """
    path = RunPaths(root).coverage
    if path.is_file():
        with suppress(CoverageError):  # damaged: made anew
            coverage, header = read_coverage(path)
            if header.get("NSEEN") == seen:
                return coverage
    cells = each(functools.partial(mosaic_cells, root), planned_mosaics(root))
    coverage = joined(map(coverage_of, cells))
    write_coverage(coverage, path, footprint_facts(seen))
    return coverage


def footprint_facts(seen: int) -> dict[str, str | int]:
    """What the file of a footprint says of itself: of how many windows it is."""
    return {"NSEEN": seen, "CELLRULE": "centre on valid pixel"}


def seen_windows(root: Path) -> int:
    """Number of windows that a run has looked at: scored, or screened.

    None is seen by a finished run if none of its positions lies on a mosaic.

    Raises
    ------
    InputError
        If the folder holds no run, or it is not finished and nothing in it is scored.
    """
    if not RunPaths(root).run.is_file():
        raise InputError(f"{root}: no run in this folder (no {RunPaths(root).run.name})")
    seen = sum(tally(root, name).seen for name in planned_mosaics(root))
    if not seen and not RunPaths(root).candidates.is_file():
        raise InputError(f"run {root}: not one window is scored yet; `lensweep status {root}`")
    return seen


def mosaic_cells(root: Path, name: str) -> NDArray[np.int64]:
    """The footprint of one mosaic as plain numbers, which can travel: cells of order `ORDER`."""
    return np.asarray(mosaic_footprint(root, read_plan(root, name)).flatten(), np.int64)


def mosaic_footprint(root: Path, plan: Plan) -> MOC:
    """The footprint of one mosaic, from its stored cutouts, shard by shard.

    Pixels are read only of shards with windows that hold both valid and invalid ones. Memory is
    bounded by a shard and a mask of `REGION_SIDE_PX` a side.
    """
    corners = read_windows(root, plan.mosaic.name).corners
    return joined(
        coverage_of(_shard_cells(root, plan, corners, start, stop)) for start, stop in plan.shards
    )


def _shard_cells(
    root: Path, plan: Plan, corners: NDArray[np.int32], start: int, stop: int
) -> NDArray[np.int64]:
    paths, name = RunPaths(root), plan.mosaic.name
    seen = start + np.flatnonzero(score_store.read_seen(paths.scores(name), start, stop))
    store = paths.cutouts(name)
    fraction = cutout_store.read_column(store, "valid_fraction", start, stop)
    # All of a shard in one go, if any: to open the store for each of them takes far longer.
    partly = bool(np.any(np.asarray(fraction)[seen - start] < 1.0))
    flux = _flux_as_marked(paths, plan, start, stop) if partly else None
    cells = [np.empty(0, np.int64)]
    for first, last, rows, cols in regions(corners[seen], REGION_SIDE_PX):
        valid = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.bool_)
        for window in seen[first:last].tolist():
            x0, y0 = corners[window] - (cols.start, rows.start)
            part = valid[y0 : y0 + CUTOUT_SIZE, x0 : x0 + CUTOUT_SIZE]
            if flux is None or fraction[window - start] == 1.0:
                part[:] = True
            else:
                part |= np.isfinite(flux[window - start])
        cells.append(valid_cells(plan.grid, valid, rows.start, cols.start))
    return np.unique(np.concatenate(cells))


def _flux_as_marked(paths: RunPaths, plan: Plan, start: int, stop: int) -> NDArray[np.float32]:
    """The pixels of a shard, which is not marked as done any more if they are damaged."""
    name, shard = plan.mosaic.name, start // plan.windows_per_shard
    store, marker = paths.cutouts(name), paths.cut_marker(name, shard)
    try:
        sums = read_record(marker).get("files")
        return cutout_store.read_written_flux(store, start, stop, sums)
    except FileNotFoundError:
        # Another look at the same shard has taken it away.
        raise DamagedPixelsError(
            f"mosaic {name}: cutouts of shard {shard} are to be made again; repeat its scan"
        ) from None
    except LostCutoutsError as error:
        if not (store / "flux" / "c" / str(shard) / "0" / "0").is_file():
            raise InputError(f"{error}; scan this mosaic anew, into another folder") from error
        marker.unlink()
        paths.score_marker(name, shard).unlink(missing_ok=True)
        raise DamagedPixelsError(f"{error}; repeat its scan to have them cut again") from error


def valid_cells(
    grid: ScanGrid, valid: NDArray[np.bool_], row: int, column: int
) -> NDArray[np.int64]:
    """Cells of the sky whose centres fall on valid pixels.

    Parameters
    ----------
    grid : ScanGrid
    valid : ndarray, shape (rows, columns), bool
        A rectangle of the grid.
    row, column : int
        Its first pixel.

    Returns
    -------
    ndarray, shape (n,), int64
        Cells of order `lensweep.catalogs.coverage.ORDER`.
    """
    height, width = valid.shape
    # A pixel more on every side, so that no cell is lost to rounding.
    left, right, bottom, top = -1.5, width + 0.5, -1.5, height + 0.5
    ra_deg, dec_deg = grid_to_sky(
        grid,
        column + np.array([left, right, right, left]),
        row + np.array([bottom, bottom, top, top]),
    )
    cells, centre_ra, centre_dec = cells_within(ra_deg, dec_deg)
    x, y = sky_to_grid(grid, centre_ra, centre_dec)
    x = np.floor(x - column + 0.5).astype(np.int64)
    y = np.floor(y - row + 0.5).astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    inside[inside] = valid[y[inside], x[inside]]
    return np.asarray(cells[inside])


def describe_footprint(area: float) -> str:
    """A sentence on a footprint of `area` square degrees."""
    return (
        f"footprint {area:.6f} deg2: valid pixels of windows looked at, in HEALPix cells of order "
        f"{ORDER} (0.81 arcsec)"
    )
