"""The plan of one mosaic: which windows, on which grid; kept in the run's folder."""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.files import is_remote, make_folder, whole_file
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import DamagedError, read_record, sum_of_parts, write_record
from lensweep.scanner.run.shards import Sharded
from lensweep.scanner.run.target_list import targets_of
from lensweep.scanner.sky.grid import ScanGrid, on_grid, scan_grid, sky_to_grid
from lensweep.scanner.sky.mosaics import Mosaic, MosaicError, inspect_mosaic
from lensweep.scanner.sky.origins import Origin, origin_now, origin_path, read_origin
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.sources import detect_sources
from lensweep.scanner.sky.windows import centred_windows, grid_windows


@dataclass(frozen=True)
class Plan(Sharded):
    """What is to be done with one mosaic.

    Attributes
    ----------
    mosaic : Mosaic
    grid : ScanGrid
    n_windows : int
    windows_per_shard : int
    origin : Origin or None
        Where the mosaic's file came from, if it was fetched.
    """

    mosaic: Mosaic
    grid: ScanGrid
    n_windows: int
    windows_per_shard: int
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """Of the mosaic."""
        return self.mosaic.name


@dataclass(frozen=True)
class Windows:
    """The windows of a mosaic, in the order of the plan.

    Attributes
    ----------
    corners : ndarray, shape (n, 2), int32
        First pixel (x0, y0) on the grid.
    x, y : ndarray, shape (n,), float64
        The point on the grid that the window is for: its centre, or the source's position.
    target : ndarray, shape (n,), int64
        Of which row of the run's targets that is; of shape (0,) in a run without a table of them.
    """

    corners: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    target: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))


def plan_mosaic(path: str, config: ScanConfig, band: str, root: str) -> Plan:
    """Inspect a mosaic, list its windows, and keep both; a plan that is there is read back.

    Raises
    ------
    MosaicError
        If the mosaic cannot be scanned; the message says why.
    catalogs.tables.TableError
        If the table of positions cannot be read.
    """
    paths = RunPaths.at(root)
    overrides = HeaderOverrides(config.band, config.pixel_scale_arcsec, config.units)
    mosaic = inspect_mosaic(
        path, overrides, band, config.ensemble, paths.scratch, given=config.mosaics
    )
    kept = _kept(paths, mosaic.name, config)
    if kept is not None:
        # The same file may be named by another path.
        if dataclasses.replace(
            mosaic, path=kept.mosaic.path, pixels_path=kept.mosaic.pixels_path,
            wht_path=kept.mosaic.wht_path,
        ) != kept.mosaic:  # fmt: skip
            what = "has changed" if mosaic.sha256 != kept.mosaic.sha256 else "is read otherwise"
            raise MosaicError(
                f"mosaic {mosaic.file_name}: {what} since this run began ({_state_of(mosaic)}, "
                f"then {_state_of(kept.mosaic)}); scan it into a new folder"
            )
        return kept
    origin = _origin(mosaic)
    if not is_remote(mosaic.pixels_path):
        check_pixels(mosaic)
    grid = scan_grid(mosaic)
    windows = list_windows(mosaic, grid, config, root)
    plan = Plan(mosaic, grid, len(windows.corners), config.windows_per_shard, origin)
    target = paths.windows(mosaic.name)
    make_folder(target.parent)
    content = io.BytesIO()
    np.savez(content, **dataclasses.asdict(windows))
    with whole_file(target) as aside:
        aside.write_bytes(content.getbuffer())
    sums = {"windows_file": sum_of_parts([content.getvalue()])}
    write_record(paths.plan(mosaic.name), dataclasses.asdict(plan) | sums)
    return plan


def _state_of(mosaic: Mosaic) -> str:
    weight = "none of its own" if mosaic.wht_sha256 is None else mosaic.wht_sha256
    return f"SHA-256 {mosaic.sha256}, weight file {weight}"


def _origin(mosaic: Mosaic) -> Origin | None:
    """Where a mosaic's file came from: as is written beside it, or as it is read now."""
    if is_remote(mosaic.path):
        return origin_now(mosaic.path, mosaic.sha256)
    origin = read_origin(Path(mosaic.path))
    if origin is not None and origin.sha256 != mosaic.sha256:
        raise MosaicError(
            f"mosaic {mosaic.file_name}: SHA-256 {mosaic.sha256}, but it was fetched with "
            f"{origin.sha256}; fetch it again, or remove {origin_path(Path(mosaic.path))} if it "
            "was changed on purpose"
        )
    return origin


def _kept(paths: RunPaths, mosaic: str, config: ScanConfig) -> Plan | None:
    """The plan that is there; None if there is none, or it is damaged and has to be made again."""
    if not paths.plan(mosaic).is_file():
        return None
    try:
        windows, plan = read_windows(paths.root, mosaic), read_plan(paths.root, mosaic)
    except DamagedError:
        return None
    # Older versions did not write down which window is whose.
    known = not config.lists_targets or len(windows.target) == len(windows.corners)
    return plan if known else None


def list_windows(mosaic: Mosaic, grid: ScanGrid, config: ScanConfig, root: str) -> Windows:
    """List the windows that a config asks for: a grid, sources, or positions from a table."""
    if config.centres == "grid":
        corners = grid_windows(grid.shape, config.stride)
        x, y = (corners + (CUTOUT_SIZE - 1) / 2.0).T
        return Windows(corners, x, y)
    if config.centres == "sources":
        x, y = detect_sources(mosaic, grid)
        corners, order = centred_windows(x, y)
        return Windows(corners, x[order], y[order])
    x, y, inside = _positions_inside(grid, _positions(config, root))
    corners, order = centred_windows(x[inside], y[inside])
    target = np.flatnonzero(inside)[order]
    return Windows(corners, x[target], y[target], target)


def note_of_positions_outside(config: ScanConfig, plans: Sequence[Plan], root: str) -> str:
    """What to say of a table's positions that lie on none of the mosaics; empty if all do."""
    if not config.lists_targets:
        return ""
    table = _positions(config, root)
    outside = np.ones(len(table), np.bool_)
    for plan in plans:
        outside &= ~_positions_inside(plan.grid, table)[2]
    if not outside.any():
        return ""
    row = int(np.argmax(outside))
    ra_deg, dec_deg = table["ra_deg"].iloc[row], table["dec_deg"].iloc[row]
    return (
        f"{config.centres}: {outside.sum():,} of {len(table):,} positions lie on no mosaic of this "
        f"scan, the first in row {row} (counted from 0), RA {ra_deg:.5f}, Dec {dec_deg:.5f}"
    )


def _positions(config: ScanConfig, root: str) -> pd.DataFrame:
    return targets_of(config, root).select(["ra_deg", "dec_deg"]).to_pandas()


def _positions_inside(
    grid: ScanGrid, table: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Where on the grid all positions are, and which of them fall on it."""
    x, y = sky_to_grid(grid, table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy())
    return x, y, on_grid(grid, x, y)


def read_plan(root: Path, mosaic: str) -> Plan:
    """Read a mosaic's plan back.

    Raises
    ------
    DamagedError
        If it is not what was written.
    """
    values = read_record(RunPaths(root).plan(mosaic))
    values["mosaic"]["shape"] = tuple(values["mosaic"]["shape"])
    values["mosaic"]["notes"] = tuple(values["mosaic"].get("notes", ()))
    values["grid"]["shape"] = tuple(values["grid"]["shape"])
    return Plan(
        Mosaic(**values["mosaic"]),
        ScanGrid(**values["grid"]),
        values["n_windows"],
        values["windows_per_shard"],
        Origin(**values["origin"]) if values.get("origin") else None,
    )


def read_windows(root: Path, mosaic: str) -> Windows:
    """Read a mosaic's windows back.

    Raises
    ------
    DamagedError
        If they are not those that were written.
    """
    path, plan = RunPaths(root).windows(mosaic), RunPaths(root).plan(mosaic)
    content = path.read_bytes() if path.is_file() else b""
    expected = read_record(plan).get("windows_file")
    if not content or (expected is not None and sum_of_parts([content]) != tuple(expected)):
        raise DamagedError(f"{path}: is damaged; repeat the scan's command to have it made again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Windows(**arrays)
