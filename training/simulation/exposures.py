"""How a simulated field was exposed: coverage by dithered chips, noise, cosmic rays."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.simulation.detector import add_cosmic_rays, add_single_exposure_rays
from lensweep.training.simulation.light import Image
from lensweep.training.simulation.observation import Observation

# COSMOS' recipe: one orbit in four exposures of 507 s.
EXPOSURE_S, N_EXPOSURES = 507.0, 4
SKY_RATE, READ_NOISE, NOISE_BLUR_PX = 0.094, 5.0, 0.45
GAP_WIDTH_PX = 50.0
# Steps along and across the gap; across it they are too small to fill it.
DITHER_PX = ((-45.0, -9.0), (-15.0, 3.0), (15.0, 9.0), (45.0, -3.0))
# Share of an exposure's pixels that its cosmic rays cost.
REJECTED_SHARE = 0.015
LEFT_RAYS_PER_CUTOUT = 0.1


@dataclass(frozen=True)
class Coverage:
    """Which exposures see which pixel.

    Attributes
    ----------
    context : ndarray, shape (ny, nx), int32
        Bit k is set where exposure k counts; 0 where there are no data.
    n_exposures : ndarray, shape (ny, nx), uint8
    columns_rad : float
        Direction of the detector's columns, from x towards y.
    """

    context: NDArray[np.int32]
    n_exposures: NDArray[np.uint8]
    columns_rad: float


def draw_coverage(rng: np.random.Generator, size_px: int) -> Coverage:
    """Draw which exposures see each pixel: turned squares, dithered, with a gap between chips.

    Parameters
    ----------
    rng : Generator
    size_px : int
        Side of the image.
    """
    turn = np.deg2rad(rng.uniform(6.0, 14.0))
    # The largest square of that turn within the image, less the dither's reach.
    reach = max(along for along, _ in DITHER_PX)
    half = 0.5 * size_px / (np.cos(turn) + np.sin(turn)) - 0.4 * reach
    offset = np.arange(size_px) - (size_px - 1) / 2.0
    along = offset[None, :] * np.cos(turn) + offset[:, None] * np.sin(turn)
    across = offset[:, None] * np.cos(turn) - offset[None, :] * np.sin(turn)
    context = np.zeros((size_px, size_px), np.int32)
    for number, (step_along, step_across) in enumerate(DITHER_PX):
        seen = (np.abs(along - step_along) < half) & (np.abs(across - step_across) < half)
        seen &= np.abs(across - step_across) > GAP_WIDTH_PX / 2.0
        seen &= ~_rejected(rng, size_px)
        context |= seen.astype(np.int32) << number
    return Coverage(context, np.bitwise_count(context), float(turn + np.pi / 2.0))


def _rejected(rng: np.random.Generator, size_px: int) -> NDArray[np.bool_]:
    """Pixels of one exposure that are lost to cosmic rays: short streaks."""
    struck = rng.random((size_px, size_px)) < REJECTED_SHARE / 6.0
    return np.asarray(ndimage.binary_dilation(struck))


def observation_of(n_exposures: int) -> Observation:
    """What a sky is like that so many exposures have seen."""
    return Observation(
        n_exposures * EXPOSURE_S, n_exposures, SKY_RATE, READ_NOISE, NOISE_BLUR_PX,
        LEFT_RAYS_PER_CUTOUT,
    )  # fmt: skip


def add_rays(flux: Image, coverage: Coverage, rng: np.random.Generator) -> None:
    """A few cosmic rays everywhere, many where one exposure leaves nothing to compare with."""
    n_cutouts, all_of_them = flux.size / CUTOUT_SIZE**2, observation_of(N_EXPOSURES)
    add_cosmic_rays(flux, all_of_them, rng, LEFT_RAYS_PER_CUTOUT * n_cutouts)
    # What no exposure sees has no rim.
    seen_by = np.where(coverage.n_exposures > 0, coverage.n_exposures, N_EXPOSURES)
    add_single_exposure_rays(flux, replace(all_of_them, depth=seen_by / N_EXPOSURES), rng)
