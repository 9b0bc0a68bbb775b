"""Cut windows at given positions, from mosaics or out of cutouts that are stored already."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, scan_grid
from lensweep.scanner.sky.mosaics import Mosaic, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE

Cut = Callable[[NDArray[np.int32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Field:
    """A piece of sky that windows can be cut from.

    Attributes
    ----------
    name : str
        Of its mosaic.
    grid : ScanGrid
    cut : callable
        Corners of windows, shape (n, 2), to their flux, shape (n, 100, 100), and valid fraction,
        as `lensweep.scanner.sky.cutouts.cut_windows` gives them.
    """

    name: str
    grid: ScanGrid
    cut: Cut


def mosaic_fields(
    mosaics: Sequence[str], overrides: HeaderOverrides, band: str, ensemble: str, scratch: Path
) -> list[Field]:
    """Open mosaics as fields.

    Raises
    ------
    MosaicError
        If one of them cannot be scanned.
    """
    fields = []
    for path in mosaics:
        mosaic = inspect_mosaic(path, overrides, band, ensemble, scratch)
        grid = scan_grid(mosaic)
        fields.append(Field(mosaic.name, grid, _cut_from(mosaic, grid)))
    return fields


def stored_fields(folder: Path) -> list[Field]:
    """Open the cutouts of a run, of all its mosaics, or one cutout store, as fields.

    A mosaic of which no window is cut is left out.

    Raises
    ------
    InputError
        If there is no cutout store, none with a window that is cut, or one without sky coordinates.
    """
    roots = [folder, *sorted(RunPaths(folder).all_cutouts.glob("*")), *sorted(folder.glob("*"))]
    stores = [path for path in roots if _is_store(path)]
    if not stores:
        raise InputError(f"{folder}: neither a run nor a cutout store")
    fields = [field for path in stores if (field := _stored_field(path)) is not None]
    if not fields:
        raise InputError(f"{folder}: not one window of its cutout stores is cut yet")
    return fields


def paste_windows(
    store: Path, stored: NDArray[np.int32], corners: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put windows together from stored ones that overlap them, pixel by pixel.

    Parameters
    ----------
    store : Path
        Cutout store.
    stored : ndarray, shape (m, 2), int32
        Corners (x0, y0) of its windows.
    corners : ndarray, shape (n, 2), int32
        Windows wanted.

    Returns
    -------
    flux : ndarray, shape (n, 100, 100), float32, e-/s
        NaN where invalid, or in no stored window.
    valid_fraction : ndarray, shape (n,), float32
    """
    flux = np.full((len(corners), CUTOUT_SIZE, CUTOUT_SIZE), np.nan, np.float32)
    for target, corner in zip(flux, corners, strict=True):
        away = np.abs(stored - corner)
        near = np.flatnonzero((away < CUTOUT_SIZE).all(axis=1))
        covered = np.zeros((CUTOUT_SIZE, CUTOUT_SIZE), np.bool_)
        # The largest overlaps first: few windows have to be read.
        for window in near[np.argsort(away[near].sum(axis=1), kind="stable")].tolist():
            into, part = _overlap(stored[window] - corner)
            if not covered[into].all():
                pixels = cutout_store.read_column(store, "flux", window, window + 1)[0]
                target[into] = pixels[part]
                covered[into] = True
    valid = np.isfinite(flux).mean(axis=(1, 2), dtype=np.float32)
    return flux, np.asarray(valid)


def _overlap(shift: NDArray[np.int32]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a window shifted by (dx, dy) covers another: in the other's pixels, and in its own."""
    into, part = [], []
    for step in (int(shift[1]), int(shift[0])):
        into.append(slice(max(step, 0), CUTOUT_SIZE + min(step, 0)))
        part.append(slice(max(-step, 0), CUTOUT_SIZE - max(step, 0)))
    return (into[0], into[1]), (part[0], part[1])


def _cut_from(mosaic: Mosaic, grid: ScanGrid) -> Cut:
    return lambda corners: cut_windows(mosaic, grid, corners)


def _is_store(path: Path) -> bool:
    return (path / "zarr.json").is_file() and (path / "flux").is_dir()


def _stored_field(path: Path) -> Field | None:
    """A store as a field; None if nothing in it is cut."""
    attributes, _ = cutout_store.read_attributes(path)
    if not attributes.grid_wcs:
        raise InputError(f"cutout store {path}: no sky coordinates; it cannot be searched by them")
    x0, y0 = (cutout_store.read_column(path, name) for name in ("x0", "y0"))
    fraction = cutout_store.read_column(path, "valid_fraction")
    # Windows that are not cut yet have no fraction; their corners mean nothing.
    corners = np.stack([x0, y0], axis=1).astype(np.int32)
    corners[np.isnan(fraction.astype(np.float64))] = np.iinfo(np.int32).min // 2
    cut = corners[np.isfinite(fraction.astype(np.float64))]
    if not len(cut):
        return None
    nx, ny = (int(side) + CUTOUT_SIZE for side in cut.max(axis=0))
    grid = ScanGrid((ny, nx), attributes.grid_wcs, resampled=False)
    return Field(attributes.mosaic, grid, lambda wanted: paste_windows(path, corners, wanted))
