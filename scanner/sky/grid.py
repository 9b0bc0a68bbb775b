"""The scanning grid: north up, east left, 0.05 arcsec/pixel, resampled only when it must be.

HLA ACS/WFC drizzles lie on that grid already and are read as they are. Other scales and
orientations are resampled (`lensweep.scanner.sky.resampling`).
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, wcs_to_celestial_frame
from numpy.typing import ArrayLike, NDArray

from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.pixels import read_region
from lensweep.scanner.sky.resampling import Region, border, resample
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

# A mosaic within these lies on the scanning grid. Across one cutout they move a pixel by 0.1
# and 0.2 pixels. Positions on the sky never suffer: they use the mosaic's exact WCS.
SCALE_TOLERANCE = 0.001
ROTATION_TOLERANCE_DEG = 0.1


@dataclass(frozen=True)
class ScanGrid:
    """Pixel grid that windows are planned on.

    Parameters
    ----------
    shape
        (ny, nx), pixels.
    wcs_header
        Header text of its celestial WCS.
    resampled
        False when this is the mosaic's own pixel grid.
    """

    shape: tuple[int, int]
    wcs_header: str
    resampled: bool

    @property
    def wcs(self) -> WCS:
        """A new WCS, since threads must not share one."""
        return WCS(fits.Header.fromstring(self.wcs_header, sep="\n"))


def scan_grid(mosaic: Mosaic, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC) -> ScanGrid:
    """Choose the grid to scan a mosaic on: its own if it can be, else a new one around it.

    The mosaic's own grid is kept when it is an undistorted TAN projection in ICRS or FK5 J2000
    whose pixel axes point west and north within `ROTATION_TOLERANCE_DEG` at the reference
    point, and whose pixels are `pixel_scale_arcsec` within `SCALE_TOLERANCE`.

    Parameters
    ----------
    mosaic
        With sky coordinates.
    pixel_scale_arcsec
        Of the scanning grid.

    Returns
    -------
    ScanGrid
        A new grid is TAN about the mosaic's centre and in the mosaic's frame if that is FK5,
        else in ICRS.

    Raises
    ------
    MosaicError
        The mosaic has no sky coordinates.
    """
    wcs = mosaic.wcs
    # wcslib turns TPV into TAN and lists its polynomial nowhere but in the header that it writes.
    bent = wcs.sip is not None or re.search(r"^PV[12]_", mosaic.wcs_header, re.MULTILINE)
    if not bent and _is_scanning_grid(wcs, pixel_scale_arcsec):
        return ScanGrid(mosaic.shape, mosaic.wcs_header, resampled=False)
    ny, nx = mosaic.shape
    frame = wcs_to_celestial_frame(wcs)
    centre = wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    if isinstance(frame, FK5):
        north_up = _north_up_tan(centre.ra.deg, centre.dec.deg, pixel_scale_arcsec)
        north_up.wcs.radesys = "FK5"
        north_up.wcs.equinox = frame.equinox.jyear
    else:
        north_up = _north_up_tan(centre.icrs.ra.deg, centre.icrs.dec.deg, pixel_scale_arcsec)
    x, y = pixel_to_pixel(wcs, north_up, *border(slice(0, ny), slice(0, nx)))
    # The outer edges of the border pixels become the outer edges of the grid. A last row that
    # rounding errors would fill to less than a hundredth is left out.
    north_up.wcs.crpix = north_up.wcs.crpix - (x.min() + 0.5, y.min() + 0.5)
    shape = (math.ceil(np.ptp(y) - 0.01), math.ceil(np.ptp(x) - 0.01))
    return ScanGrid(shape, north_up.to_header().tostring(sep="\n"), resampled=True)


def grid_about(ra_deg: ArrayLike, dec_deg: ArrayLike) -> ScanGrid:
    """A new grid that holds the windows of positions, as `centred_windows` places them.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        ICRS, within a degree of each other: farther out TAN's pixels grow by over
        `SCALE_TOLERANCE`.
    """
    sky = SkyCoord(np.asarray(ra_deg, float), np.asarray(dec_deg, float), unit=u.deg)
    middle = SkyCoord(sky.cartesian.mean(), frame="icrs").spherical
    wcs = _north_up_tan(middle.lon.deg, middle.lat.deg, PIXEL_SCALE_ARCSEC)
    x, y = (np.atleast_1d(axis) for axis in wcs.world_to_pixel(sky))
    half = CUTOUT_SIZE // 2
    first = np.floor([x.min(), y.min()]) - half
    wcs.wcs.crpix = wcs.wcs.crpix - first
    width, height = (int(side) + 2 * half for side in np.ceil([np.ptp(x), np.ptp(y)]) + 1)
    return ScanGrid((height, width), wcs.to_header().tostring(sep="\n"), resampled=True)


def read_grid_region(
    mosaic: Mosaic, grid: ScanGrid, rows: slice, cols: slice
) -> NDArray[np.float32]:
    """Pixels of a rectangle of the scanning grid.

    As `lensweep.scanner.sky.resampling.resample` makes them, where the grid is a new one.

    Parameters
    ----------
    mosaic, grid
        A mosaic and its grid.
    rows, cols
        Slices with explicit bounds, in grid pixels; the outside of the mosaic is invalid.

    Returns
    -------
    ndarray, shape (rows, cols), float32, e-/s per grid pixel
        NaN where invalid.
    """
    if not grid.resampled:
        return read_region(mosaic, rows, cols)
    return resample(
        lambda rows, cols: read_region(mosaic, rows, cols), mosaic.wcs, grid.wcs, rows, cols
    )


def grid_to_sky(
    grid: ScanGrid, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination, ICRS degrees, of 0-based grid pixels."""
    sky = grid.wcs.pixel_to_world(np.asarray(x, float), np.asarray(y, float)).icrs
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def sky_to_grid(
    grid: ScanGrid, ra_deg: ArrayLike, dec_deg: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """0-based grid pixels of ICRS positions; NaN for the far side of the sky."""
    sky = SkyCoord(np.asarray(ra_deg, float), np.asarray(dec_deg, float), unit=u.deg)
    x, y = grid.wcs.world_to_pixel(sky)
    return np.asarray(x), np.asarray(y)


def grid_to_mosaic_pixels(
    mosaic: Mosaic, grid: ScanGrid, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """0-based pixels of the mosaic as drizzled; the same numbers when nothing is resampled."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not grid.resampled:
        return x, y
    # astropy cannot reshape none of them.
    if x.size:
        x, y = pixel_to_pixel(grid.wcs, mosaic.wcs, x, y)
    return np.asarray(x), np.asarray(y)


def centre_stamp(
    mosaic: Mosaic, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC
) -> tuple[NDArray[np.float32], float]:
    """One cutout about the centre of an image; as `centre_cutout`."""
    return centre_cutout(
        lambda rows, cols: read_region(mosaic, rows, cols), mosaic.shape,
        mosaic.pixel_scale_arcsec, pixel_scale_arcsec,
    )  # fmt: skip


def centre_cutout(
    read: Region,
    shape: tuple[int, int],
    image_scale_arcsec: float,
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC,
) -> tuple[NDArray[np.float32], float]:
    """One cutout about the centre of an image, in the image's own orientation.

    Sky coordinates are not needed: the scale is enough. Within `SCALE_TOLERANCE` of
    `pixel_scale_arcsec` the pixels are taken as they are, else resampled about the centre as in
    `read_grid_region`.

    Parameters
    ----------
    read : callable
        Gives a rectangle of the image, e-/s; NaN where invalid, and outside.
    shape : tuple of int
        (ny, nx) of the image.
    image_scale_arcsec, pixel_scale_arcsec : float
        Of the image, and of the cutout.

    Returns
    -------
    flux : ndarray, shape (100, 100), float32, e-/s
        NaN where invalid, and beyond the edges of a small image.
    valid_fraction : float
    """
    ny, nx = shape
    if on_scale(image_scale_arcsec, pixel_scale_arcsec):
        x0, y0 = (nx - CUTOUT_SIZE) // 2, (ny - CUTOUT_SIZE) // 2
        flux = read(slice(y0, y0 + CUTOUT_SIZE), slice(x0, x0 + CUTOUT_SIZE))
        return flux, float(np.isfinite(flux).mean())
    # Any tangent point does for a stamp of a few arcsec; this one is far from poles and wraps.
    wcs_in = _north_up_tan(180.0, 0.0, image_scale_arcsec)
    wcs_in.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    wcs_out = _north_up_tan(180.0, 0.0, pixel_scale_arcsec)
    wcs_out.wcs.crpix = [(CUTOUT_SIZE + 1) / 2] * 2
    whole = slice(0, CUTOUT_SIZE)
    flux = resample(read, wcs_in, wcs_out, whole, whole)
    return flux, float(np.isfinite(flux).mean())


def on_scale(image_scale_arcsec: float, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC) -> bool:
    """Whether pixels of one scale are taken for those of another."""
    return math.isclose(image_scale_arcsec, pixel_scale_arcsec, rel_tol=SCALE_TOLERANCE)


def on_grid(grid: ScanGrid, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which positions lie on a grid.

    Parameters
    ----------
    grid : ScanGrid
    x, y : ndarray, shape (n,), float64
        0-based grid pixels; NaN lies nowhere.

    Returns
    -------
    ndarray, shape (n,), bool
    """
    ny, nx = grid.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    return np.asarray(inside)


def random_corners(grid: ScanGrid, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Corners (x0, y0) of random windows that lie on a grid, shape (n, 2)."""
    ny, nx = grid.shape
    x0 = rng.integers(0, max(1, nx - CUTOUT_SIZE + 1), n)
    y0 = rng.integers(0, max(1, ny - CUTOUT_SIZE + 1), n)
    return np.stack([x0, y0], axis=1).astype(np.int32)


def _is_scanning_grid(wcs: WCS, pixel_scale_arcsec: float) -> bool:
    plain = (
        list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
        and wcs.wcs.lonpole == 180.0
        and (wcs.wcs.radesys == "ICRS" or (wcs.wcs.radesys, wcs.wcs.equinox) == ("FK5", 2000.0))
    )
    if not plain:
        return False
    # Columns: where one pixel along x and along y leads, (east, north) in scanning pixels.
    axes = wcs.pixel_scale_matrix * 3600.0 / pixel_scale_arcsec
    scales = np.hypot(axes[0], axes[1])
    aligned = math.cos(math.radians(ROTATION_TOLERANCE_DEG))
    return bool(
        np.all(np.abs(scales - 1.0) <= SCALE_TOLERANCE)
        and -axes[0, 0] / scales[0] >= aligned
        and axes[1, 1] / scales[1] >= aligned
    )


def _north_up_tan(ra_deg: float, dec_deg: float, pixel_scale_arcsec: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra_deg, dec_deg]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-pixel_scale_arcsec / 3600.0, pixel_scale_arcsec / 3600.0]
    wcs.wcs.radesys = "ICRS"
    return wcs
