"""The conditions that a scene is recorded in: depth, sky, and the noise of a drizzled image."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.light import ZERO_POINT_AB, Image

# Electrons (ACS Instrument Handbook, WFC).
FULL_WELL = 84_700.0
# Share of cutouts of several exposures that not all of these see whole.
_UNEVEN = 0.15


@dataclass(frozen=True, eq=False)
class Observation:
    """The conditions of one drizzled image.

    Attributes
    ----------
    exposure_time_s : float
    n_exposures : int
    sky_rate : float
        e-/s per pixel of 0.05 arcsec.
    read_noise : float
        e- rms per exposure.
    noise_blur_px : float
        Gaussian width of the kernel that drizzling correlates the noise with.
    cosmic_rays_per_cutout : float
        Expected number left in 100 x 100 pixels.
    columns_rad : float
        Direction of the detector's columns, from x towards y: saturated pixels bleed along them.
    depth : ndarray, shape (ny, nx), or float
        Share of the exposures that see a pixel.
    """

    exposure_time_s: float
    n_exposures: int
    sky_rate: float
    read_noise: float
    noise_blur_px: float
    cosmic_rays_per_cutout: float
    columns_rad: float = 0.0
    depth: Image | float = 1.0

    def sigma(self, image: Image | float) -> Image:
        """Noise per pixel before drizzling, e-/s, of an image in e-/s."""
        electrons = np.maximum(image, 0.0) + self.sky_rate
        variance = electrons * self.exposure_time_s + self.n_exposures * self.read_noise**2
        return np.asarray(np.sqrt(variance / self.depth) / self.exposure_time_s)

    @property
    def floor(self) -> float:
        """Noise of an empty pixel that all exposures see, e-/s."""
        return float(replace(self, depth=1.0).sigma(0.0))

    @property
    def saturation(self) -> float:
        """What a pixel of one exposure can hold, e-/s."""
        return FULL_WELL * self.n_exposures / self.exposure_time_s


def draw_observation(rng: np.random.Generator) -> Observation:
    """Draw an observation: snapshot, single orbit, or deep field.

    Exposure times run from SLACS' 420 s snapshots, whose cosmic rays remain, over COSMOS' single
    orbits (four exposures, about 2,000 s) to deep fields. Sky 21.8-22.5 mag/arcsec2 (analogues of
    ACS F814W); read noise 4-5.2 e- (ACS Instrument Handbook, after and before 2009).
    """
    kind = rng.choice(["snapshot", "orbit", "deep"], p=[0.2, 0.65, 0.15])
    exposure_time, n_exposures, cosmic_rays = {
        "snapshot": (rng.uniform(400.0, 1000.0), 1, rng.uniform(0.0, 40.0)),
        "orbit": (rng.uniform(1000.0, 2600.0), 4, rng.exponential(0.4)),
        # Exposures of at most an orbit, many of them shorter.
        "deep": (10.0 ** rng.uniform(3.4, 4.3), 16, 0.0),
    }[kind]
    sky = rng.uniform(21.8, 22.5)
    sky_rate = PIXEL_SCALE_ARCSEC**2 * 10.0 ** (0.4 * (ZERO_POINT_AB - sky))
    return Observation(
        float(exposure_time), n_exposures, float(sky_rate), float(rng.uniform(4.0, 5.2)),
        float(rng.uniform(0.3, 0.75)), float(cosmic_rays), float(rng.uniform(0.0, np.pi)),
    )  # fmt: skip


def draw_depth(
    observation: Observation, rng: np.random.Generator, shape: tuple[int, int]
) -> Image | float:
    """Share of the exposures that see each pixel: in 15 % of those of several a rim divides it.

    Dithered exposures leave rims with fewer of them along edges and gaps, and mosaics are made of
    pointings that overlap.
    """
    if observation.n_exposures == 1 or rng.random() > _UNEVEN:
        return 1.0
    y, x = np.indices(shape)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    across = (x - shape[1] / 2) * np.cos(angle) + (y - shape[0] / 2) * np.sin(angle)
    beyond = across > rng.uniform(-0.5, 0.5) * min(shape)
    share = rng.integers(1, observation.n_exposures) / observation.n_exposures
    return np.where(beyond, share, 1.0)


def record(image: Image, observation: Observation, rng: np.random.Generator) -> Image:
    """A noisy image, sky subtracted: shot, sky and read noise, correlated as by drizzling."""
    white = rng.standard_normal(image.shape) * observation.sigma(image)
    noise = ndimage.gaussian_filter(white, observation.noise_blur_px, truncate=3.0)
    return np.asarray(image + noise)


def signal_to_noise(signal: Image, image: Image, observation: Observation) -> tuple[float, int]:
    """Signal-to-noise of part of an image, and on how many pixels it stands out.

    Over the pixels where the signal exceeds the noise of the whole image: sum / sqrt(sum sigma^2)
    (the measure of Collett 2015, with uncorrelated noise).
    """
    sigma = observation.sigma(image)
    seen = signal > sigma
    if not seen.any():
        return 0.0, 0
    return float(signal[seen].sum() / np.sqrt((sigma[seen] ** 2).sum())), int(seen.sum())
