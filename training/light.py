"""Light on the detector: profiles, and drawing them onto an image through a PSF.

An image is float64 in e-/s; positions are 0-based pixels of 0.05 arcsec. Every object is drawn
in a box of its own, so that a 100 x 100 cutout and a whole mosaic are made by the same code.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from lenstronomy.LightModel.light_model import LightModel
from numpy.typing import NDArray

from training.psf import OVERSAMPLING, PIXEL_SCALE_ARCSEC, Psf, bin_down

Image = NDArray[np.float64]
# Surface brightness at offsets (dx, dy) in arcsec from the object's centre.
Brightness = Callable[[Image, Image], Image]

# AB magnitude of 1 e-/s in ACS/WFC F814W: PHOTFLAM 7.03e-20 and PHOTPLAM 8057 in the formula of
# the Hubble Legacy Archive, -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408.
ZERO_POINT_AB = 25.944

# 19.5 mag: beyond 1.5 arcsec a point source puts about 1e-5 of its flux on a pixel, which for
# fainter ones is below the noise of a single orbit.
BRIGHT_FLUX = 377.0

_SERSIC = LightModel(["SERSIC_ELLIPSE"])


def flux_of(magnitude: float) -> float:
    """Flux in e-/s of an AB magnitude in F814W."""
    return float(10.0 ** (0.4 * (ZERO_POINT_AB - magnitude)))


@dataclass(frozen=True)
class Sersic:
    """An elliptical Sersic profile (Sersic 1963), normalised to its total flux.

    Attributes
    ----------
    magnitude : float
        AB, total.
    r_eff_arcsec : float
        Half-light radius (of the circle of equal area).
    index : float
    axis_ratio : float
        Minor over major, in (0, 1].
    angle_rad : float
        Of the major axis, from x towards y.
    x_arcsec, y_arcsec : float
        Displacement from the object's centre.
    """

    magnitude: float
    r_eff_arcsec: float
    index: float
    axis_ratio: float
    angle_rad: float
    x_arcsec: float = 0.0
    y_arcsec: float = 0.0

    def __call__(self, dx: Image, dy: Image) -> Image:
        """Surface brightness in e-/s/arcsec2 at the offsets (arcsec)."""
        e1, e2 = ellipticity(self.axis_ratio, self.angle_rad)
        shape = {
            "R_sersic": self.r_eff_arcsec,
            "n_sersic": self.index,
            "e1": e1,
            "e2": e2,
            "center_x": self.x_arcsec,
            "center_y": self.y_arcsec,
            "amp": 1.0,
        }
        total = _SERSIC.total_flux([shape], norm=True)[0]
        brightness = _SERSIC.surface_brightness(dx.ravel(), dy.ravel(), [shape])
        return np.asarray(brightness.reshape(dx.shape) * flux_of(self.magnitude) / total)

    @property
    def reach_arcsec(self) -> float:
        """Half the box that holds all but the faintest wings."""
        return float(min(15.0, max(0.6, self.r_eff_arcsec * (5.0 + 2.0 * self.index))))


def ellipticity(axis_ratio: float, angle_rad: float) -> tuple[float, float]:
    """Components (e1, e2) with |e| = (1 - q) / (1 + q), as lenstronomy defines them."""
    modulus = (1.0 - axis_ratio) / (1.0 + axis_ratio)
    return float(modulus * np.cos(2.0 * angle_rad)), float(modulus * np.sin(2.0 * angle_rad))


def offsets(
    columns: range, rows: range, x_px: float, y_px: float
) -> tuple[Image, Image]:
    """Oversampled offsets in arcsec from (x_px, y_px) over a box of pixels."""
    dx, dy = (
        (np.arange(OVERSAMPLING * len(pixels)) + 0.5) / OVERSAMPLING + pixels.start - 0.5 - centre
        for pixels, centre in ((columns, x_px), (rows, y_px))
    )
    grid = np.meshgrid(dx * PIXEL_SCALE_ARCSEC, dy * PIXEL_SCALE_ARCSEC)
    return grid[0], grid[1]


def draw(
    image: Image,
    x_px: float,
    y_px: float,
    brightness: Brightness,
    reach_arcsec: float,
    psf: Psf,
    flux: float | None = None,
) -> None:
    """Add an extended object to an image, convolved with the PSF.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), e-/s
        Changed in place; what lies outside it is cut.
    x_px, y_px : float
        The object's centre.
    brightness : callable
        Surface brightness (e-/s/arcsec2, or any unit if `flux` is given) at offsets in arcsec.
    reach_arcsec : float
        Half the side of the box in which it is drawn.
    psf : Psf
    flux : float, optional
        Total flux in e-/s inside the box; without it the brightness is taken at its word.
    """
    half = int(np.ceil(reach_arcsec / PIXEL_SCALE_ARCSEC))
    columns = range(round(x_px) - half, round(x_px) + half + 1)
    rows = range(round(y_px) - half, round(y_px) + half + 1)
    if flux is None:
        # The brightness is absolute, so only what can reach the image need be drawn.
        columns = _clip(columns, image.shape[1], psf.core.half_size_px)
        rows = _clip(rows, image.shape[0], psf.core.half_size_px)
    if not (len(columns) and len(rows)):
        return
    values = brightness(*offsets(columns, rows, x_px, y_px))
    sample_area = (PIXEL_SCALE_ARCSEC / OVERSAMPLING) ** 2
    values = values * (sample_area if flux is None else flux / values.sum())
    add(image, bin_down(psf.core.convolve(values)), columns.start, rows.start)


def draw_point(image: Image, x_px: float, y_px: float, flux: float, psf: Psf) -> None:
    """Add a point source of the given flux (e-/s) to an image, in place."""
    column, row = round(x_px), round(y_px)
    psf = psf if flux > BRIGHT_FLUX else psf.core
    half = psf.half_size_px
    stamp = flux * psf.stamp(x_px - column, y_px - row)
    add(image, stamp, column - half, row - half)


def add(image: Image, stamp: Image, x0: int, y0: int) -> None:
    """Add a stamp whose first pixel falls on (x0, y0); what lies outside the image is cut."""
    ny, nx = stamp.shape
    top, left = max(0, -y0), max(0, -x0)
    bottom, right = min(ny, image.shape[0] - y0), min(nx, image.shape[1] - x0)
    if bottom > top and right > left:
        image[y0 + top : y0 + bottom, x0 + left : x0 + right] += stamp[top:bottom, left:right]


def _clip(pixels: range, size: int, margin: int) -> range:
    return range(max(pixels.start, -margin), min(pixels.stop, size + margin))
