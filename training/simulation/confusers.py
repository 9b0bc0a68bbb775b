"""What looks like a lens and is not: one named generator per confuser.

The names are those of the false positives that lens searches list: ring, spiral and irregular
galaxies, mergers, companion pairs (Jackson 2008, Pawase et al. 2014, Metcalf et al. 2019). A
generator draws light on a scene before it is recorded; `defects` are laid over the recorded image.
Colours matter where a scene has a second band: old stars in cores, bulges and bars, young ones in
discs, arms, rings and tails, as in the galaxies that look like lenses.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.bands import (
    FAR,
    disc,
    early_type,
    quasar,
    star,
    star_forming,
    star_or_quasar,
)
from lensweep.training.simulation.defects import DEFECTS
from lensweep.training.simulation.lenses import (
    draw_galaxy,
    draw_host,
    draw_host_magnitude,
    draw_theta_e,
)
from lensweep.training.simulation.light import Image, Sersic, flux_of
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.structure import draw_shells, draw_texture

# Massive galaxies that show what they have swallowed.
DEBRIS_SHARE = 0.04
# At three half-light radii discs are lifted by a twentieth of the radius, our choice.
WARP = 0.005


def scatter_field_galaxies(scene: Scene, per_arcsec2: float, brightest: float = 20.0) -> None:
    """Scatter faint galaxies over the whole image: counts grow as 10 ** (0.3 m) up to 26.5."""
    rng = scene.rng
    ny, nx = scene.image.shape
    for _ in range(rng.poisson(per_arcsec2 * nx * ny * PIXEL_SCALE_ARCSEC**2)):
        magnitude = np.log10(rng.uniform(10.0 ** (0.3 * brightest), 10.0**7.95)) / 0.3
        components = draw_galaxy(rng, float(magnitude), 0.0, 0.0)
        x, y = rng.uniform(0, nx), rng.uniform(0, ny)
        scene.add_galaxy(x, y, components, *scene.colours(star_forming, redshifts=FAR))


def blank_sky(scene: Scene) -> None:
    """Nothing but field galaxies."""


def elliptical(scene: Scene) -> None:
    """The galaxies that lens, without a lensed source."""
    components, _ = draw_host(scene.rng, _host_magnitude(scene.rng))
    (colour,) = scene.colours(early_type)
    scene.add_galaxy(scene.x_px, scene.y_px, components, colour)
    draw_debris(scene, components, colour)


def draw_debris(scene: Scene, host: Sequence[Sersic], colour: float) -> None:
    """What one massive galaxy in 25 has swallowed: shells, or a tail, of stars like its own.

    Atkinson, Abraham & Ferguson (2013, ApJ 765, 28) find tidal features around 12 % of nearby
    galaxies in deeper images; that a third of them shows in an orbit of Hubble, and that they hold
    0.5 to 2.5 % of the light, is our choice.

    Parameters
    ----------
    scene : Scene
    host : sequence of Sersic
        All of the galaxy's light.
    colour : float
        The galaxy's, as of `Scene.colours`.
    """
    rng = scene.rng
    if rng.random() > DEBRIS_SHARE:
        return
    fluxes = [flux_of(one.magnitude) for one in host]
    flux = sum(fluxes) * float(rng.uniform(0.005, 0.025))
    if rng.random() < 0.7:
        _draw_tail(scene, flux, colour)
        return
    radius = np.average([one.r_eff_arcsec for one in host], weights=fluxes)
    shells = draw_shells(rng, float(radius))
    for shell in shells:
        reach, part = 1.5 * shell.radius_arcsec, flux / len(shells)
        scene.add_light(scene.x_px, scene.y_px, shell, reach, (colour,), part)


def elliptical_with_companions(scene: Scene) -> None:
    """A massive galaxy with one to four unlensed faint galaxies at lensing distances."""
    elliptical(scene)
    draw_companions(scene)


def draw_companions(scene: Scene) -> None:
    """One to four faint galaxies, 0.4-2.6 arcsec from the object's centre."""
    rng = scene.rng
    for _ in range(int(rng.integers(1, 5))):
        magnitude = float(rng.uniform(20.5, 25.5))
        x, y = scene.beside(rng.uniform(0.4, 2.6), rng.uniform(0.0, 2.0 * np.pi))
        components = draw_galaxy(rng, magnitude, 0.0, 0.0)
        scene.add_galaxy(x, y, components, *scene.colours(star_forming, redshifts=FAR))


def companion_pair(scene: Scene) -> None:
    """Two or three galaxies of like brightness, close together."""
    rng = scene.rng
    magnitude = _host_magnitude(rng)
    number = int(rng.integers(2, 4))
    for colour in scene.colours(*[early_type] * number):
        components, _ = draw_host(rng, magnitude + float(rng.normal(0.0, 0.7)))
        x, y = scene.beside(rng.uniform(0.2, 1.6), rng.uniform(0.0, 2.0 * np.pi))
        scene.add_galaxy(x, y, components, colour)


def edge_on_disc(scene: Scene) -> None:
    """A thin disc with a bulge, often a little warped, and sometimes a dust lane."""
    rng = scene.rng
    magnitude, angle = float(rng.uniform(18.0, 23.0)), rng.uniform(0.0, np.pi)
    radius = _disc_radius(rng, magnitude)
    bulge = Sersic(magnitude + rng.uniform(0.5, 2.5), 0.2 * radius, 2.0, 0.7, angle)
    thin = Sersic(magnitude, radius, 1.0, float(rng.uniform(0.1, 0.3)), angle)
    dusty, warp = 0.8 * (rng.random() < 0.4), rng.normal(0.0, WARP)
    patches = draw_texture(rng, float(rng.uniform(0.1, 0.5)), _pitch(rng))

    def brightness(dx: Image, dy: Image, old: float = 1.0, young: float = 1.0) -> Image:
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle) - warp * along**3 / radius**2
        # Of a disc on edge, patches lie behind each other.
        patchy = patches(along / radius, across / (0.3 * radius))
        lane = np.exp(-0.5 * (across / (0.08 * radius)) ** 2)
        dust = 1.0 - dusty * lane * np.clip(patchy, 0.3, 1.2)
        flat_x = along * np.cos(angle) - across * np.sin(angle)
        flat_y = along * np.sin(angle) + across * np.cos(angle)
        return np.asarray((young * thin(flat_x, flat_y) * patchy + old * bulge(dx, dy)) * dust)

    colours = scene.colours(early_type, disc)
    scene.add_light(scene.x_px, scene.y_px, brightness, thin.reach_arcsec, colours)


def face_on_spiral(scene: Scene) -> None:
    """A disc with a bulge: two to four arms, or pieces of many; knots, dust, sometimes a bar."""
    rng = scene.rng
    magnitude = float(rng.uniform(18.0, 23.0))
    radius, axis_ratio = _disc_radius(rng, magnitude), float(rng.uniform(0.5, 1.0))
    angle, arms = rng.uniform(0.0, np.pi), int(rng.integers(2, 5))
    pitch = _pitch(rng)
    winding = 1.0 / np.tan(pitch)
    # Half of the discs are flocculent (Elmegreen et al. 2011, ApJ 737, 32): their arms are pieces.
    flocculent = rng.random() < 0.5
    arms_share, roughness = ((0.0, 0.4), (0.4, 1.0)) if flocculent else ((0.5, 1.0), (0.1, 0.5))
    strength, width = rng.uniform(*arms_share), rng.uniform(0.8, 3.0)
    patches = draw_texture(rng, float(rng.uniform(*roughness)), pitch)
    lane = rng.uniform(0.0, 0.6)
    phase = rng.uniform(0.0, 2.0 * np.pi)
    bulge_share, bar = rng.uniform(0.02, 0.4), rng.random() < 0.3
    knots = _knots(rng, radius)

    def brightness(dx: Image, dy: Image, old: float = 1.0, young: float = 1.0) -> Image:
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
        r = np.hypot(u, v) + 1e-3
        across = arms * (np.arctan2(v, u) - winding * np.log(r / radius)) + phase
        arm = np.exp(width * (np.cos(across) - 1.0))
        # Dust along the inner edges of the arms.
        dust = 1.0 - lane * np.exp(4.0 * (np.cos(across - 0.9 * np.sign(winding)) - 1.0))
        light = np.exp(-1.68 * r / radius) * (1.0 - strength + strength * arm)
        light *= dust * patches(u / radius, v / radius)
        for knot_u, knot_v, size, height in knots:
            knot = np.exp(-0.5 * ((u - knot_u) ** 2 + (v - knot_v) ** 2) / size**2)
            light += height * arm * knot
        bulge = np.exp(-3.67 * (np.hypot(u, v * axis_ratio) / (0.15 * radius)) ** 0.5)
        light = young * (light / light.sum()) + old * (bulge_share * bulge / bulge.sum())
        if bar:
            length = np.exp(-0.5 * ((u / (0.5 * radius)) ** 4 + (v / (0.12 * radius)) ** 2))
            light += old * (0.3 * length / length.sum())
        return np.asarray(light)

    reach = min(7.0, 4.0 * radius)
    colours = scene.colours(early_type, disc)
    scene.add_light(scene.x_px, scene.y_px, brightness, reach, colours, flux_of(magnitude))


def ring_galaxy(scene: Scene) -> None:
    """A core and a star-forming ring, round or inclined, centred or not, knotted or smooth."""
    rng = scene.rng
    magnitude = float(rng.uniform(18.5, 23.5))
    radius, axis_ratio = float(rng.uniform(0.4, 2.2)), float(rng.uniform(0.35, 1.0))
    angle, width = rng.uniform(0.0, np.pi), radius * rng.uniform(0.08, 0.35)
    waves = rng.normal(0.0, rng.uniform(0.1, 0.6), size=4)
    phases = rng.uniform(0.0, 2.0 * np.pi, size=4)
    core_share = 10.0 ** rng.uniform(-0.7, 0.8)
    shift = rng.normal(0.0, 0.12 * radius, size=2)
    patches = draw_texture(rng, float(rng.uniform(0.0, 0.7)), _pitch(rng))
    core_shape = Sersic(20.0, float(radius * rng.uniform(0.15, 0.6)), float(rng.uniform(1.0, 4.0)),
                        float(rng.uniform(0.6, 1.0)), angle)  # fmt: skip

    def brightness(
        dx: Image, dy: Image, old: float = 1.0, young: float = 1.0, born: float = 1.0
    ) -> Image:
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = (dy * np.cos(angle) - dx * np.sin(angle)) / axis_ratio
        azimuth = np.arctan2(v, u)
        ring = np.exp(-0.5 * ((np.hypot(u, v) - radius) / width) ** 2)
        for order, (wave, phase) in enumerate(zip(waves, phases, strict=True), start=2):
            ring *= np.exp(wave * np.cos(order * azimuth + phase))
        ring *= patches(u / radius, v / radius)
        core = core_shape(dx - shift[0], dy - shift[1])
        flat = np.exp(-1.68 * np.hypot(u, v) / radius)
        return np.asarray(
            born * (ring / ring.sum()) + old * (core_share * core / core.sum())
            + young * (0.4 * flat / flat.sum())
        )  # fmt: skip

    reach = min(7.0, 3.0 * radius + 1.0)
    colours = scene.colours(early_type, disc, star_forming)
    scene.add_light(scene.x_px, scene.y_px, brightness, reach, colours, flux_of(magnitude))


def merger(scene: Scene) -> None:
    """Two unlike galaxies with curved tidal tails, and clusters of young stars."""
    rng = scene.rng
    magnitude = float(rng.uniform(18.0, 22.5))
    old, young = scene.colours(early_type, disc)
    components, _ = draw_host(rng, magnitude)
    scene.add_galaxy(scene.x_px, scene.y_px, components, old)
    partner = draw_galaxy(rng, magnitude + float(rng.uniform(0.0, 2.5)), 0.0, 0.0)
    x, y = scene.beside(rng.uniform(0.3, 1.8), rng.uniform(0.0, 2.0 * np.pi))
    scene.add_galaxy(x, y, partner, young)
    for _ in range(int(rng.integers(1, 4))):
        _draw_tail(scene, flux_of(magnitude + float(rng.uniform(1.5, 4.0))), young)
    for _ in range(int(rng.integers(0, 6))):
        x, y = scene.beside(rng.uniform(0.2, 2.0), rng.uniform(0.0, 2.0 * np.pi))
        knot = Sersic(magnitude + float(rng.uniform(3.0, 5.5)), float(rng.uniform(0.02, 0.12)),
                      1.0, 1.0, 0.0)  # fmt: skip
        scene.add_galaxy(x, y, (knot,), young)


def irregular(scene: Scene) -> None:
    """A clumpy galaxy or a chain of knots."""
    rng = scene.rng
    magnitude, angle = float(rng.uniform(19.0, 24.0)), rng.uniform(0.0, np.pi)
    length, thickness = rng.uniform(0.2, 1.0), rng.uniform(0.05, 0.35)
    body = Sersic(magnitude + 0.5, float(0.8 * length), 1.0, max(0.2, thickness / length), angle)
    colours = scene.colours(star_forming)
    patches = draw_texture(rng, float(rng.uniform(0.2, 0.8)), _pitch(rng))

    def patchy(dx: Image, dy: Image, gain: float = 1.0) -> Image:
        return np.asarray(gain * body(dx, dy) * patches(dx / length, dy / length))

    scene.add_light(scene.x_px, scene.y_px, patchy, body.reach_arcsec, colours)
    for _ in range(int(rng.integers(3, 10))):
        along, across = rng.normal(0.0, length), rng.normal(0.0, thickness)
        x, y = scene.beside(np.hypot(along, across), angle + np.arctan2(across, along))
        knot = Sersic(magnitude + float(rng.uniform(1.5, 4.0)), float(rng.uniform(0.03, 0.15)),
                      1.0, 1.0, 0.0)  # fmt: skip
        _add_profile(scene, x, y, knot, colours)


def chance_quasar_pair(scene: Scene, magnitudes: tuple[float, float] = (18.0, 24.0)) -> None:
    """Two or three point sources within 3 arcsec, with or without a galaxy by chance."""
    rng = scene.rng
    magnitude = float(rng.uniform(*magnitudes))
    for _ in range(int(rng.choice([2, 3], p=[0.8, 0.2]))):
        x, y = scene.beside(rng.uniform(0.15, 1.6), rng.uniform(0.0, 2.0 * np.pi))
        flux = flux_of(magnitude + float(rng.normal(0.0, 0.8)))
        scene.add_point(x, y, flux, *scene.colours(star_or_quasar))
    if rng.random() < 0.4:
        x, y = scene.beside(rng.uniform(0.3, 2.0), rng.uniform(0.0, 2.0 * np.pi))
        components, _ = draw_host(rng, float(rng.uniform(19.0, 23.5)))
        scene.add_galaxy(x, y, components, *scene.colours(early_type))


def active_galaxy(scene: Scene) -> None:
    """A quasar or Seyfert nucleus in its own galaxy, sometimes with a companion."""
    rng = scene.rng
    host = face_on_spiral if rng.random() < 0.5 else elliptical
    host(scene)
    flux = flux_of(float(rng.uniform(17.0, 22.5)))
    scene.add_point(scene.x_px, scene.y_px, flux, *scene.colours(quasar))


def star_cluster(scene: Scene) -> None:
    """Many stars on little sky."""
    rng = scene.rng
    radius = rng.uniform(0.5, 4.0)
    for _ in range(int(rng.integers(6, 60))):
        x, y = scene.beside(radius * np.sqrt(rng.random()), rng.uniform(0.0, 2.0 * np.pi))
        flux = flux_of(float(rng.uniform(18.5, 26.0)))
        scene.add_point(x, y, flux, *scene.colours(star))


def bright_star(scene: Scene) -> None:
    """A star with rings and spikes; the brightest saturate and bleed once they are recorded."""
    flux = flux_of(float(scene.rng.uniform(13.5, 21.0)))
    scene.add_point(scene.x_px, scene.y_px, flux, *scene.colours(star))


LIGHT: dict[str, Callable[[Scene], None]] = {
    generator.__name__: generator
    for generator in (
        blank_sky, elliptical, elliptical_with_companions, companion_pair, edge_on_disc,
        face_on_spiral, ring_galaxy, merger, irregular, chance_quasar_pair, active_galaxy,
        star_cluster, bright_star,
    )
}  # fmt: skip
NAMES = (*LIGHT, *DEFECTS)


def _host_magnitude(rng: np.random.Generator) -> float:
    """As of the deflectors of `lenses.draw_lens`, so that brightness tells nothing."""
    return draw_host_magnitude(rng, draw_theta_e(rng), lensed_quasar=bool(rng.random() < 0.25))


def _disc_radius(rng: np.random.Generator, magnitude: float) -> float:
    return float(np.clip(0.55 * 10 ** (-0.13 * (magnitude - 21) + rng.normal(0, 0.15)), 0.15, 2.5))


def _pitch(rng: np.random.Generator) -> float:
    """Of spiral arms, 10 to 30 degrees (Savchenko & Reshetnikov 2013, MNRAS 436, 1074), either way
    around."""
    return float(rng.choice([-1.0, 1.0]) * np.deg2rad(rng.uniform(10.0, 30.0)))


def _knots(rng: np.random.Generator, radius: float) -> list[tuple[float, float, float, float]]:
    return [
        (*rng.normal(0.0, radius, size=2), rng.uniform(0.05, 0.2) * radius, rng.uniform(0.1, 0.8))
        for _ in range(int(rng.integers(0, 9)))
    ]


def _draw_tail(scene: Scene, flux: float, colour: float) -> None:
    """A curved band near the galaxy, which widens and fades along its arc; its flux in e-/s."""
    rng = scene.rng
    curve, start = rng.uniform(0.5, 2.5), rng.uniform(0.0, 2.0 * np.pi)
    sweep, width = rng.uniform(0.5, 2.5), rng.uniform(0.06, 0.25)
    centre = rng.normal(0.0, 0.6 * curve, size=2)

    def brightness(dx: Image, dy: Image, gain: float = 1.0) -> Image:
        x, y = dx - centre[0], dy - centre[1]
        travelled = np.mod(np.arctan2(y, x) - start, 2.0 * np.pi) / sweep
        band = np.exp(-0.5 * ((np.hypot(x, y) - curve) / (width * (1.0 + travelled))) ** 2)
        return np.asarray(gain * (band * np.exp(-travelled) * (travelled < 1.8) + 1e-12))

    scene.add_light(scene.x_px, scene.y_px, brightness, 4.0, (colour,), flux)


def _add_profile(
    scene: Scene, x_px: float, y_px: float, profile: Sersic, colours: Sequence[float]
) -> None:
    def brightness(dx: Image, dy: Image, gain: float = 1.0) -> Image:
        return np.asarray(gain * profile(dx, dy))

    scene.add_light(x_px, y_px, brightness, profile.reach_arcsec, colours)
