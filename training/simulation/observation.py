"""How a scene is recorded: depth, sky, noise of a drizzled image, and its defects."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.light import ZERO_POINT_AB, Image

# Electrons (ACS Instrument Handbook, WFC).
FULL_WELL = 84_700.0
# Farther than the brightest stars of a simulation bleed.
BLEED_HALF_PX = 300
# Length of the longest cosmic ray.
RAY_REACH_PX = 25
SINGLE_EXPOSURE_RAYS_PER_CUTOUT = 25.0
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


def saturate(image: Image, observation: Observation) -> None:
    """Cut off what one exposure's pixels cannot hold, in place; the rest bleeds along the columns.

    Charge is kept: what a column cannot hold fills it up to the full well, nearest pixels first,
    those beyond the image too.
    """
    spots, _ = ndimage.label(image > observation.saturation)
    full = spots > 0
    for number, box in enumerate(ndimage.find_objects(spots), start=1):
        y, x = np.nonzero(spots[box] == number)
        _bleed(image, full, y + box[0].start, x + box[1].start, observation)


def _bleed(
    image: Image, full: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp],
    observation: Observation,
) -> None:  # fmt: skip
    """Spread the charge of one spot, the pixels (rows, columns) of those that are `full`."""
    middle = np.array([rows.mean(), columns.mean()])
    corner = middle.astype(int) - BLEED_HALF_PX
    there = tuple(slice(max(0, start), start + 2 * BLEED_HALF_PX) for start in corner)
    part = np.zeros((2 * BLEED_HALF_PX, 2 * BLEED_HALF_PX))
    taken = np.zeros(part.shape, np.bool_)
    here = tuple(
        slice(piece.start - start, piece.start - start + size)
        for piece, start, size in zip(there, corner, image[there].shape, strict=True)
    )
    part[here], taken[here] = image[there], full[there]
    own = rows - corner[0], columns - corner[1]
    taken[own] = False
    y, x = np.indices(part.shape) - (middle - corner)[:, None, None]
    cos, sin = np.cos(observation.columns_rad), np.sin(observation.columns_rad)
    column, along = np.round(y * cos - x * sin), np.abs(x * cos + y * sin)
    for one in np.unique(column[own]):
        places = np.flatnonzero((column == one) & ~taken)
        places = places[np.argsort(along.flat[places], kind="stable")]
        charge, limit = part.flat[places], observation.saturation
        excess = float(np.maximum(charge - limit, 0.0).sum())
        room = np.maximum(limit - charge, 0.0)
        filled = np.clip(excess - (np.cumsum(room) - room), 0.0, room)
        part.flat[places] = np.minimum(charge, limit) + filled
    image[there] = part[here]


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

    They lie on the detector's pixels; drizzling divides each of a ray's between four of the mosaic,
    by where the ray happens to fall.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), e-/s
    observation : Observation
    rng : numpy.random.Generator
    expected : float
        How many begin in the image or in `starts`, on average.
    starts : ndarray of int, shape (n, 2), optional
        Rows and columns of the pixels that they begin in; by default the image and what is within
        their reach of it.
    """
    ny, nx = image.shape
    floor = observation.floor
    # A ray that falls between the image's edge and the pixel before it lights the edge.
    rays = np.zeros((ny + 2, nx + 2))
    if starts is None:
        # As many again begin outside, for each pixel within their reach.
        expected *= (1.0 + 2 * RAY_REACH_PX / nx) * (1.0 + 2 * RAY_REACH_PX / ny)
    for _ in range(rng.poisson(expected)):
        length = 1.0 + rng.exponential(3.0)
        angle = rng.uniform(0.0, np.pi)
        x, y = (rng.uniform(-RAY_REACH_PX, side + RAY_REACH_PX) for side in (nx, ny))
        if starts is not None:
            y, x = starts[rng.integers(len(starts))]
        steps = np.linspace(0.0, min(length, RAY_REACH_PX), int(2 * length) + 2)
        level = floor * 10.0 ** rng.normal(1.5, 0.5)
        columns = np.round(x + steps * np.cos(angle)).astype(int) + 1
        rows = np.round(y + steps * np.sin(angle)).astype(int) + 1
        inside = (columns >= 0) & (columns <= nx) & (rows >= 0) & (rows <= ny)
        rows, columns = np.unique(np.stack([rows[inside], columns[inside]]), axis=1)
        _drizzle(rays, rows, columns, level * rng.uniform(0.4, 1.6, size=len(rows)), rng)
    image += rays[1:-1, 1:-1]


def _drizzle(
    rays: Image, rows: NDArray[np.intp], columns: NDArray[np.intp], light: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Add different squares as large as a pixel, shared between the four that each overlaps."""
    part_y, part_x = rng.random(2)
    for step_y, share_y in enumerate((1.0 - part_y, part_y)):
        for step_x, share_x in enumerate((1.0 - part_x, part_x)):
            rays[rows + step_y, columns + step_x] += light * share_y * share_x


def add_single_exposure_rays(
    image: Image, observation: Observation, rng: np.random.Generator
) -> None:
    """Add the many cosmic rays of pixels that one exposure of several sees, in place.

    Nothing is left there to compare with; a mosaic of one exposure has its own number of rays.
    """
    n_exposures = observation.n_exposures
    if n_exposures == 1:
        return
    lone = np.broadcast_to(observation.depth * n_exposures < 1.5, image.shape)
    # Lone pixels lost the other exposures to rays; the rims are meant here.
    rim = ndimage.binary_opening(lone, np.ones((3, 3)))
    starts = np.argwhere(ndimage.maximum_filter(rim, 2 * RAY_REACH_PX + 1))
    if len(starts):
        single = replace(
            observation, exposure_time_s=observation.exposure_time_s / n_exposures,
            n_exposures=1, depth=1.0,
        )  # fmt: skip
        rays, rate = np.zeros_like(image), SINGLE_EXPOSURE_RAYS_PER_CUTOUT / CUTOUT_SIZE**2
        add_cosmic_rays(rays, single, rng, rate * len(starts), starts)
        image[rim] += rays[rim]


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
