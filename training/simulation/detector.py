"""What a detector does to a scene: pixels that overflow along their columns, and cosmic rays."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.simulation.light import Image
from lensweep.training.simulation.observation import Observation

# Farther than the brightest stars of a simulation bleed.
BLEED_HALF_PX = 300
# Length of the longest cosmic ray.
RAY_REACH_PX = 25
SINGLE_EXPOSURE_RAYS_PER_CUTOUT = 25.0


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
