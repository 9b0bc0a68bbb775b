"""A lens, or a galaxy, painted on a cutout of a real mosaic, with the shot noise of its light."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.training.simulation.exposures import NOISE_BLUR_PX
from lensweep.training.simulation.lenses import Lens, draw_arcs, draw_lens, truth
from lensweep.training.simulation.light import ZERO_POINT_AB, Image, draw_galaxy_light
from lensweep.training.simulation.observation import Observation, signal_to_noise
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.simulate import (
    MIN_MAGNIFICATION,
    MIN_PIXELS,
    MIN_SECOND_IMAGE_SIGMA,
    MIN_SIGNAL_TO_NOISE,
)

# A detected galaxy gets the mass of drawn ones that are this close to it in magnitude.
_MAGNITUDE_TOLERANCE = 0.5
MAX_TRIES = 5000


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
    unseen: list[dict[str, float]] | None = None,
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
    rng = np.random.default_rng([seed, 5, int(row["number"])])
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
    x_px, y_px = row["x"] - row["x0"], row["y"] - row["y0"]
    detected, quasar = row["host"] == "detected", row["kind_of_lens"] == "lensed_quasar"
    for _ in range(MAX_TRIES):
        lens = _lens_of(row, rng, quasar) if detected else draw_lens(rng, quasar)
        measured = {"host_magnitude": row["host_magnitude"]} if detected else {}
        drawn = truth(lens) | measured
        arcs = np.zeros(flux.shape)
        magnification, images = draw_arcs(arcs, x_px, y_px, lens, psf, rng)
        arcs *= scale
        bright = magnification >= MIN_MAGNIFICATION
        if quasar:
            bright &= len(images) >= 2 and images[1] * scale >= MIN_SECOND_IMAGE_SIGMA * sigma
        if not bright or signal_to_noise(arcs, arcs, observation)[0] < MIN_SIGNAL_TO_NOISE:
            unseen.append(drawn)
            continue
        host = np.zeros_like(arcs)
        if not detected:
            draw_galaxy_light(host, x_px, y_px, lens.host, psf)
            host *= scale
        valid = np.isfinite(flux)
        total = np.where(valid, flux, 0.0) + host + arcs
        ratio, n_pixels = signal_to_noise(np.where(valid, arcs, 0.0), total, observation)
        if ratio >= MIN_SIGNAL_TO_NOISE and n_pixels >= MIN_PIXELS:
            seen = {"magnification": magnification, "n_images": len(images),
                    "signal_to_noise": ratio, "n_pixels": n_pixels}  # fmt: skip
            return host, arcs, drawn | seen
        unseen.append(drawn)
    raise InputError(
        f"mosaic {row['mosaic']}: none of {MAX_TRIES} lenses would be seen at pixel "
        f"{row['x']:.0f}, {row['y']:.0f} of its grid (noise {sigma:.3g} e-/s); leave it out"
    )


def _lens_of(row: dict[str, Any], rng: np.random.Generator, quasar: bool) -> Lens:
    """Draw a lens whose deflector is a measured galaxy: mass for its light, along its axis."""
    while True:
        lens = draw_lens(rng, quasar)
        drawn = truth(lens)["host_magnitude"]
        if abs(drawn - row["host_magnitude"]) <= _MAGNITUDE_TOLERANCE:
            break
    host, mass = lens.host[0], lens.deflector
    # The mass differs from the light by what it does in the drawn lens.
    axis_ratio = row["host_axis_ratio"] + mass.axis_ratio - host.axis_ratio
    angle = row["host_angle_rad"] + mass.angle_rad - host.angle_rad
    mass = dataclasses.replace(
        mass, axis_ratio=float(np.clip(axis_ratio, 0.35, 0.97)), angle_rad=float(angle)
    )
    return dataclasses.replace(lens, deflector=mass)


def _shot_noise(light: Image, exposure_time_s: float, rng: np.random.Generator) -> Image:
    """Photon noise of painted light, e-/s, correlated between pixels as by drizzling."""
    expected = np.maximum(light, 0.0) * exposure_time_s
    white = (rng.poisson(expected) - expected) / exposure_time_s
    return np.asarray(ndimage.gaussian_filter(white, NOISE_BLUR_PX, truncate=3.0))
