"""Strong lenses: draw their parameters from a population, and draw them on an image.

Deflector: singular isothermal ellipsoid plus external shear, with lenstronomy. The population
follows the shapes of Collett (2015, ApJ 811, 20; LensPop's Euclid table), widened a little so
that a network is not taught a rate: Einstein radii and magnitudes cover what surveys list.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.light import (
    Image,
    Sersic,
    draw,
    draw_point,
    ellipticity,
    flux_of,
)
from lensweep.training.simulation.psf import Psf

THETA_E_RANGE_ARCSEC = (0.3, 2.5)
MAX_SOURCE_MAGNITUDE = 26.5
# Unlensed, where bright quasars are as frequent as faint ones; lensed, from about 14 to 21, they
# are as bright as known ones.
BRIGHT_QUASARS_MAG = (17.0, 21.5)

_MODEL = LensModel(["SIE", "SHEAR"])


@dataclass(frozen=True)
class LensPopulation:
    """What lenses are drawn from: as the sky has them, or evenly in what it has few of.

    Attributes
    ----------
    bright_quasars : bool
        Lensed quasars are as frequent at every magnitude of `BRIGHT_QUASARS_MAG`: on the sky few
        are bright, but the known ones are.
    even_radii : bool
        Lenses are as frequent at every Einstein radius of `THETA_E_RANGE_ARCSEC`: on the sky few
        are large, but many of the known ones are.
    """

    bright_quasars: bool = False
    even_radii: bool = False


SKY_LENSES = LensPopulation()


@dataclass(frozen=True)
class Deflector:
    """Mass of a lens: SIE and external shear."""

    theta_e_arcsec: float
    axis_ratio: float
    angle_rad: float
    gamma1: float
    gamma2: float

    @property
    def keywords(self) -> list[dict[str, float]]:
        """The arguments of lenstronomy's SIE and SHEAR."""
        e1, e2 = ellipticity(self.axis_ratio, self.angle_rad)
        centre = {"center_x": 0.0, "center_y": 0.0}
        return [
            {"theta_E": self.theta_e_arcsec, "e1": e1, "e2": e2, **centre},
            {"gamma1": self.gamma1, "gamma2": self.gamma2, "ra_0": 0.0, "dec_0": 0.0},
        ]


@dataclass(frozen=True)
class Lens:
    """One lens system: deflector, its light, and what lies behind it.

    Attributes
    ----------
    deflector : Deflector
    host : tuple of Sersic
        Light of the deflector galaxy (one component, or bulge and disc).
    source : tuple of Sersic
        Light of the source galaxy in the source plane, in the deflector's frame.
    quasar : tuple of float, or None
        Unlensed AB magnitude and source-plane position (arcsec) of a point source.
    """

    deflector: Deflector
    host: tuple[Sersic, ...]
    source: tuple[Sersic, ...]
    quasar: tuple[float, float, float] | None

    @property
    def kind(self) -> str:
        """What is lensed: `lensed_quasar` or `lensed_galaxy`."""
        return "lensed_galaxy" if self.quasar is None else "lensed_quasar"


def draw_host(rng: np.random.Generator, magnitude: float) -> tuple[tuple[Sersic, ...], float]:
    """Draw the light of a massive galaxy of a given magnitude.

    Half-light radius: 0.53 arcsec at magnitude 20.9 (median of Collett's table), growing as
    10 ** (-0.15 m), scatter 0.13 dex (about the fundamental plane's 0.11 dex). Flattening: 1 - q is
    Rayleigh with 0.25, q >= 0.25. One galaxy in four is bulge and disc; one in three has an
    envelope that is turned and flattened in another way, as isophotes of massive galaxies twist.

    Returns
    -------
    components : tuple of Sersic
    axis_ratio : float
        Of the first component; the mass follows it.
    """
    radius = 0.53 * 10.0 ** (-0.15 * (magnitude - 20.9) + rng.normal(0.0, 0.13))
    axis_ratio = _axis_ratio(rng, 0.25, 0.25)
    angle = rng.uniform(0.0, np.pi)
    kind = rng.random()
    if kind < 0.4:
        index = float(np.clip(rng.normal(4.0, 0.9), 2.0, 6.5))
        return (Sersic(magnitude, radius, index, axis_ratio, angle),), axis_ratio
    if kind < 0.75:
        return _twisted(rng, magnitude, radius, axis_ratio, angle), axis_ratio
    bulge_fraction = rng.uniform(0.2, 0.8)
    bulge = Sersic(
        magnitude - 2.5 * np.log10(bulge_fraction), 0.5 * radius,
        float(rng.uniform(2.0, 4.5)), axis_ratio, angle,
    )  # fmt: skip
    disc = Sersic(
        magnitude - 2.5 * np.log10(1.0 - bulge_fraction), 1.7 * radius,
        1.0, _axis_ratio(rng, 0.35, 0.2), angle + rng.normal(0.0, 0.15),
    )  # fmt: skip
    return (bulge, disc), axis_ratio


def _twisted(
    rng: np.random.Generator, magnitude: float, radius: float, axis_ratio: float, angle: float
) -> tuple[Sersic, Sersic]:
    """A core, and an envelope of a third to two thirds of the light.

    Ellipticals have parts of other flattening and direction (Huang et al. 2013, ApJ 766, 47).
    """
    share = rng.uniform(0.35, 0.65)
    core = Sersic(
        magnitude - 2.5 * np.log10(1.0 - share), float(radius * rng.uniform(0.3, 0.6)),
        float(rng.uniform(2.0, 4.0)), axis_ratio, angle,
    )  # fmt: skip
    flattening = float(np.clip(axis_ratio + rng.normal(0.0, 0.1), 0.25, 0.98))
    off_x, off_y = rng.normal(0.0, 0.03 * radius, size=2)
    envelope = Sersic(
        magnitude - 2.5 * np.log10(share), float(radius * rng.uniform(1.5, 2.5)),
        float(rng.uniform(1.0, 2.5)), flattening, float(angle + rng.normal(0.0, 0.3)),
        float(off_x), float(off_y),
    )  # fmt: skip
    return core, envelope


def draw_galaxy(
    rng: np.random.Generator, magnitude: float, x_arcsec: float, y_arcsec: float
) -> tuple[Sersic, ...]:
    """Draw the light of a faint galaxy: a low-index body and up to six clumps along it.

    Half-light radius 0.16 arcsec at magnitude 24.5 with 0.22 dex scatter, close to the medians of
    Collett's source table (0.11 arcsec at 25.5); clumps hold 5-50 % of the light.
    """
    radius = 0.16 * 10.0 ** (-0.12 * (magnitude - 24.5) + rng.normal(0.0, 0.22))
    axis_ratio, angle = _axis_ratio(rng, 0.35, 0.2), rng.uniform(0.0, np.pi)
    count = int(rng.choice(7, p=[0.4, 0.15, 0.15, 0.1, 0.1, 0.05, 0.05]))
    share = rng.uniform(0.05, 0.5) if count else 0.0
    body = Sersic(
        magnitude - 2.5 * np.log10(1.0 - share), radius, float(rng.uniform(0.6, 2.5)),
        axis_ratio, angle, x_arcsec, y_arcsec,
    )  # fmt: skip
    parts = [body]
    for weight in rng.dirichlet(np.ones(count)) if count else ():
        along, across = rng.normal(0.0, radius), rng.normal(0.0, radius * axis_ratio)
        parts.append(
            Sersic(
                magnitude - 2.5 * np.log10(share * weight + 1e-6),
                float(np.clip(radius * rng.uniform(0.1, 0.35), 0.015, 0.2)),
                1.0,
                1.0,
                0.0,
                x_arcsec + along * np.cos(angle) - across * np.sin(angle),
                y_arcsec + along * np.sin(angle) + across * np.cos(angle),
            )
        )
    return tuple(parts)


def draw_theta_e(rng: np.random.Generator, population: LensPopulation = SKY_LENSES) -> float:
    """Einstein radius, arcsec: log-normal about 0.7 (0.5 in ln), within 0.3-2.5; or evenly there.

    Of those that are seen half are above 0.7; above 0.65 in Collett's (2015) table.
    """
    if population.even_radii:
        return float(rng.uniform(*THETA_E_RANGE_ARCSEC))
    return _bounded_lognormal(rng, 0.7, 0.5, THETA_E_RANGE_ARCSEC)


def draw_host_magnitude(
    rng: np.random.Generator, theta_e_arcsec: float, lensed_quasar: bool
) -> float:
    """Magnitude of a deflector, 16.5-24.

    20.2 - 5 log10(theta_E / 0.95), as light follows velocity dispersion squared, with 1.2 mag
    scatter: 20.9 at the median of Collett's (2015) table, as there. Those of quasars are fainter
    by an exponential of 1.5 mag: known ones are outshone by their quasars.
    """
    while True:
        magnitude = 20.2 - 5.0 * np.log10(theta_e_arcsec / 0.95) + rng.normal(0.0, 1.2)
        magnitude += rng.exponential(1.5) if lensed_quasar else 0.0
        if 16.5 <= magnitude <= 24.0:
            return float(magnitude)


def draw_lens(
    rng: np.random.Generator, lensed_quasar: bool, population: LensPopulation = SKY_LENSES
) -> Lens:
    """Draw one lens system from the population, half of the quasars near the deflector's axis.

    Einstein radius and deflector as of `draw_theta_e` and `draw_host_magnitude`. Shear components
    normal with 0.05. Source centre uniform in a disc of 0.75 theta_E: inside b^2 > xs^2 + ys^2,
    where LensPop counts a lens. Unlensed source magnitudes 21.5-26.5, numbers growing as
    10 ** (0.45 m). Quasars as of `_quasar_magnitude`, or evenly within `BRIGHT_QUASARS_MAG`; half
    of them within 0.2 theta_E, where most make four images.
    """
    theta_e = draw_theta_e(rng, population)
    host, host_q = draw_host(rng, draw_host_magnitude(rng, theta_e, lensed_quasar))
    deflector = Deflector(
        theta_e,
        float(np.clip(host_q + rng.normal(0.0, 0.08), 0.35, 0.97)),
        host[0].angle_rad + rng.normal(0.0, 0.15),
        float(rng.normal(0.0, 0.05)),
        float(rng.normal(0.0, 0.05)),
    )
    reach = 0.2 if lensed_quasar and rng.random() < 0.5 else 0.75
    radius = reach * theta_e * np.sqrt(rng.random())
    position = rng.uniform(0.0, 2.0 * np.pi)
    xs, ys = float(radius * np.cos(position)), float(radius * np.sin(position))
    if lensed_quasar:
        source = draw_galaxy(rng, _faint_magnitude(rng, 22.0, 26.0), xs, ys)
        bright = BRIGHT_QUASARS_MAG
        evenly = population.bright_quasars
        magnitude = rng.uniform(*bright) if evenly else _quasar_magnitude(rng)
        return Lens(deflector, host, source, (float(magnitude), xs, ys))
    source = draw_galaxy(rng, _faint_magnitude(rng, 21.5, MAX_SOURCE_MAGNITUDE, 0.45), xs, ys)
    return Lens(deflector, host, source, None)


def draw_lenses(
    rng: np.random.Generator, lensed_quasar: bool, population: LensPopulation = SKY_LENSES
) -> Iterator[Lens]:
    """Draw lens systems without end, each when it is asked for; see `draw_lens`."""
    while True:
        yield draw_lens(rng, lensed_quasar, population)


def draw_arcs(
    image: Image, x_px: float, y_px: float, lens: Lens, psf: Psf, rng: np.random.Generator
) -> tuple[float, tuple[float, ...]]:
    """Add the lensed images to an image, in place.

    Point images come from lenstronomy's lens equation solver; each takes a log-normal factor of
    0.2 mag for microlensing, variability and what a smooth mass model lacks.

    Returns
    -------
    magnification : float
        Total, of the source galaxy (of the quasar, when there is one).
    fluxes : tuple of float
        Of the quasar's images, e-/s, brightest first; empty without a quasar.
    """
    keywords = lens.deflector.keywords

    def lensed(dx: Image, dy: Image) -> Image:
        beta_x, beta_y = _MODEL.ray_shooting(dx.ravel(), dy.ravel(), keywords)
        beta = beta_x.reshape(dx.shape), beta_y.reshape(dx.shape)
        return np.asarray(sum(component(*beta) for component in lens.source))

    arcs = np.zeros_like(image)
    draw(arcs, x_px, y_px, lensed, 2.1 * lens.deflector.theta_e_arcsec + 1.2, psf)
    image += arcs
    unlensed = sum(flux_of(component.magnitude) for component in lens.source)
    if lens.quasar is None:
        return float(arcs.sum() / unlensed), ()
    magnitude, xs, ys = lens.quasar
    solver = LensEquationSolver(_MODEL)
    image_x, image_y = solver.image_position_from_source(
        xs, ys, keywords, min_distance=0.05, search_window=5.0 * lens.deflector.theta_e_arcsec,
        precision_limit=1e-6, num_iter_max=50, solver="lenstronomy",
    )  # fmt: skip
    magnification = np.abs(_MODEL.magnification(image_x, image_y, keywords))
    # The solver can hand back a caustic's infinite image; nothing real is brighter than 50 times.
    magnification = np.clip(magnification, 0.0, 50.0)
    scatter = 10.0 ** (0.4 * rng.normal(0.0, 0.2, size=len(magnification)))
    fluxes = flux_of(magnitude) * magnification * scatter
    for dx, dy, flux in zip(image_x, image_y, fluxes, strict=True):
        draw_point(image, x_px + dx / PIXEL_SCALE_ARCSEC, y_px + dy / PIXEL_SCALE_ARCSEC, flux, psf)
    # The solver lists the singular centre of the SIE too, with magnification zero: not an image.
    images = sorted((float(flux) for flux in fluxes[magnification > 1e-3]), reverse=True)
    return float(magnification.sum()), tuple(images)


def truth(lens: Lens) -> dict[str, float]:
    """The parameters that evaluation groups by, as flat numbers."""
    source = sum(flux_of(component.magnitude) for component in lens.source)
    host = sum(flux_of(component.magnitude) for component in lens.host)
    return {
        **asdict(lens.deflector),
        "host_magnitude": _magnitude(host),
        "source_magnitude": _magnitude(source) if lens.quasar is None else lens.quasar[0],
    }


def _magnitude(flux: float) -> float:
    return float(-2.5 * np.log10(flux / flux_of(0.0)))


def _axis_ratio(rng: np.random.Generator, scale: float, floor: float) -> float:
    return float(np.clip(1.0 - rng.rayleigh(scale), floor, 0.98))


def _faint_magnitude(
    rng: np.random.Generator, bright: float, faint: float, slope: float = 0.3
) -> float:
    """Magnitude with counts growing as 10 ** (slope m) between two limits."""
    low, high = 10.0 ** (slope * bright), 10.0 ** (slope * faint)
    return float(np.log10(rng.uniform(low, high)) / slope)


def _quasar_magnitude(rng: np.random.Generator) -> float:
    """Unlensed magnitude, 17.5 to 24.5; counts grow as 10 ** (0.75 m) to 20, then 10 ** (0.25 m).

    Quasars' counts are steep where they are bright and flat where they are faint; both slopes and
    the magnitude between them are our choice.
    """
    steep, flat, knee = 0.75, 0.25, 20.0
    while True:
        magnitude = _faint_magnitude(rng, 17.5, 24.5, flat)
        if rng.random() < min(1.0, 10.0 ** ((steep - flat) * (magnitude - knee))):
            return magnitude


def _bounded_lognormal(
    rng: np.random.Generator, median: float, sigma: float, bounds: tuple[float, float]
) -> float:
    while True:
        value = float(median * np.exp(rng.normal(0.0, sigma)))
        if bounds[0] <= value <= bounds[1]:
            return value
