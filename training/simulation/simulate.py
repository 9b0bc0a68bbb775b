"""Labelled, simulated cutouts: lenses, and everything that is taken for one; F814W by default.

Cutout i of a seed is always the same, whatever the number of workers: every cutout has a random
stream of its own.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.simulation import confusers
from lensweep.training.simulation.bands import F814W, SKY_COLOUR, Band, SecondBand
from lensweep.training.simulation.confusers import scatter_field_galaxies
from lensweep.training.simulation.defects import DEFECTS, blank_edge, blank_gap
from lensweep.training.simulation.detector import (
    add_cosmic_rays,
    add_single_exposure_rays,
    saturate,
)
from lensweep.training.simulation.lenses import SKY_LENSES, LensPopulation, draw_lenses, truth
from lensweep.training.simulation.light import Image
from lensweep.training.simulation.observation import (
    Observation,
    draw_depth,
    draw_observation,
    record,
)
from lensweep.training.simulation.psf import Psf, draw_optics, psf_of
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.seen import MIN_CLEAR_PIXELS, first_seen

# What a set or a survey says that it was drawn with: raised whenever the same seed gives other
# images, so that nothing is continued as something else.
VERSION = 3
LENS_KINDS = ("lensed_galaxy", "lensed_quasar")
KINDS = (*LENS_KINDS, *confusers.NAMES)
# What networks take for lenses most often; defects and lone stars are learned soon.
HARD = (
    "elliptical", "elliptical_with_companions", "companion_pair", "face_on_spiral", "ring_galaxy",
    "merger", "irregular", "chance_quasar_pair", "active_galaxy",
)  # fmt: skip
# A grid scan of stride 50 leaves a lens at most 25 pixels from the centre of its best window.
MAX_GRID_OFFSET_PX = 25.0
# Of stars and quasars that are near each other by chance, beside bright lensed quasars.
BRIGHT_PAIRS_MAG = (14.5, 21.0)
N_PSFS = 96


@dataclass(frozen=True)
class Labelled:
    """One simulated cutout.

    Attributes
    ----------
    flux : ndarray, shape (100, 100), float32
        e-/s; NaN where there is no data.
    kind : str
        One of KINDS.
    truth : dict
        What it was drawn from; for lenses the parameters of `lenses.truth`.
    """

    flux: NDArray[np.float32]
    kind: str
    truth: dict[str, Any]

    @property
    def is_lens(self) -> bool:
        """The label."""
        return self.kind in LENS_KINDS


class PsfBank(Sequence[Psf]):
    """The PSFs that a simulation draws from, each computed when it is first asked for.

    Parameters
    ----------
    seed : int
    band : Band
    """

    def __init__(self, seed: int, band: Band) -> None:
        rng = np.random.default_rng([seed, 0 if band == F814W else 80])
        self._wavelengths_m = band.wavelengths_m
        self._optics = [draw_optics(rng) for _ in range(N_PSFS)]
        self._psfs: dict[int, Psf] = {}

    def __len__(self) -> int:
        return len(self._optics)

    @overload
    def __getitem__(self, number: int) -> Psf: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Psf, ...]: ...

    def __getitem__(self, number: int | slice) -> Psf | tuple[Psf, ...]:
        if isinstance(number, slice):
            return tuple(self[one] for one in range(len(self))[number])
        if number not in self._psfs:
            self._psfs[number] = psf_of(self._optics[number], wavelengths_m=self._wavelengths_m)
        return self._psfs[number]


@lru_cache(maxsize=4)
def psf_bank(seed: int, band: Band = F814W) -> PsfBank:
    """The bank of a seed, another one for each band."""
    return PsfBank(seed, band)


def plan_kinds(
    n_cutouts: int,
    seed: int,
    lens_fraction: float = 0.5,
    hard_weight: int = 1,
    only: Collection[str] = KINDS,
) -> list[str]:
    """Which kind each cutout of a data set is: a fixed mix, shuffled.

    Three lenses in four are lensed galaxies, one a lensed quasar; every confuser is as frequent as
    any other, but those of HARD are `hard_weight` times as frequent. All are among `only`, which
    has a lens and a confuser wherever the set shall have them.
    """
    n_lenses = round(n_cutouts * lens_fraction)
    n_quasars = n_lenses // 4
    if not set(LENS_KINDS) <= set(only):
        n_quasars = n_lenses if "lensed_quasar" in only else 0
    kinds = ["lensed_galaxy"] * (n_lenses - n_quasars) + ["lensed_quasar"] * n_quasars
    others = [kind for kind in confusers.NAMES + HARD * (hard_weight - 1) if kind in only]
    kinds += [others[i % len(others)] for i in range(n_cutouts - n_lenses)]
    np.random.default_rng([seed, 1]).shuffle(kinds)
    return kinds


def simulate(
    kinds: list[str],
    seed: int,
    first: int = 0,
    bank: Sequence[Psf] | None = None,
    band: Band = F814W,
    population: LensPopulation = SKY_LENSES,
) -> Iterator[Labelled]:
    """Simulate the cutouts first, first + 1, ... of a seed.

    In another band than F814W they show the same scenes: the same objects at the same places, with
    colours of their own, another PSF, sky and noise. Defects are each band's own: what crosses one
    exposure, or lies beyond an edge, is not in the other.

    Parameters
    ----------
    kinds : list of str
        The kinds of these cutouts, each one of KINDS.
    seed : int
    first : int
        Number of the first one in its data set.
    bank : sequence of Psf, optional
        In place of the seed's own in F814W, which lenses are seen or not seen in.
    band : Band
    population : LensPopulation
        Of lenses. Where its quasars are bright, chance pairs are as frequent at every magnitude of
        `BRIGHT_PAIRS_MAG`.
    """
    bank = psf_bank(seed) if bank is None else bank
    for number, kind in enumerate(kinds, start=first):
        rng = np.random.default_rng([seed, 2, number])
        psf = bank[int(rng.integers(len(bank)))]
        second = None if band == F814W else _empty(band, seed, number)
        yield _draw(kind, psf, rng, second, population)


def _empty(band: Band, seed: int, number: int) -> SecondBand:
    rng, bank = np.random.default_rng([seed, 81, number]), psf_bank(seed, band)
    psf = bank[int(rng.integers(len(bank)))]
    return SecondBand(band, np.zeros((CUTOUT_SIZE, CUTOUT_SIZE)), psf, rng)


def _draw(
    kind: str, psf: Psf, rng: np.random.Generator, second: SecondBand | None,
    population: LensPopulation,
) -> Labelled:  # fmt: skip
    image = np.zeros((CUTOUT_SIZE, CUTOUT_SIZE))
    observation = draw_observation(rng)
    observation = replace(observation, depth=draw_depth(observation, rng, image.shape))
    x_px, y_px = _centre(rng)
    scene = Scene(image, x_px, y_px, psf, rng, second)
    scatter_field_galaxies(scene, per_arcsec2=0.03 * (1 + 4 * (rng.random() < 0.15)))
    parameters: dict[str, Any] = {
        "x_px": x_px, "y_px": y_px, "exposure_time_s": observation.exposure_time_s,
        "n_exposures": observation.n_exposures,
    }  # fmt: skip
    if kind in LENS_KINDS:
        quasar = kind == "lensed_quasar"
        parameters |= _draw_seen_lens(scene, observation, quasar, population)
    elif kind == "chance_quasar_pair" and population.bright_quasars:
        confusers.chance_quasar_pair(scene, BRIGHT_PAIRS_MAG)
    elif kind in confusers.LIGHT:
        confusers.LIGHT[kind](scene)
    else:
        confusers.LIGHT[str(rng.choice(list(confusers.LIGHT)))](scene)
    if second is not None:
        return Labelled(_recorded_in(second, observation, x_px, y_px), kind, parameters)
    recorded = _recorded(image, observation, rng)
    if kind in DEFECTS:
        DEFECTS[kind](recorded, observation, rng)
    else:
        _blank_some(recorded, x_px, y_px, rng)
    return Labelled(recorded.astype(np.float32), kind, parameters)


def _recorded(image: Image, observation: Observation, rng: np.random.Generator) -> Image:
    saturate(image, observation)
    recorded = record(image, observation, rng)
    add_cosmic_rays(recorded, observation, rng, observation.cosmic_rays_per_cutout)
    add_single_exposure_rays(recorded, observation, rng)
    return recorded


def _recorded_in(
    second: SecondBand, observation: Observation, x_px: float, y_px: float
) -> NDArray[np.float32]:
    """A second band, exposed as long and drizzled alike under its own sky."""
    sky_rate = observation.sky_rate * second.gain(SKY_COLOUR)
    observation = replace(observation, sky_rate=sky_rate)
    recorded = _recorded(second.image, observation, second.rng)
    _blank_some(recorded, x_px, y_px, second.rng)
    return recorded.astype(np.float32)


def _draw_seen_lens(
    scene: Scene, observation: Observation, lensed_quasar: bool, population: LensPopulation
) -> dict[str, Any]:
    """Draw lenses until one would be seen, and add it to the scene."""
    # One lens in four has unlensed companions, so that a companion is no evidence either way.
    if scene.rng.random() < 0.25:
        confusers.draw_companions(scene)
    seen = first_seen(
        draw_lenses(scene.rng, lensed_quasar, population), scene, observation,
        least_clear_pixels=MIN_CLEAR_PIXELS,
    )  # fmt: skip
    seen.add_to(scene)
    confusers.draw_debris(scene, seen.lens.host, seen.host_colour)
    return truth(seen.lens) | seen.measured


def _centre(rng: np.random.Generator) -> tuple[float, float]:
    """Where the object lies: two in three as a grid scan leaves it, one centred as on a stamp."""
    middle = (CUTOUT_SIZE - 1) / 2.0
    if rng.random() < 0.65:
        offset = rng.uniform(-MAX_GRID_OFFSET_PX, MAX_GRID_OFFSET_PX, size=2)
    else:
        offset = rng.normal(0.0, 2.0, size=2)
    return float(middle + offset[0]), float(middle + offset[1])


def _blank_some(image: Image, x_px: float, y_px: float, rng: np.random.Generator) -> None:
    """Missing data in lenses and non-lenses alike, so that a gap is no evidence."""
    chance = rng.random()
    if chance < 0.03:
        blank_edge(image, rng, 0.3)
    elif chance < 0.05:
        blank_gap(image, rng)
    elif chance < 0.2 and np.hypot(x_px - CUTOUT_SIZE / 2, y_px - CUTOUT_SIZE / 2) < 8.0:
        # A published stamp is often smaller than a window, and centred.
        margin = int(rng.integers(5, 30))
        inner = image[margin:-margin, margin:-margin].copy()
        image[...] = np.nan
        image[margin:-margin, margin:-margin] = inner
