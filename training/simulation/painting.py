"""A lens, or a galaxy, painted on a cutout of a real mosaic, with the shot noise of its light."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.training.simulation.exposures import NOISE_BLUR_PX
from lensweep.training.simulation.lenses import Lens, draw_lenses, truth
from lensweep.training.simulation.light import ZERO_POINT_AB, Image
from lensweep.training.simulation.observation import Observation
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.seen import NothingSeenError, first_seen

# A detected galaxy gets the mass of drawn ones that are this close to it in magnitude.
_MAGNITUDE_TOLERANCE = 0.5
MAX_TRIES = 5000
# Random streams of a seed: what is learned from shares no lens with what is measured with.
LEARNING, MEASURING = 5, 7


@dataclass(frozen=True)
class Depth:
    """What fluxes mean in one mosaic.

    Attributes
    ----------
    zero_point_ab : float
    exposure_time_s : float
    """

    zero_point_ab: float
    exposure_time_s: float


def paint(
    flux: NDArray[np.float32], row: dict[str, Any], depth: Depth, psfs: Sequence[Psf], seed: int,
    unseen: list[dict[str, float]] | None = None, stream: int = LEARNING,
) -> dict[str, Any]:  # fmt: skip
    """Paint a row's host or lens on its cutout, in place, with the shot noise of its light.

    Parameters
    ----------
    flux : ndarray, shape (ny, nx), float32, e-/s
        Real pixels; NaN stays NaN.
    row : dict
        Of the plan; ``x0`` and ``y0`` are those of the cutout's first pixel.
    depth : Depth
    psfs : sequence of Psf
        One is drawn.
    seed : int
    unseen : list, optional
        Receives the parameters of the lenses that were drawn and would not be seen there.
    stream : int
        `LEARNING` or `MEASURING`.

    Returns
    -------
    dict
        What was painted; the parameters of `lenses.truth` for a lens.

    Raises
    ------
    InputError
        If none of 5,000 lenses would be seen there.
    """
    # The galaxy without its arcs and the lens have one stream: they are the same galaxy.
    rng = np.random.default_rng([seed, stream, int(row["number"])])
    number = int(rng.integers(len(psfs)))
    unseen = [] if unseen is None else unseen
    host, arcs, drawn = _draw_seen(flux, row, depth, psfs[number], rng, unseen)
    light = host + arcs if row["painted"] == "lens" else host
    flux += (light + _shot_noise(light, depth.exposure_time_s, rng)).astype(np.float32)
    if row["painted"] == "host":
        return {"host_magnitude": drawn["host_magnitude"], "psf": number}
    return drawn | {"psf": number}


def _draw_seen(
    flux: NDArray[np.float32], row: dict[str, Any], depth: Depth, psf: Psf,
    rng: np.random.Generator, unseen: list[dict[str, float]],
) -> tuple[Image, Image, dict[str, Any]]:  # fmt: skip
    """Draw lenses until one would be seen on these pixels; its light in the mosaic's e-/s."""
    seconds, sigma = depth.exposure_time_s, row["noise"]
    # Sky and reading as measured: as if all of it came from the sky.
    observation = Observation(seconds, 0, sigma**2 * seconds, 0.0, NOISE_BLUR_PX, 0.0)
    scale = 10.0 ** (0.4 * (depth.zero_point_ab - ZERO_POINT_AB))
    scene = Scene(flux.astype(np.float64), row["x"] - row["x0"], row["y"] - row["y0"], psf, rng)
    detected, quasar = row["host"] == "detected", row["kind_of_lens"] == "lensed_quasar"
    lenses = _lenses_of(row, rng, quasar) if detected else draw_lenses(rng, quasar)
    measured = {"host_magnitude": row["host_magnitude"]} if detected else {}
    before: list[Lens] = []
    try:
        seen = first_seen(
            islice(lenses, MAX_TRIES), scene, observation, flux_scale=scale,
            host_is_there=detected, unseen=before,
        )  # fmt: skip
    except NothingSeenError:
        raise InputError(
            f"mosaic {row['mosaic']}: none of {MAX_TRIES} lenses would be seen at pixel "
            f"{row['x']:.0f}, {row['y']:.0f} of its grid (noise {sigma:.3g} e-/s); leave it out"
        ) from None
    unseen += [truth(lens) | measured for lens in before]
    return seen.host, seen.arcs, truth(seen.lens) | measured | seen.measured


def _lenses_of(row: dict[str, Any], rng: np.random.Generator, quasar: bool) -> Iterator[Lens]:
    """Draw lenses whose deflector is a measured galaxy: mass for its light, along its axis."""
    for lens in draw_lenses(rng, quasar):
        drawn = truth(lens)["host_magnitude"]
        if abs(drawn - row["host_magnitude"]) <= _MAGNITUDE_TOLERANCE:
            host, mass = lens.host[0], lens.deflector
            # The mass differs from the light by what it does in the drawn lens.
            axis_ratio = row["host_axis_ratio"] + mass.axis_ratio - host.axis_ratio
            angle = row["host_angle_rad"] + mass.angle_rad - host.angle_rad
            mass = dataclasses.replace(
                mass, axis_ratio=float(np.clip(axis_ratio, 0.35, 0.97)), angle_rad=float(angle)
            )
            yield dataclasses.replace(lens, deflector=mass)


def _shot_noise(light: Image, exposure_time_s: float, rng: np.random.Generator) -> Image:
    """Photon noise of painted light, e-/s, correlated between pixels as by drizzling."""
    expected = np.maximum(light, 0.0) * exposure_time_s
    white = (rng.poisson(expected) - expected) / exposure_time_s
    return np.asarray(ndimage.gaussian_filter(white, NOISE_BLUR_PX, truncate=3.0))
