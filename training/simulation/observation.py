"""How a scene is recorded: depth, sky, noise of a drizzled image, and its defects."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.light import ZERO_POINT_AB, Image

# Electrons (ACS Instrument Handbook, WFC).
FULL_WELL = 84_700.0
# Farther than the brightest stars of a simulation bleed.
BLEED_HALF_PX = 300
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
    """Share of the exposures that see each pixel: in one cutout of seven a rim divides it.

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


def saturate(image: Image, observation: Observation) -> None:
    """Cut off what one exposure's pixels cannot hold, in place; the rest bleeds along the columns.

    Charge is kept: what a column cannot hold fills it up to the full well, nearest pixels first.
    """
    spots, _ = ndimage.label(image > observation.saturation)
    for number, box in enumerate(ndimage.find_objects(spots), start=1):
        y, x = np.nonzero(spots[box] == number)
        _bleed(image, y + box[0].start, x + box[1].start, observation)


def _bleed(
    image: Image, rows: NDArray[np.intp], columns: NDArray[np.intp], observation: Observation
) -> None:
    y0, x0 = (max(0, int(places.mean()) - BLEED_HALF_PX) for places in (rows, columns))
    part = image[y0 : y0 + 2 * BLEED_HALF_PX, x0 : x0 + 2 * BLEED_HALF_PX]
    y, x = np.indices(part.shape)
    cos, sin = np.cos(observation.columns_rad), np.sin(observation.columns_rad)
    column = np.round((y - rows.mean() + y0) * cos - (x - columns.mean() + x0) * sin)
    along = np.abs((x - columns.mean() + x0) * cos + (y - rows.mean() + y0) * sin)
    for one in np.unique(column[rows - y0, columns - x0]):
        places = np.flatnonzero(column == one)
        places = places[np.argsort(along.flat[places], kind="stable")]
        charge, limit = part.flat[places], observation.saturation
        excess = float(np.maximum(charge - limit, 0.0).sum())
        room = np.cumsum(np.maximum(limit - charge, 0.0))
        part.flat[places] = np.where(room <= excess, limit, np.minimum(charge, limit))


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


def add_cosmic_rays(
    image: Image, observation: Observation, rng: np.random.Generator, expected: float,
    starts: NDArray[np.intp] | None = None,
) -> None:  # fmt: skip
    """Add short sharp streaks, in place; energies log-normal, lengths to about 15 pixels.

    They lie on the detector's pixels, each of which drizzling divides between four of the mosaic,
    by where it happens to fall.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), e-/s
    observation : Observation
    rng : numpy.random.Generator
    expected : float
        How many, on average.
    starts : ndarray of int, shape (n, 2), optional
        Rows and columns of the pixels that they begin in; by default the whole image.
    """
    floor, rays = observation.floor, np.zeros_like(image)
    for _ in range(rng.poisson(expected)):
        length = 1.0 + rng.exponential(3.0)
        angle = rng.uniform(0.0, np.pi)
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(0, image.shape[0])
        if starts is not None:
            y, x = starts[rng.integers(len(starts))]
        steps = np.linspace(0.0, min(length, 25.0), int(2 * length) + 2)
        level = floor * 10.0 ** rng.normal(1.5, 0.5)
        columns = np.round(x + steps * np.cos(angle)).astype(int)
        rows = np.round(y + steps * np.sin(angle)).astype(int)
        inside = (columns >= 0) & (columns < image.shape[1]) & (rows >= 0) & (rows < image.shape[0])
        pixels = np.unique(np.stack([rows[inside], columns[inside]]), axis=1)
        rays[pixels[0], pixels[1]] += level * rng.uniform(0.4, 1.6, size=pixels.shape[1])
    image += _drizzled(rays, rng)


def _drizzled(rays: Image, rng: np.random.Generator) -> Image:
    """Squares as large as a pixel, shared between those that they overlap."""
    return np.asarray(ndimage.shift(rays, rng.random(2), order=1))


def add_trail(
    image: Image, observation: Observation, rng: np.random.Generator, curvature_per_px: float
) -> None:
    """Add a satellite trail (no curvature) or an asteroid's arc (parallax bends it), in place."""
    floor = observation.floor
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    angle = rng.uniform(0.0, np.pi)
    x -= rng.uniform(0.25, 0.75) * nx
    y -= rng.uniform(0.25, 0.75) * ny
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    across = across - 0.5 * curvature_per_px * along**2
    width = rng.uniform(1.0, 1.8) if curvature_per_px else rng.uniform(1.2, 4.0)
    trail = np.exp(-0.5 * (across / width) ** 2)
    if curvature_per_px:
        reach = rng.uniform(15.0, 60.0)
        trail *= 1.0 / (1.0 + np.exp((np.abs(along) - reach) / 1.5))
    image += floor * 10.0 ** rng.uniform(0.4, 1.6) * trail


def blank_edge(image: NDArray[np.floating], rng: np.random.Generator, max_fraction: float) -> None:
    """Blank the part of an image beyond a straight edge with NaN, in place: a mosaic's border."""
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx]
    angle = rng.choice([0.0, 0.5, 1.0, 1.5]) * np.pi
    if rng.random() < 0.6:
        angle = rng.uniform(0.0, 2.0 * np.pi)
    projection = (x - nx / 2) * np.cos(angle) + (y - ny / 2) * np.sin(angle)
    image[projection > np.quantile(projection, 1.0 - rng.uniform(0.02, max_fraction))] = np.nan


def blank_gap(image: NDArray[np.floating], rng: np.random.Generator) -> None:
    """Blank a band across an image with NaN, in place: the gap between ACS/WFC's two chips."""
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx]
    angle = rng.uniform(0.0, np.pi)
    across = (x - nx / 2) * np.cos(angle) + (y - ny / 2) * np.sin(angle)
    image[np.abs(across - rng.uniform(-40.0, 40.0)) < rng.uniform(2.0, 12.0)] = np.nan
