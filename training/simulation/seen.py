"""Whether a lens would be seen where it lies; lenses are drawn until one would."""

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lensweep.training.simulation.bands import FAR, early_type, quasar, star_forming
from lensweep.training.simulation.lenses import Lens, draw_arcs
from lensweep.training.simulation.light import Image, draw_galaxy_light
from lensweep.training.simulation.observation import Observation, signal_to_noise
from lensweep.training.simulation.scene import Scene, brighter

# A lens counts if its images would be seen: S/N > 20 and magnified 3 times (Collett 2015).
MIN_SIGNAL_TO_NOISE = 20.0
# On fewer pixels above the noise an arc would be a point.
MIN_PIXELS = 20
# What a network is to learn from: so many of the arcs' pixels are above 3 sigma of the noise there.
MIN_CLEAR_PIXELS, CLEAR_SIGMA = 20, 3.0
MIN_MAGNIFICATION = 3.0
# A lensed quasar needs a second image: its flux against the noise of one empty pixel.
MIN_SECOND_IMAGE_SIGMA = 10.0


class NothingSeenError(LookupError):
    """None of the lenses would be seen."""


@dataclass(frozen=True)
class SeenLens:
    """A lens that would be seen.

    Attributes
    ----------
    lens : Lens
    host, arcs : ndarray
        Light of the deflector's galaxy, and of what lies behind it, e-/s.
    measured : dict
        ``magnification``, ``n_images``, ``signal_to_noise``, ``n_pixels``, on how many pixels the
        arcs exceed the noise, and ``n_clear_pixels``, on how many three times that.
    host_colour : float
        As of `Scene.colours`.
    second : ndarray or None
        Light of both in the scene's second band, e-/s, if it has one.
    """

    lens: Lens
    host: Image
    arcs: Image
    measured: dict[str, float]
    host_colour: float = 0.0
    second: Image | None = None

    def add_to(self, scene: Scene) -> None:
        """Add it to the scene that it would be seen in."""
        scene.image[...] = scene.image + self.host + self.arcs
        if scene.second is not None and self.second is not None:
            scene.second.image[...] += self.second


def first_seen(
    lenses: Iterable[Lens],
    scene: Scene,
    observation: Observation,
    least_signal_to_noise: float = MIN_SIGNAL_TO_NOISE,
    least_clear_pixels: int = 0,
    flux_scale: float = 1.0,
    host_is_there: bool = False,
    unseen: list[Lens] | None = None,
) -> SeenLens:
    """The first lens that would be seen in a scene, which is left as it is.

    Parameters
    ----------
    lenses : iterable of Lens
        Drawn one by one.
    scene : Scene
        What lies there already, e-/s; NaN where there is no data, and nothing to be seen.
    observation : Observation
    least_signal_to_noise : float
        Of the arcs; of at least `MIN_SIGNAL_TO_NOISE`.
    least_clear_pixels : int
        On which the arcs exceed three times the noise.
    flux_scale : float
        e-/s of the scene for one of the simulation's.
    host_is_there : bool
        The scene holds the deflector's light.
    unseen : list, optional
        Receives the lenses before it.

    Raises
    ------
    NothingSeenError
    """
    for lens in lenses:
        arcs = np.zeros(scene.image.shape)
        before = scene.rng if scene.second is None else copy.deepcopy(scene.rng)
        magnification, images = draw_arcs(
            arcs, scene.x_px, scene.y_px, lens, scene.psf, scene.rng
        )  # fmt: skip
        arcs *= flux_scale
        second = images[1] * flux_scale if len(images) > 1 else 0.0
        if _is_bright(lens, arcs, magnification, second, observation):
            host = np.zeros_like(arcs)
            if not host_is_there:
                draw_galaxy_light(host, scene.x_px, scene.y_px, lens.host, scene.psf)
                host *= flux_scale
            measured = {"magnification": magnification, "n_images": len(images)}
            measured |= _stands_out(scene.image, host, arcs, observation)
            if (
                measured["signal_to_noise"] >= least_signal_to_noise
                and measured["n_pixels"] >= MIN_PIXELS
                and measured["n_clear_pixels"] >= least_clear_pixels
            ):
                colour, second_band = _in_second_band(lens, scene, before)
                return SeenLens(lens, host, arcs, measured, colour, second_band)
        if unseen is not None:
            unseen.append(lens)
    raise NothingSeenError


def _in_second_band(
    lens: Lens, scene: Scene, rng: np.random.Generator
) -> tuple[float, Image | None]:
    """Colour of the deflector's galaxy, and all light; `rng` is what the arcs were drawn with."""
    if scene.second is None:
        return 0.0, None
    (old,) = scene.colours(early_type)
    young, blue = scene.colours(star_forming, quasar, redshifts=FAR)
    host, source = (
        brighter(components, scene.second.gain(colour))
        for components, colour in ((lens.host, old), (lens.source, young))
    )
    point = lens.quasar
    if point is not None:
        point = (point[0] - 2.5 * float(np.log10(scene.second.gain(blue))), *point[1:])
    there = dataclasses.replace(lens, host=host, source=source, quasar=point)
    light = np.zeros(scene.image.shape)
    draw_galaxy_light(light, scene.x_px, scene.y_px, host, scene.second.psf)
    draw_arcs(light, scene.x_px, scene.y_px, there, scene.second.psf, rng)
    return old, light


def _is_bright(
    lens: Lens, arcs: Image, magnification: float, second: float, observation: Observation
) -> bool:
    """What is too faint on empty sky need not be tried on its host."""
    if magnification < MIN_MAGNIFICATION:
        return False
    floor = observation.floor
    if lens.quasar is not None and second < MIN_SECOND_IMAGE_SIGMA * floor:
        return False
    return signal_to_noise(arcs, arcs, observation)[0] >= MIN_SIGNAL_TO_NOISE


def _stands_out(
    background: Image, host: Image, arcs: Image, observation: Observation
) -> dict[str, float]:
    """How far arcs stand out from the noise of all light there."""
    valid = np.isfinite(background)
    total = np.where(valid, background, 0.0) + host + arcs
    shown = np.where(valid, arcs, 0.0)
    ratio, n_pixels = signal_to_noise(shown, total, observation)
    n_clear = int((shown > CLEAR_SIGMA * observation.sigma(total)).sum())
    return {"signal_to_noise": ratio, "n_pixels": n_pixels, "n_clear_pixels": n_clear}
