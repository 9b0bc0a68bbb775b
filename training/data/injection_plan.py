"""Where on real mosaics lenses are painted: at detected galaxies, and on empty sky."""

from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, grid_to_sky, on_grid
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.scanner.sky.sources import detect_sources
from lensweep.scanner.sky.windows import centred_windows
from lensweep.training.data.hosts import measure_host, measure_noise
from lensweep.training.data.real_cutouts import MIDDLE_PX
from lensweep.training.simulation.light import ZERO_POINT_AB
from lensweep.training.simulation.simulate import MAX_GRID_OFFSET_PX

# Deflectors of `lenses.draw_lens` have magnitudes 16.5-23.5, and axis ratios down to 0.35.
HOST_MAGNITUDES = (16.5, 23.5)
MIN_HOST_AXIS_RATIO = 0.35
# Stars have 0.06-0.1 arcsec; 99 % of Collett's (2015) deflectors have more than 0.21.
MIN_HALF_LIGHT_ARCSEC = 0.15
# No source this near to an empty position: two Einstein radii of most lenses.
EMPTY_RADIUS_ARCSEC = 2.0
# An unlensed source of magnitude 23 on 20 pixels would reach a signal-to-noise of 20 only just:
# in more noise hardly any lens is seen, and drawing one that is would never end.
MAX_NOISE_RATE = 0.15
# All of the image's pixels near the lens have data.
_CORE_HALF_PX = 20
_QUICK_RADIUS_PX = 12.0
_BATCH = 512

PLACE_COLUMNS = (
    "mosaic", "host", "x", "y", "x0", "y0", "ra_deg", "dec_deg", "noise", "host_magnitude",
    "host_half_light_arcsec", "host_axis_ratio", "host_angle_rad",
)  # fmt: skip


def find_places(
    mosaic: Mosaic, grid: ScanGrid, zero_point_ab: float, n_empty: int, min_valid_fraction: float,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Find all galaxies of a mosaic that can be deflectors, and some empty positions.

    Windows are shifted at random, so that lenses lie in them as a grid scan leaves them. Places
    may overlap with each other and with known lenses.

    Parameters
    ----------
    mosaic, grid
    zero_point_ab : float
        AB magnitude of 1 e-/s of the mosaic.
    n_empty : int
        Empty positions to try.
    min_valid_fraction : float
        Of a window's pixels.
    seed : int

    Returns
    -------
    DataFrame
        `PLACE_COLUMNS`: ``host`` is ``detected`` or ``drawn``; ``x``, ``y`` of the lens on the
        grid; ``x0``, ``y0`` of the window; ``ra_deg``, ``dec_deg`` of the lens; ``noise`` in e-/s;
        what was measured of the host, null where it is to be drawn.
    """
    rng = np.random.default_rng([seed, int(mosaic.sha256[:12], 16)])
    x, y = detect_sources(mosaic, grid)
    empty = _empty_positions(grid, x, y, n_empty, rng)
    found = pd.DataFrame(
        [
            *measure_places(mosaic, grid, x, y, "detected", zero_point_ab),
            *measure_places(mosaic, grid, *empty, "drawn", zero_point_ab),
        ],
        columns=list(PLACE_COLUMNS),
    )
    # Columns of a mosaic without any host are null, and numbers all the same.
    found = found.astype(dict.fromkeys(PLACE_COLUMNS[2:], "float64"))
    offset = np.where(
        (rng.random(len(found)) < 0.65)[:, None],
        rng.uniform(-MAX_GRID_OFFSET_PX, MAX_GRID_OFFSET_PX, (len(found), 2)),
        rng.normal(0.0, 2.0, (len(found), 2)),
    )
    position = found[["x", "y"]].to_numpy(np.float64)
    corners = np.round(position - MIDDLE_PX - offset).astype(np.int32)
    found["x0"], found["y0"] = corners.T
    found["mosaic"] = mosaic.name
    found["ra_deg"], found["dec_deg"] = grid_to_sky(grid, *position.T)
    usable = _valid(mosaic, grid, corners, min_valid_fraction)
    return found[usable].reset_index(drop=True)


def _empty_positions(
    grid: ScanGrid, x: NDArray[np.float64], y: NDArray[np.float64], n: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    ny, nx = grid.shape
    tried = np.stack([rng.uniform(0.0, nx - 1.0, n), rng.uniform(0.0, ny - 1.0, n)], axis=1)
    if len(x):
        away, _ = cKDTree(np.stack([x, y], axis=1)).query(tried)
        tried = tried[away * PIXEL_SCALE_ARCSEC > EMPTY_RADIUS_ARCSEC]
    return tried[:, 0], tried[:, 1]


def measure_places(
    mosaic: Mosaic, grid: ScanGrid, x: NDArray[np.float64], y: NDArray[np.float64], host: str,
    zero_point_ab: float,
) -> list[dict[str, object]]:  # fmt: skip
    """Of some positions those at which a lens can be painted, with what was measured there.

    Parameters
    ----------
    mosaic, grid
    x, y : ndarray, shape (n,), float64
        0-based pixels of the grid.
    host : str
        ``detected``: the galaxy there keeps its light; ``drawn``: one is painted.
    zero_point_ab : float
    """
    on = np.flatnonzero(on_grid(grid, x, y))
    corners, order = centred_windows(x[on], y[on])
    places = []
    for start in range(0, len(corners), _BATCH):
        flux, _ = cut_windows(mosaic, grid, corners[start : start + _BATCH])
        members = on[order[start : start + _BATCH]]
        promising = _has_core(flux)
        if host == "detected":
            promising &= _bright(flux, zero_point_ab)
        for index in np.flatnonzero(promising).tolist():
            measured = _measure_one(flux[index], host, zero_point_ab)
            if measured is not None:
                position = {"x": x[members[index]], "y": y[members[index]], "host": host}
                places.append(position | measured)
    return places


def _measure_one(
    flux: NDArray[np.float32], host: str, zero_point_ab: float
) -> dict[str, object] | None:
    noise = measure_noise(flux)
    if noise is None or noise.sigma > max_noise(zero_point_ab):
        return None
    if host == "drawn":
        return {"noise": noise.sigma}
    galaxy = measure_host(flux, noise, zero_point_ab)
    if galaxy is None:
        return None
    low, high = HOST_MAGNITUDES
    fits = low <= galaxy.magnitude <= high and galaxy.axis_ratio >= MIN_HOST_AXIS_RATIO
    if not fits or galaxy.half_light_arcsec < MIN_HALF_LIGHT_ARCSEC:
        return None
    return {"noise": noise.sigma} | {f"host_{key}": value for key, value in asdict(galaxy).items()}


def max_noise(zero_point_ab: float) -> float:
    """The noise in which lenses can still be seen, in a mosaic's e-/s."""
    return float(MAX_NOISE_RATE * 10.0 ** (0.4 * (zero_point_ab - ZERO_POINT_AB)))


def _bright(flux: NDArray[np.float32], zero_point_ab: float) -> NDArray[np.bool_]:
    """Which cutouts have light enough in their middle; spares measuring the many faint sources."""
    y, x = np.mgrid[:CUTOUT_SIZE, :CUTOUT_SIZE] - MIDDLE_PX
    light = np.nansum(flux[:, np.hypot(x, y) < _QUICK_RADIUS_PX], axis=1)
    # Half a magnitude for what lies beyond 0.6 arcsec.
    faintest = 10.0 ** (0.4 * (zero_point_ab - HOST_MAGNITUDES[1] - 0.5))
    return np.asarray(light > faintest)


def _has_core(flux: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which cutouts have data in all of their middle."""
    inner = slice(CUTOUT_SIZE // 2 - _CORE_HALF_PX, CUTOUT_SIZE // 2 + _CORE_HALF_PX)
    return np.asarray(np.isfinite(flux[:, inner, inner]).all(axis=(1, 2)))


def _valid(
    mosaic: Mosaic, grid: ScanGrid, corners: NDArray[np.int32], min_valid_fraction: float
) -> NDArray[np.bool_]:
    valid = np.zeros(len(corners), np.bool_)
    # In an order in which neighbours are read together.
    order = np.lexsort((corners[:, 0], corners[:, 1] // 1000))
    for start in range(0, len(order), _BATCH):
        members = order[start : start + _BATCH]
        _, fraction = cut_windows(mosaic, grid, corners[members])
        valid[members] = fraction >= min_valid_fraction
    return valid
