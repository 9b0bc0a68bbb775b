"""Light on the detector: profiles, and drawing them onto an image through a PSF.

An image is float64 in e-/s; positions are 0-based pixels of 0.05 arcsec. Every object is drawn
in a box of its own, so that a 100 x 100 cutout and a whole mosaic are made by the same code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.psf import OVERSAMPLING, Psf, bin_down

Image = NDArray[np.float64]
# Surface brightness at offsets (dx, dy) in arcsec from the object's centre.
Brightness = Callable[[Image, Image], Image]

# AB magnitude of 1 e-/s in ACS/WFC F814W: PHOTFLAM 7.03e-20 and PHOTPLAM 8057 in the formula of
# the Hubble Legacy Archive, -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408.
ZERO_POINT_AB = 25.944

# 19.5 mag: beyond 1.5 arcsec a point source puts about 1e-5 of its flux on a pixel, which for
# fainter ones is below the noise of a single orbit.
BRIGHT_FLUX = 377.0

SAMPLE_AREA_ARCSEC2 = (PIXEL_SCALE_ARCSEC / OVERSAMPLING) ** 2


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
        """Surface brightness in e-/s/arcsec2 at the offsets (arcsec).

        Graham & Driver (2005, PASA 22, 118), equations 1-4; in single precision, since this is what
        most of a simulation's time goes into (lenstronomy's takes four times as long).
        """
        b, peak = self._constants
        cos, sin = np.float32(np.cos(self.angle_rad)), np.float32(np.sin(self.angle_rad))
        x, y = (dx - self.x_arcsec).astype(np.float32), (dy - self.y_arcsec).astype(np.float32)
        along, across = x * cos + y * sin, y * cos - x * sin
        # Squared radius of the circle of equal area, in units of the squared half-light radius.
        scale = np.float32(1.0 / self.r_eff_arcsec**2)
        squared = (along**2 * self.axis_ratio + across**2 / self.axis_ratio) * scale
        np.maximum(squared, np.float32(1e-8), out=squared)
        return np.asarray(peak * np.exp(-b * squared ** np.float32(0.5 / self.index)), np.float64)

    @cached_property
    def _constants(self) -> tuple[np.float32, float]:
        """b_n, and the central surface brightness."""
        b = special.gammaincinv(2.0 * self.index, 0.5)
        area = 2.0 * np.pi * self.r_eff_arcsec**2 * self.index
        total = area * b ** (-2.0 * self.index) * special.gamma(2.0 * self.index)
        return np.float32(b), float(flux_of(self.magnitude) / total)

    @property
    def reach_arcsec(self) -> float:
        """Half the box that holds all but the faintest wings."""
        return float(min(15.0, max(0.6, self.r_eff_arcsec * (5.0 + 2.0 * self.index))))


def ellipticity(axis_ratio: float, angle_rad: float) -> tuple[float, float]:
    """Components (e1, e2) with |e| = (1 - q) / (1 + q), as lenstronomy defines them."""
    modulus = (1.0 - axis_ratio) / (1.0 + axis_ratio)
    return float(modulus * np.cos(2.0 * angle_rad)), float(modulus * np.sin(2.0 * angle_rad))


def offsets(columns: range, rows: range, x_px: float, y_px: float) -> tuple[Image, Image]:
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
    of: Brightness | None = None,
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
    of : callable, optional
        The brightness that has that flux, in the same unit, if it is another one.
    """
    half = int(np.ceil(reach_arcsec / PIXEL_SCALE_ARCSEC))
    columns = range(round(x_px) - half, round(x_px) + half + 1)
    rows = range(round(y_px) - half, round(y_px) + half + 1)
    if flux is None:
        # The brightness is absolute, so only what can reach the image need be drawn.
        columns, rows = _reaching(image, columns, rows, psf)
    if not (len(columns) and len(rows)):
        return
    grid = offsets(columns, rows, x_px, y_px)
    values = brightness(*grid)
    known = values if of is None else of(*grid)
    values = values * (SAMPLE_AREA_ARCSEC2 if flux is None else flux / known.sum())
    add(image, bin_down(psf.core.convolve(values)), columns.start, rows.start)


def draw_galaxy_light(
    image: Image, x_px: float, y_px: float, components: Sequence[Sersic], psf: Psf
) -> None:
    """Add a galaxy of several components to an image, convolved with the PSF at once, in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), e-/s
    x_px, y_px : float
        The galaxy's centre; components may be displaced from it.
    components : sequence of Sersic
    psf : Psf
    """
    boxes = [_component_box(image, x_px, y_px, component, psf) for component in components]
    drawn = [(box, part) for box, part in zip(boxes, components, strict=True) if all(map(len, box))]
    if not drawn:
        return
    columns, rows = (
        range(min(box[axis].start for box, _ in drawn), max(box[axis].stop for box, _ in drawn))
        for axis in (0, 1)
    )
    light = np.zeros((OVERSAMPLING * len(rows), OVERSAMPLING * len(columns)))
    for (own_columns, own_rows), component in drawn:
        values = component(*offsets(own_columns, own_rows, x_px, y_px)) * SAMPLE_AREA_ARCSEC2
        first = OVERSAMPLING * (own_rows.start - rows.start)
        left = OVERSAMPLING * (own_columns.start - columns.start)
        light[first : first + values.shape[0], left : left + values.shape[1]] += values
    add(image, bin_down(psf.core.convolve(light)), columns.start, rows.start)


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


def _component_box(
    image: Image, x_px: float, y_px: float, component: Sersic, psf: Psf
) -> tuple[range, range]:
    half = int(np.ceil(component.reach_arcsec / PIXEL_SCALE_ARCSEC))
    column = round(x_px + component.x_arcsec / PIXEL_SCALE_ARCSEC)
    row = round(y_px + component.y_arcsec / PIXEL_SCALE_ARCSEC)
    columns, rows = (range(centre - half, centre + half + 1) for centre in (column, row))
    return _reaching(image, columns, rows, psf)


def _reaching(image: Image, columns: range, rows: range, psf: Psf) -> tuple[range, range]:
    """The part of a box whose light can reach the image through the PSF."""
    margin = psf.core.half_size_px
    return _clip(columns, image.shape[1], margin), _clip(rows, image.shape[0], margin)


def _clip(pixels: range, size: int, margin: int) -> range:
    return range(max(pixels.start, -margin), min(pixels.stop, size + margin))
