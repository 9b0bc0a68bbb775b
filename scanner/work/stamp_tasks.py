"""What one worker does for one shard of stamps: read them, and store each as a window.

Scored they are as the windows of a mosaic, by `lensweep.scanner.work.tasks.score_unless_done`.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.files import written_at
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import write_record
from lensweep.scanner.run.stamp_plan import StampPlan, read_stamp_plan
from lensweep.scanner.sky.grid import centre_cutout, centre_stamp, on_scale
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.names import printable
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.stamp_arrays import FITS, read_stack, region_of, scales_of
from lensweep.scanner.work.attempts import attempt

# What a marker holds for stamps that cannot be scored: why, by their window.
MESSAGES = "messages"
# Of what fits in a shard: an array of large stamps is read so many pixels at a time.
PIXELS_AT_ONCE = 50_000_000
_NO_DATA = "no data at its centre; cut it elsewhere"


def store_unless_done(root: str, name: str, shard: int, limit_s: float) -> None:
    """Store one shard of stamps as windows, unless an earlier run did."""
    paths = RunPaths.at(root)
    if not paths.cut_marker(name, shard).is_file():
        with attempt(paths, name, shard, "cut", limit_s):
            store_shard(root, name, shard)


def store_shard(root: str, name: str, shard: int) -> int:
    """Store one shard of stamps as windows; what cannot be read is one without data.

    Returns
    -------
    int
        Number of stamps.
    """
    paths = RunPaths.at(root)
    plan = _plan(root, name, written_at(paths.plan(name)))
    start, stop = plan.bounds(shard)
    read = _read_files if plan.stamps.kind == FITS else _read_array
    flux, messages = read(plan, start, stop)
    valid = np.isfinite(flux).mean(axis=(1, 2)).astype(np.float32)
    # They have no sky of their own, and are their own grid.
    sky, corner = np.zeros(stop - start), np.zeros(stop - start, np.int32)
    cutouts = Cutouts(flux, valid, sky, sky, sky, sky, corner, corner)
    files = cutout_store.write_shard(paths.cutouts(name), start, cutouts)
    for window in np.flatnonzero(valid == 0.0) + start:
        messages.setdefault(int(window), f"{_called(plan, int(window))}: {_NO_DATA}")
    said = {str(window): text for window, text in messages.items()}
    write_record(
        paths.cut_marker(name, shard), {"windows": stop - start, "files": files, MESSAGES: said}
    )
    return stop - start


def _called(plan: StampPlan, window: int) -> str:
    if plan.stamps.kind == FITS:
        return f"mosaic {printable(Path(plan.stamps.paths[window]).name)}"
    return f"{plan.stamps.label}, number {window}"


def _read_files(
    plan: StampPlan, start: int, stop: int
) -> tuple[NDArray[np.float32], dict[int, str]]:
    flux = np.full((stop - start, CUTOUT_SIZE, CUTOUT_SIZE), np.nan, np.float32)
    messages: dict[int, str] = {}
    for window in range(start, stop):
        try:
            flux[window - start], _ = read_stamp(
                plan.stamps.paths[window], plan.ensemble, plan.band, plan.overrides
            )
        except MosaicError as error:
            messages[window] = str(error)
        except OSError as error:
            messages[window] = printable(f"{_called(plan, window)}: cannot be read: {error}")
    return flux, messages


def read_stamp(
    image: str, ensemble: str | None, band: str, overrides: HeaderOverrides
) -> tuple[NDArray[np.float32], float]:
    """Cut the middle of an image.

    Parameters
    ----------
    image : str
        FITS file.
    ensemble : str or None
        What it is for, for messages.
    band : str
        The filter that is needed.
    overrides : HeaderOverrides

    Returns
    -------
    flux : ndarray, shape (100, 100), float32
    valid_fraction : float

    Raises
    ------
    MosaicError
        If it cannot be used, or there is no data in its middle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        mosaic = inspect_mosaic(
            image, overrides, band, ensemble, Path(scratch), require_sky_wcs=False
        )
        check_pixels(mosaic)
        flux, valid_fraction = centre_stamp(mosaic)
    if not valid_fraction:
        raise MosaicError(f"mosaic {mosaic.file_name}: {_NO_DATA}")
    return flux, valid_fraction


def _read_array(
    plan: StampPlan, start: int, stop: int
) -> tuple[NDArray[np.float32], dict[int, str]]:
    scales = scales_of(plan.stamps, plan.overrides.pixel_scale_arcsec)
    flux = np.empty((stop - start, CUTOUT_SIZE, CUTOUT_SIZE), np.float32)
    step = max(1, PIXELS_AT_ONCE // int(np.prod(plan.stamps.shape[1:])))
    for first in range(start, stop, step):
        last = min(first + step, stop)
        for window, stamp in enumerate(read_stack(plan.stamps, first, last), first):
            flux[window - start] = _centre(stamp, float(scales[window]))
    flux *= np.float32(plan.flux_scale)
    return flux, {}


def _centre(stamp: NDArray[np.float32], scale_arcsec: float) -> NDArray[np.float32]:
    if stamp.shape == (CUTOUT_SIZE, CUTOUT_SIZE) and on_scale(scale_arcsec):
        return stamp
    ny, nx = stamp.shape
    return centre_cutout(region_of(stamp), (ny, nx), scale_arcsec)[0]


@functools.lru_cache(maxsize=4)
def _plan(root: str, name: str, _when: tuple[Any, ...]) -> StampPlan:
    return read_stamp_plan(RunPaths.at(root).root, name)
