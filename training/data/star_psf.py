"""A mosaic's own point-spread function, measured from its stars."""

import numpy as np
import pandas as pd
import sep
from astropy.nddata import NDData
from astropy.table import Table
from numpy.typing import NDArray
from photutils.psf import EPSFBuilder, extract_stars

from lensweep.scanner.sky.grid import ScanGrid, read_grid_region
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.training.simulation.psf import OVERSAMPLING, Psf

# Fewer leave the samples between pixels empty.
LEAST_STARS, MOST_STARS = 12, 60
TILE_PX = 1024
# Half of a star's light within half an arcsecond lies within 0.06-0.1 arcsec of its middle (ACS/WFC
# drizzles); galaxies that are so small and round are rare among what is this bright.
HALF_LIGHT_RANGE_PX, LEAST_AXIS_RATIO, APERTURE_PX = (0.9, 2.1), 0.75, 10.0
# Bright against the noise, and faint enough not to saturate: e-/s in the brightest pixel (a full
# well of 80,000 e- in an exposure of 500 s is 160 e-/s).
LEAST_PEAK_SIGMA, MOST_PEAK_RATE = 60.0, 100.0
STAMP_PX, ALONE_PX = 41, 30.0


def measure_psf(mosaic: Mosaic, grid: ScanGrid) -> tuple[Psf, int] | None:
    """Build an effective PSF (Anderson & King 2000) from the stars of a mosaic, with photutils.

    It holds the response of pixels already, and drawing applies it once more: from 0.100 to 0.108
    arcsec across, as with a PSF file (`training.simulation.psf_file`).

    Returns
    -------
    psf : Psf
    n : int
        Stars that it was built from.

    None if there are fewer than `LEAST_STARS` fit ones.
    """
    ny, nx = grid.shape
    stamps: list[NDArray[np.float64]] = []
    for y0 in range(0, ny, TILE_PX):
        for x0 in range(0, nx, TILE_PX):
            rows, columns = slice(y0, min(ny, y0 + TILE_PX)), slice(x0, min(nx, x0 + TILE_PX))
            stamps += _stars(read_grid_region(mosaic, grid, rows, columns))
    if len(stamps) < LEAST_STARS:
        return None
    # Those of middling peaks: neither noisy nor near saturation.
    stamps = sorted(stamps, key=lambda stamp: -float(stamp.max()))[:MOST_STARS]
    return _built(stamps), len(stamps)


def _stars(flux: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Stamps of the lone stars of a tile, sky subtracted."""
    valid = np.isfinite(flux)
    if valid.mean() < 0.1:
        return []
    pixels = np.ascontiguousarray(np.where(valid, flux, 0.0), np.float32)
    sky = sep.Background(pixels, mask=~valid, bw=128, bh=128)
    sky.subfrom(pixels)
    found = pd.DataFrame(sep.extract(pixels, 5.0, err=sky.globalrms, mask=~valid, minarea=5))
    if not len(found):
        return []
    # sep writes to nothing, but takes no read-only array.
    x, y = (np.array(found[name]) for name in ("x", "y"))
    radius, _ = sep.flux_radius(pixels, x, y, np.full(len(x), APERTURE_PX), 0.5, mask=~valid)
    fit = (radius > HALF_LIGHT_RANGE_PX[0]) & (radius < HALF_LIGHT_RANGE_PX[1])
    fit &= found["b"] / found["a"] > LEAST_AXIS_RATIO
    fit &= (found["peak"] > LEAST_PEAK_SIGMA * sky.globalrms) & (found["peak"] < MOST_PEAK_RATE)
    half = STAMP_PX // 2
    positions, stamps = found[["x", "y"]].to_numpy(np.float64), []
    for x, y in positions[fit.to_numpy()]:
        alone = (np.hypot(*(positions - (x, y)).T) < ALONE_PX).sum() == 1
        column, row = round(float(x)), round(float(y))
        box = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
        inside = min(row, column) >= half and valid[box].shape == (STAMP_PX, STAMP_PX)
        if alone and inside and valid[box].all():
            stamps.append(pixels[box].astype(np.float64))
    return stamps


def _built(stamps: list[NDArray[np.float64]]) -> Psf:
    # One image with all of them, as photutils takes stars.
    sheet = np.concatenate(stamps, axis=1)
    middle = STAMP_PX // 2
    where = Table({"x": STAMP_PX * np.arange(len(stamps)) + middle, "y": [middle] * len(stamps)})
    stars = extract_stars(NDData(sheet), where, size=STAMP_PX)
    # photutils' smoothing kernels are made for a finer sampling: at half a pixel they would widen
    # the result by a sixth.
    builder = EPSFBuilder(
        oversampling=OVERSAMPLING, maxiters=5, progress_bar=False, smoothing_kernel=None
    )
    epsf, _ = builder(stars)
    kernel = np.maximum(np.asarray(epsf.data, np.float64), 0.0)
    return Psf(kernel / kernel.sum())
