"""Positions of everything brighter than the sky, for scans centred on sources.

sep (Barbary 2016, JOSS 1, 58; the algorithms of SExtractor, Bertin & Arnouts 1996) runs on tiles
with a halo, so memory is bounded by a tile. Three things to know about it: it takes
C-contiguous arrays of native byte order only; it knows masks, not NaN, so invalid pixels are
set to 0 and masked; and its pixel stack and sub-object limits are settings of the process,
whose defaults a crowded tile overflows with an exception.
"""

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lensweep.scanner.sky.grid import ScanGrid, read_grid_region
from lensweep.scanner.sky.mosaics import Mosaic

DETECTION_SIGMA = 5.0
MIN_AREA_PX = 12
TILE_PX = 1024
HALO_PX = 256
# A background box is wider than a lens galaxy with its arcs (6.4 arcsec at 0.05 arcsec/pixel).
# Tiles begin on multiples of it, so all tiles use the same boxes.
BACKGROUND_BOX_PX = 128
_SUB_OBJECT_LIMIT = 16_384
# Tiles see the sky a little differently, and centres with it. Near an edge both tiles may
# report a source, and it is kept once: a pair of sources this close is one after deblending.
_EDGE_PX = 2.0


def detect_sources(
    mosaic: Mosaic,
    grid: ScanGrid,
    detection_sigma: float = DETECTION_SIGMA,
    min_area_px: int = MIN_AREA_PX,
    tile_px: int = TILE_PX,
    halo_px: int = HALO_PX,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Detect sources on the scanning grid.

    A pixel counts when the signal-to-noise of sep's default 3 x 3 matched filter exceeds
    `detection_sigma`, above a background and with a noise that are both local, on boxes of
    `BACKGROUND_BOX_PX`; deblending has sep's defaults (32 levels, contrast 0.005). Drizzled noise
    is correlated, so the true significance is lower than the number, and a background that
    changes by more than the noise within a box makes false sources. Cosmic rays that survive
    in single exposures are sources here.

    Parameters
    ----------
    mosaic, grid
        A mosaic and its scanning grid.
    detection_sigma
        Threshold in units of the local noise.
    min_area_px
        Connected pixels above the threshold that make a source.
    tile_px, halo_px
        Core of a tile and what is read around it; multiples of `BACKGROUND_BOX_PX`. The halo
        has to hold half of the largest source. A source belongs to the tile whose core holds
        its centre.

    Returns
    -------
    x, y : ndarray, shape (n,), float64
        Flux-weighted isophotal centres, 0-based grid pixels, tile by tile.

    Raises
    ------
    ValueError
        Tile or halo are no multiple of the background box.
    """
    if tile_px % BACKGROUND_BOX_PX or halo_px % BACKGROUND_BOX_PX:
        raise ValueError(
            f"tile_px {tile_px} and halo_px {halo_px} must be multiples of {BACKGROUND_BOX_PX}"
        )
    sep.set_extract_pixstack((tile_px + 2 * halo_px) ** 2)
    sep.set_sub_object_limit(_SUB_OBJECT_LIMIT)
    ny, nx = grid.shape
    found = [
        _detect_in_tile(mosaic, grid, (x0, y0), tile_px, halo_px, detection_sigma, min_area_px)
        for y0 in range(0, ny, tile_px)
        for x0 in range(0, nx, tile_px)
    ]
    tile = np.repeat(np.arange(len(found)), [len(positions) for positions in found])
    positions = _drop_repeats(np.concatenate(found), tile)
    return positions[:, 0].copy(), positions[:, 1].copy()


def _detect_in_tile(
    mosaic: Mosaic,
    grid: ScanGrid,
    origin: tuple[int, int],
    tile_px: int,
    halo_px: int,
    detection_sigma: float,
    min_area_px: int,
) -> NDArray[np.float64]:
    x0, y0 = origin
    ny, nx = grid.shape
    left, bottom = max(0, x0 - halo_px), max(0, y0 - halo_px)
    rows = slice(bottom, min(ny, y0 + tile_px + halo_px))
    cols = slice(left, min(nx, x0 + tile_px + halo_px))
    flux = read_grid_region(mosaic, grid, rows, cols)
    valid = np.isfinite(flux)
    core = valid[y0 - bottom : y0 - bottom + tile_px, x0 - left : x0 - left + tile_px]
    if not core.any():
        return np.empty((0, 2))
    flux[~valid] = 0.0
    sky = sep.Background(flux, mask=~valid, bw=BACKGROUND_BOX_PX, bh=BACKGROUND_BOX_PX)
    sky.subfrom(flux)
    sources = sep.extract(flux, detection_sigma, err=sky.rms(), mask=~valid, minarea=min_area_px)
    positions = np.stack([sources["x"] + left, sources["y"] + bottom], axis=1)
    low = np.array([x0, y0]) - 0.5 - _EDGE_PX
    high = np.array([x0, y0]) + tile_px - 0.5 + _EDGE_PX
    inside: NDArray[np.bool_] = np.all((positions >= low) & (positions < high), axis=1)
    return positions[inside]


def _drop_repeats(positions: NDArray[np.float64], tile: NDArray[np.intp]) -> NDArray[np.float64]:
    """Keep the first of the positions that two tiles report for one source."""
    pairs = cKDTree(positions).query_pairs(_EDGE_PX, output_type="ndarray")
    repeated = pairs[tile[pairs[:, 0]] != tile[pairs[:, 1]]]
    keep = np.ones(len(positions), bool)
    keep[repeated.max(axis=1)] = False
    return positions[keep]
