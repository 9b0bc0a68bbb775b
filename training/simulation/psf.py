"""Point-spread functions of the Hubble Space Telescope's ACS/WFC, from its pupil.

A physical model instead of stored stars: rings, diffraction spikes and the field's spread of
focus all follow from the obstructed aperture and small random aberrations, at any stamp size.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC

OVERSAMPLING = 2

# Hubble's primary: 2.4 m (HST Primer). Obstructions as fractions of its radius: secondary mirror,
# spider vanes and the three mirror pads (Krist & Hook, Tiny Tim User's Guide 6.3, pupil files).
PRIMARY_DIAMETER_M = 2.4
SECONDARY_RADIUS = 0.33
VANE_WIDTH = 0.022
PADS = ((0.8921, 0.0, 0.065), (-0.4615, 0.7555, 0.065), (-0.4564, -0.7606, 0.061))
# F814W: pivot 8057 A (PHOTPLAM of the headers), about 1,500 A wide; seven wavelengths smooth the
# outer rings, as the band does.
WAVELENGTHS_M = (7.2e-7, 7.45e-7, 7.75e-7, 8.06e-7, 8.37e-7, 8.75e-7, 9.1e-7)
# What polishing left on the mirror, 3 to 40 waves across it: the speckles of real wings. The
# amplitude falls with the frequency; in all 0.015 waves rms at 633 nm (9 nm), our choice.
POLISHING_WAVES, POLISHING_RMS, POLISHING_CYCLES = 48, 0.015, (3.0, 40.0)
PUPIL_SAMPLES = 256
CORE_HALF_SIZE_PX = 30
# Fourier transforms of kernels that are kept, and to what their sizes are rounded up, so that
# objects of like size share one.
_KEPT_TRANSFORMS = 16
_SIZE_STEP = 32


# Compared by identity, so that what is derived from one can be kept.
@dataclass(frozen=True, eq=False)
class Psf:
    """One point-spread function, sampled at half a pixel.

    Attributes
    ----------
    kernel : ndarray, shape (k, k), float64
        k odd; sums to one; 0.025 arcsec a sample, pixel response not yet applied (drawing on the
        oversampled grid and summing 2 x 2 samples applies it).
    """

    kernel: NDArray[np.float64]

    @property
    def half_size_px(self) -> int:
        """Half the kernel's width, in whole pixels of 0.05 arcsec."""
        return int(self.kernel.shape[0] // (2 * OVERSAMPLING))

    @cached_property
    def core(self) -> "Psf":
        """The inner 1.5 arcsec, for what is too faint for its wings and spikes to show."""
        cut = OVERSAMPLING * max(0, self.half_size_px - CORE_HALF_SIZE_PX)
        inner = self.kernel[cut : self.kernel.shape[0] - cut, cut : self.kernel.shape[1] - cut]
        return Psf(inner / inner.sum())

    def stamp(self, dx_px: float, dy_px: float) -> NDArray[np.float64]:
        """Pixel-integrated point source, displaced from the centre of the middle pixel.

        Parameters
        ----------
        dx_px, dy_px : float
            Displacement within half a pixel.

        Returns
        -------
        ndarray, shape (2 h + 1, 2 h + 1), float64
            h = half_size_px; sums to about one.
        """
        half = self.half_size_px
        # An even number of samples per pixel: the pixel's centre lies between two samples. Linear
        # interpolation blurs by at most half a sample (0.0125 arcsec rms), well within the spread
        # of the drawn PSFs' own blur.
        shift_y, shift_x = OVERSAMPLING * dy_px + 0.5, OVERSAMPLING * dx_px + 0.5
        whole_y, whole_x = int(np.floor(shift_y)), int(np.floor(shift_x))
        part_y, part_x = shift_y - whole_y, shift_x - whole_x
        side = OVERSAMPLING * (2 * half + 1)
        start = self.kernel.shape[0] // 2 - (OVERSAMPLING * half + OVERSAMPLING // 2) + 1
        top, left = (start + 2 * OVERSAMPLING - whole for whole in (whole_y, whole_x))
        upper, lower = (self._padded[top - step : top - step + side] for step in (0, 1))
        rows = (1.0 - part_y) * upper + part_y * lower
        right, further = (rows[:, left - step : left - step + side] for step in (0, 1))
        stamp = (1.0 - part_x) * right + part_x * further
        return bin_down(stamp)

    def convolve(self, oversampled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convolve an oversampled image (same shape out, zero outside)."""
        ny, nx = (
            fft.next_fast_len(_SIZE_STEP * -(-(n + k - 1) // _SIZE_STEP), real=True)
            for n, k in zip(oversampled.shape, self.kernel.shape, strict=True)
        )
        light = fft.rfft2(oversampled.astype(np.float32), (ny, nx))
        full = fft.irfft2(light * _transform(self, ny, nx), (ny, nx))
        start = self.kernel.shape[0] // 2
        ny, nx = oversampled.shape
        return np.asarray(full[start : start + ny, start : start + nx], np.float64)

    @cached_property
    def _padded(self) -> NDArray[np.float64]:
        return np.pad(self.kernel, 2 * OVERSAMPLING)


@lru_cache(maxsize=_KEPT_TRANSFORMS)
def _transform(psf: Psf, ny: int, nx: int) -> NDArray[np.complex64]:
    """In single precision: 1e-7 of an object's own light, at half the time."""
    return np.asarray(fft.rfft2(psf.kernel.astype(np.float32), (ny, nx)))


def bin_down(oversampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum blocks of OVERSAMPLING x OVERSAMPLING samples into pixels."""
    steps = range(OVERSAMPLING)
    rows = reduce(np.add, (oversampled[step::OVERSAMPLING] for step in steps))
    return reduce(np.add, (rows[:, step::OVERSAMPLING] for step in steps))


@dataclass(frozen=True, eq=False)
class Optics:
    """What a PSF is computed from.

    Attributes
    ----------
    waves : ndarray, shape (5,), float64
        Focus, two astigmatisms and two comas, in waves rms at 633 nm.
    roll_rad : float
    blur_px : float
        Standard deviation, pixels of 0.05 arcsec.
    """

    waves: NDArray[np.float64]
    roll_rad: float
    blur_px: float


def draw_optics(rng: np.random.Generator) -> Optics:
    """Draw random focus, astigmatism, coma, roll angle and drizzle blur.

    The spread (0.045 waves rms of low-order error at 633 nm, blur of 0.35-0.6 pixels for charge
    diffusion and drizzling) is chosen so that the full width at half maximum covers the 0.09-0.12
    arcsec of ACS/WFC drizzles (Scoville et al. 2007 quote 0.09 arcsec for COSMOS).
    """
    waves = rng.normal(0.0, 0.045, size=5)
    return Optics(waves, rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.35, 0.6))


def draw_psf(
    rng: np.random.Generator,
    half_size_px: int = 100,
    wavelengths_m: tuple[float, ...] = WAVELENGTHS_M,
) -> Psf:
    """Draw one PSF, as of `draw_optics`; F814W by default."""
    return psf_of(draw_optics(rng), half_size_px, wavelengths_m)


def psf_of(
    optics: Optics, half_size_px: int = 100, wavelengths_m: tuple[float, ...] = WAVELENGTHS_M
) -> Psf:
    """Compute a PSF; F814W by default."""
    u = _pupil()
    x = u[None, :] * np.cos(optics.roll_rad) + u[:, None] * np.sin(optics.roll_rad)
    y = -u[None, :] * np.sin(optics.roll_rad) + u[:, None] * np.cos(optics.roll_rad)
    aperture = _aperture(x, y)
    error_m = 6.33e-7 * (_low_order(x, y, optics.waves) + _polishing(x, y))

    samples = 2 * OVERSAMPLING * half_size_px + 1
    kernel = np.zeros((samples, samples))
    transforms = _pupil_transforms(samples, wavelengths_m)
    for wavelength, transform in zip(wavelengths_m, transforms, strict=True):
        field = transform @ (aperture * np.exp(2j * np.pi * error_m / wavelength)) @ transform.T
        kernel += np.abs(field) ** 2 / _sample_response(samples, wavelength)
    kernel = ndimage.gaussian_filter(kernel, OVERSAMPLING * optics.blur_px)
    return Psf(kernel / kernel.sum())


def _pupil() -> NDArray[np.float64]:
    return np.linspace(-1.0, 1.0, PUPIL_SAMPLES)


@lru_cache(maxsize=4)
def _pupil_transforms(
    samples: int, wavelengths_m: tuple[float, ...]
) -> tuple[NDArray[np.complex128], ...]:
    """From a side of the pupil to one of the image, for every wavelength.

    Matrix Fourier transforms (Soummer et al. 2007): any sampling, no padding.
    """
    phases = [-2j * np.pi * PRIMARY_DIAMETER_M / 2.0 / wavelength for wavelength in wavelengths_m]
    return tuple(np.exp(phase * np.outer(_angles_rad(samples), _pupil())) for phase in phases)


def _sample_response(samples: int, wavelength_m: float) -> NDArray[np.float64]:
    """What the pupil's samples, each a mean over its square, take from the wings.

    Without it rings are a fifth too faint at 5 arcsec; with it they are within 3 % of those of a
    pupil of four times as many samples.
    """
    side_m = PRIMARY_DIAMETER_M / (PUPIL_SAMPLES - 1)
    one = np.sinc(_angles_rad(samples) * side_m / wavelength_m) ** 2
    return np.asarray(np.outer(one, one))


def _angles_rad(samples: int) -> NDArray[np.float64]:
    angle = (np.arange(samples) - samples // 2) * PIXEL_SCALE_ARCSEC / OVERSAMPLING
    return np.asarray(np.deg2rad(angle / 3600.0))


def _aperture(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each sample that is open: sharp edges would make spikes that depend on the roll."""
    sample = 2.0 / (PUPIL_SAMPLES - 1)

    def beyond(distance: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
        return np.asarray(np.clip((distance - edge) / sample + 0.5, 0.0, 1.0))

    radius = np.hypot(x, y)
    open_ = (1.0 - beyond(radius, 1.0)) * beyond(radius, SECONDARY_RADIUS)
    for across in (x, y):
        open_ *= beyond(np.abs(across), VANE_WIDTH / 2.0)
    for pad_x, pad_y, pad_radius in PADS:
        open_ *= beyond(np.hypot(x - pad_x, y - pad_y), pad_radius)
    return np.asarray(open_)


def _polishing(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mirror's own small errors, in waves: the same in every image, turned with it."""
    rng = np.random.default_rng(1990)
    low, high = POLISHING_CYCLES
    cycles = low * (high / low) ** rng.random(POLISHING_WAVES)
    angle, phase = 2.0 * np.pi * rng.random((2, POLISHING_WAVES))
    height = np.sqrt(2.0 / np.sum(cycles**-2.0)) * POLISHING_RMS / cycles
    error = np.zeros_like(x)
    for turns, toward, offset, one in zip(np.pi * cycles, angle, phase, height, strict=True):
        error += one * np.cos(turns * (x * np.cos(toward) + y * np.sin(toward)) + offset)
    return error


def _low_order(
    x: NDArray[np.float64], y: NDArray[np.float64], waves: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Zernike focus, two astigmatisms and two comas (Noll 1976), each with unit rms weight."""
    r2 = x**2 + y**2
    return np.asarray(
        waves[0] * np.sqrt(3.0) * (2.0 * r2 - 1.0)
        + waves[1] * np.sqrt(6.0) * (x**2 - y**2)
        + waves[2] * np.sqrt(6.0) * 2.0 * x * y
        + waves[3] * np.sqrt(8.0) * (3.0 * r2 - 2.0) * x
        + waves[4] * np.sqrt(8.0) * (3.0 * r2 - 2.0) * y
    )
