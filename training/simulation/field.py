"""A simulated mosaic with lenses planted in it, as the Hubble Legacy Archive would hold it.

One pointing of ACS/WFC: four dithered exposures, turned against north, so that corners and the gap
between the chips hold no data and their rims fewer exposures.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.training.simulation import confusers
from lensweep.training.simulation.bands import F814W, SKY_COLOUR, Band, SecondBand, star
from lensweep.training.simulation.confusers import scatter_field_galaxies
from lensweep.training.simulation.defects import asteroid_trail, satellite_trail
from lensweep.training.simulation.detector import saturate
from lensweep.training.simulation.exposures import (
    N_EXPOSURES,
    NOISE_BLUR_PX,
    Coverage,
    add_rays,
    draw_coverage,
    observation_of,
)
from lensweep.training.simulation.field_file import (
    sky_header,
    with_sky_positions,
    write_field,
    write_truth,
)
from lensweep.training.simulation.field_population import CROWDED, REFERENCE_SIZE_PX, Population
from lensweep.training.simulation.lenses import Lens, draw_lenses, truth
from lensweep.training.simulation.light import Image, flux_of
from lensweep.training.simulation.observation import Observation
from lensweep.training.simulation.psf import OVERSAMPLING, Psf, draw_psf
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.seen import first_seen

# Planted lenses are clearer than those of training: Collett's (2015) magnification of 3.
MIN_SIGNAL_TO_NOISE = 30.0
THETA_E_RANGE_ARCSEC = (0.5, 2.0)
LENS_SEPARATION_PX, INVALID_MARGIN_PX = 200.0, 80
CONFUSER_SEPARATION_PX, STAR_SEPARATION_PX = 110.0, 260.0
MAX_TRIES = 2000
DRAWN_COLUMNS = (
    "x_pix", "y_pix", "kind", "theta_e_arcsec", "source_magnitude", "host_magnitude",
    "signal_to_noise", "magnification",
)  # fmt: skip
# The PSF is carried on to where the wings of the brightest star drop below the noise.
PSF_HALF_SIZE_PX, WIDE_PSF_HALF_SIZE_PX = 110, 230
VIEW_HALF_PX = 320


@dataclass(frozen=True)
class KnownField:
    """What is in a simulated mosaic.

    Attributes
    ----------
    lenses : DataFrame
        As `make_field` returns it.
    others : DataFrame
        What was drawn besides the faint galaxies and stars: ``kind``, a confuser's name, and
        ``x_pix``, ``y_pix`` (0-based).
    """

    lenses: pd.DataFrame
    others: pd.DataFrame


def make_field(
    path: Path, seed: int, size_px: int = 3000, n_lenses: int = 12, band: Band = F814W
) -> pd.DataFrame:
    """Simulate a mosaic with planted lenses and write it, with its truth beside it.

    Parameters
    ----------
    path : Path
        FITS file to write; `<stem>_truth.csv` beside it holds the returned table.
    seed : int
    size_px : int
        Side of the image; numbers of objects go with its area.
    n_lenses : int
        One in four is a lensed quasar.
    band : Band
        In another than F814W it is the same sky on the same pixels, exposed at another time: with
        other gaps, corners and defects.

    Returns
    -------
    DataFrame
        One row per lens: ra_deg, dec_deg (ICRS), x_pix, y_pix (0-based), kind, theta_e_arcsec,
        source_magnitude (unlensed), host_magnitude, signal_to_noise, magnification.

    Raises
    ------
    InputError
        If so many lenses have no room in the valid part.
    """
    return make_known_field(path, seed, size_px, n_lenses, band=band).lenses


def make_known_field(
    path: Path,
    seed: int,
    size_px: int,
    n_lenses: int,
    population: Population = CROWDED,
    band: Band = F814W,
) -> KnownField:
    """As `make_field`, of any population, for those who want to know what else was drawn."""
    rng = np.random.default_rng([seed, 98])
    coverage = draw_coverage(rng, size_px)
    places = _places(rng, coverage, n_lenses)
    psf = _with_wide_wings(draw_psf(rng, PSF_HALF_SIZE_PX), WIDE_PSF_HALF_SIZE_PX)
    light = np.zeros((size_px, size_px))
    second = None if band == F814W else _empty(band, seed, size_px)
    others = _draw_population(light, psf, rng, places, population, second)
    rows = _plant(light, psf, np.random.default_rng([seed, 99]), coverage, places, second)
    flux = _record(light, coverage, rng, places, population.trails)
    if second is not None:
        coverage = draw_coverage(second.rng, size_px)
        sky = second.gain(SKY_COLOUR)
        flux = _record(second.image, coverage, second.rng, places, population.trails, sky)
    header = sky_header(rng, size_px)
    table = with_sky_positions(pd.DataFrame(rows, columns=list(DRAWN_COLUMNS)), header)
    write_field(path, flux, coverage, header, seed, band.name)
    write_truth(path.with_name(f"{path.stem}_truth.csv"), table)
    return KnownField(table, others)


def _empty(band: Band, seed: int, size_px: int) -> SecondBand:
    rng = np.random.default_rng([seed, 82])
    psf = draw_psf(rng, PSF_HALF_SIZE_PX, band.wavelengths_m)
    wide = _with_wide_wings(psf, WIDE_PSF_HALF_SIZE_PX)
    return SecondBand(band, np.zeros((size_px, size_px)), wide, rng)


def _places(rng: np.random.Generator, coverage: Coverage, n_lenses: int) -> NDArray[np.float64]:
    """Positions (x, y) for the lenses, away from each other and from what has no data."""
    if not n_lenses:
        return np.empty((0, 2))
    size_px = len(coverage.context)
    # A lone pixel that all exposures lost to cosmic rays is no edge.
    valid = ndimage.binary_opening(ndimage.binary_closing(coverage.context > 0, np.ones((3, 3))))
    clearance = ndimage.distance_transform_edt(np.pad(valid, 1))[1:-1, 1:-1]
    places: list[NDArray[np.float64]] = []
    for _ in range(MAX_TRIES * n_lenses):
        if len(places) == n_lenses:
            break
        place = rng.uniform(0.0, size_px - 1.0, size=2)
        column, row = np.round(place).astype(int)
        roomy = clearance[row, column] >= INVALID_MARGIN_PX + 1
        if roomy and _distance(place, places) >= LENS_SEPARATION_PX:
            places.append(place)
    if len(places) < n_lenses:
        raise InputError(
            f"field of {size_px} pixels: room for {len(places)} lenses {LENS_SEPARATION_PX:g}"
            f" pixels apart, but {n_lenses} were asked for; ask for fewer, or for a larger field"
        )
    return np.array(places).reshape(n_lenses, 2)


def _distance(
    place: NDArray[np.float64], others: list[NDArray[np.float64]] | NDArray[np.float64]
) -> float:
    """Pixels to the nearest of the others; infinite if there are none."""
    return min((float(np.hypot(*(place - other))) for other in others), default=np.inf)


def _draw_population(
    light: Image, psf: Psf, rng: np.random.Generator, lenses: NDArray[np.float64],
    population: Population, second: SecondBand | None,
) -> pd.DataFrame:  # fmt: skip
    """Everything but the planted lenses; confusers and stars keep away from those."""
    drawn, whole = [], Scene(light, 0.0, 0.0, psf, rng, second)
    scatter_field_galaxies(whole, population.galaxies_per_arcsec2, population.brightest)
    share = (len(light) / REFERENCE_SIZE_PX) ** 2
    for name, count in population.counts.items():
        distance = STAR_SEPARATION_PX if name == "bright_star" else CONFUSER_SEPARATION_PX
        for _ in range(int(count * share + rng.random())):
            place = _free_place(rng, len(light), lenses, distance)
            if place is not None:
                confusers.LIGHT[name](Scene(light, place[0], place[1], psf, rng, second))
                drawn.append((name, *place.tolist()))
    for _ in range(rng.poisson(population.faint_stars * share)):
        x_px, y_px = rng.uniform(0.0, len(light), size=2)
        flux = flux_of(rng.uniform(19.0, 26.0))
        whole.add_point(x_px, y_px, flux, *whole.colours(star))
    return pd.DataFrame(drawn, columns=["kind", "x_pix", "y_pix"])


def _free_place(
    rng: np.random.Generator, size_px: int, lenses: NDArray[np.float64], distance_px: float
) -> NDArray[np.float64] | None:
    """A position that far from every lens, or None in a field too small to have one."""
    for _ in range(MAX_TRIES):
        place = rng.uniform(0.0, size_px - 1.0, size=2)
        if _distance(place, lenses) >= distance_px:
            return place
    return None


def _view(
    light: Image, x_px: float, y_px: float, psf: Psf, rng: np.random.Generator,
    second: SecondBand | None,
) -> Scene:  # fmt: skip
    """A part of the mosaic about a position: what is drawn there touches nothing else."""
    x0, y0 = (max(0, round(centre) - VIEW_HALF_PX) for centre in (x_px, y_px))
    side = 2 * VIEW_HALF_PX + 1
    part = slice(y0, y0 + side), slice(x0, x0 + side)
    there = None if second is None else replace(second, image=second.image[part])
    return Scene(light[part], x_px - x0, y_px - y0, psf, rng, there)


def _plant(
    light: Image, psf: Psf, rng: np.random.Generator, coverage: Coverage,
    places: NDArray[np.float64], second: SecondBand | None,
) -> list[dict[str, object]]:  # fmt: skip
    """Draw a lens at every position; the truth of each."""
    rows = []
    for number, place in enumerate(places):
        scene = _view(light, place[0], place[1], psf, rng, second)
        lens, seen = _draw_clear_lens(scene, observation_of(N_EXPOSURES), number % 4 == 3)
        rows.append(
            {"x_pix": float(place[0]), "y_pix": float(place[1]), "kind": lens.kind}
            | truth(lens)
            | seen
        )
    return rows


def _draw_clear_lens(
    scene: Scene, observation: Observation, lensed_quasar: bool
) -> tuple[Lens, dict[str, float]]:
    """Draw lenses until one would be seen clearly, and add it to the scene."""
    low, high = THETA_E_RANGE_ARCSEC
    lenses = (
        lens
        for lens in draw_lenses(scene.rng, lensed_quasar)
        if low <= lens.deflector.theta_e_arcsec <= high
    )
    seen = first_seen(lenses, scene, observation, MIN_SIGNAL_TO_NOISE)
    seen.add_to(scene)
    return seen.lens, {name: seen.measured[name] for name in ("signal_to_noise", "magnification")}


def _with_wide_wings(psf: Psf, half_size_px: int) -> Psf:
    """Carry a PSF on, in every direction with the inverse cube of the radius.

    The pupil's sampling limits the computed part to 6.6 arcsec. An aperture's wings fall so (Airy);
    a spike falls with the inverse square, but here it widens with the radius: the same flux.
    """
    inner, outer = OVERSAMPLING * psf.half_size_px, OVERSAMPLING * half_size_px
    middle = psf.kernel.shape[0] // 2
    y, x = np.mgrid[-outer : outer + 1, -outer : outer + 1]
    radius = np.maximum(np.hypot(x, y), 1.0)
    angles = np.linspace(-np.pi, np.pi, 1441)
    rings = np.linspace(0.8 * inner, inner, 40)[:, None]
    rows, columns = middle + rings * np.sin(angles), middle + rings * np.cos(angles)
    ring = ndimage.map_coordinates(psf.kernel, [rows, columns], order=1, mode="nearest")
    profile = (ring * (rings / inner) ** 3).mean(axis=0)
    wings = np.interp(np.arctan2(y, x), angles, profile) * (inner / radius) ** 3
    share = np.clip((radius / inner - 0.8) / 0.2, 0.0, 1.0)
    kernel = (1.0 - share) * np.pad(psf.kernel, outer - inner) + share * wings
    return Psf(kernel / kernel.sum())


def _record(
    light: Image, coverage: Coverage, rng: np.random.Generator, lenses: NDArray[np.float64],
    trails: float, sky: float = 1.0,
) -> NDArray[np.float32]:  # fmt: skip
    """The mosaic's pixels: noise as deep as each was exposed, defects, zeros without data.

    The sky is that many times as bright as in F814W.
    """
    saturate(light, replace(observation_of(N_EXPOSURES), columns_rad=coverage.columns_rad))
    sigma = np.zeros_like(light)
    for n_exposures in range(1, N_EXPOSURES + 1):
        here, exposed = coverage.n_exposures == n_exposures, observation_of(n_exposures)
        sigma[here] = replace(exposed, sky_rate=sky * exposed.sky_rate).sigma(light[here])
    noise = rng.standard_normal(light.shape) * sigma
    flux = light + ndimage.gaussian_filter(noise, NOISE_BLUR_PX, truncate=3.0)
    add_rays(flux, coverage, rng)
    # What is sure takes no random number.
    if trails >= 1.0 or rng.random() < trails:
        _add_satellite(flux, rng, lenses)
    if trails >= 1.0 or rng.random() < trails:
        _add_asteroid(flux, rng, lenses)
    return np.where(coverage.context > 0, flux, 0.0).astype(np.float32)


def _add_satellite(flux: Image, rng: np.random.Generator, lenses: NDArray[np.float64]) -> None:
    """A satellite's trail across the field, not over a lens."""
    rows, columns = np.round(lenses[:, ::-1]).astype(int).T
    for _ in range(MAX_TRIES):
        trail = np.zeros_like(flux)
        satellite_trail(trail, observation_of(N_EXPOSURES), rng)
        nearby = ndimage.maximum_filter(trail[::20, ::20], 7)
        if (nearby[rows // 20, columns // 20] < 1e-6).all():
            flux += trail
            break


def _add_asteroid(flux: Image, rng: np.random.Generator, lenses: NDArray[np.float64]) -> None:
    """An asteroid's trail, not over a lens."""
    place = _free_place(rng, len(flux), lenses, STAR_SEPARATION_PX)
    if place is not None:
        x0, y0 = (max(0, int(centre) - 60) for centre in place)
        view = flux[y0 : y0 + 120, x0 : x0 + 120]
        asteroid_trail(view, observation_of(N_EXPOSURES), rng)
