import numpy as np
import pytest

from lensweep.training.simulation import bands, confusers
from lensweep.training.simulation.bands import BANDS, F606W, F814W, SecondBand
from lensweep.training.simulation.confusers import LIGHT
from lensweep.training.simulation.field_file import PHOTOMETRY
from lensweep.training.simulation.lenses import draw_lenses
from lensweep.training.simulation.light import Sersic, flux_of
from lensweep.training.simulation.observation import draw_observation
from lensweep.training.simulation.psf import draw_psf
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.seen import first_seen

SIDE, MIDDLE = 160, 79.5


@pytest.fixture(scope="module")
def psfs():
    """One in each band, of the same telescope."""
    return {
        name: draw_psf(np.random.default_rng(1), 60, band.wavelengths_m)
        for name, band in BANDS.items()
    }


def scene_in(psfs, seed, two_bands=True):
    image, rng = np.zeros((SIDE, SIDE)), np.random.default_rng(seed)
    second = SecondBand(F606W, image.copy(), psfs["F606W"], np.random.default_rng([seed, 1]))
    return Scene(image, MIDDLE, MIDDLE, psfs["F814W"], rng, second if two_bands else None)


def colour_of(scene, where):
    """F606W - F814W of the light within a mask."""
    there, here = scene.second.image[where].sum(), scene.image[where].sum()
    return F606W.zero_point_ab - F814W.zero_point_ab - 2.5 * np.log10(there / here)


@pytest.mark.parametrize("kind", LIGHT)
def test_the_first_band_is_the_same_bytes_without_a_second(psfs, kind):
    both, alone = scene_in(psfs, 5), scene_in(psfs, 5, two_bands=False)
    for scene in (both, alone):
        LIGHT[kind](scene)
    assert both.image.tobytes() == alone.image.tobytes()
    assert both.rng.random() == alone.rng.random()
    assert both.second.image.any() == both.image.any()


def test_what_is_drawn_has_the_colour_that_was_asked_for(psfs):
    everywhere = np.ones((SIDE, SIDE), bool)
    shape = (Sersic(21.0, 0.3, 1.0, 0.8, 0.5),)
    for add in (
        lambda scene: scene.add_galaxy(MIDDLE, MIDDLE, shape, 1.2),
        lambda scene: scene.add_point(MIDDLE, MIDDLE, flux_of(22.0), 1.2),
        lambda scene: scene.add_light(
            MIDDLE, MIDDLE, lambda dx, dy, gain=1.0: gain * shape[0](dx, dy), 2.0, (1.2,), 9.0
        ),
    ):
        scene = scene_in(psfs, 6)
        add(scene)
        assert colour_of(scene, everywhere) == pytest.approx(1.2, abs=0.01)


def test_debris_has_the_colour_of_its_galaxy(psfs, monkeypatch):
    monkeypatch.setattr(confusers, "DEBRIS_SHARE", 1.0)
    host = (Sersic(20.0, 0.5, 4.0, 0.8, 0.5),)
    for seed in range(6):
        scene = scene_in(psfs, seed)
        confusers.draw_debris(scene, host, 1.2)
        assert colour_of(scene, np.ones((SIDE, SIDE), bool)) == pytest.approx(1.2, abs=0.02)


def test_a_point_is_sharper_in_the_bluer_band(psfs):
    scene = scene_in(psfs, 7)
    scene.add_point(MIDDLE + 0.5, MIDDLE + 0.5, 100.0, 0.0)
    first, second = scene.image / scene.image.sum(), scene.second.image / scene.second.image.sum()
    assert second.max() > 1.1 * first.max()


@pytest.mark.parametrize("kind", ["face_on_spiral", "edge_on_disc", "ring_galaxy"])
def test_cores_are_redder_than_what_is_around_them(psfs, kind):
    y, x = np.mgrid[:SIDE, :SIDE] - MIDDLE
    core = np.hypot(x, y) < 3
    differences = []
    for seed in range(8):
        scene = scene_in(psfs, seed)
        LIGHT[kind](scene)
        outside = ~core & (scene.image > 0.05 * scene.image[core].mean())
        differences.append(colour_of(scene, core) - colour_of(scene, outside))
    assert np.mean(differences) > 0.1


def test_arcs_lie_where_they_lie_in_the_first_band_and_are_bluer_than_their_lens(psfs):
    differences, likeness = [], []
    for seed in range(6):
        scene = scene_in(psfs, seed)
        observation = draw_observation(np.random.default_rng(seed))
        seen = first_seen(draw_lenses(scene.rng, seed % 2 == 1), scene, observation)
        seen.add_to(scene)
        arcs, host = seen.arcs > 3 * seen.host, seen.host > 10 * seen.arcs
        if not (arcs.any() and host.any()):
            continue
        differences.append(colour_of(scene, host) - colour_of(scene, arcs))
        # The same images, a quasar's as bright against each other as microlensing made them.
        lit = seen.arcs > 0.02 * seen.arcs.max()
        both = seen.arcs[lit], scene.second.image[lit] - seen.host[lit]
        likeness.append(np.corrcoef(*both)[0, 1])
    assert len(differences) >= 4
    assert np.mean(differences) > 0.4
    assert np.median(likeness) > 0.9


def test_a_scene_without_a_second_band_draws_no_colour(psfs):
    scene = scene_in(psfs, 8, two_bands=False)
    before = scene.rng.bit_generator.state
    assert scene.colours(bands.early_type, bands.star) == (0.0, 0.0)
    assert scene.rng.bit_generator.state == before


@pytest.mark.parametrize(
    ("kind", "redshift", "low", "high"),
    [
        # CWW's elliptical, whose break passes F606W.
        (bands.early_type, 0.2, 0.80, 0.80),
        (bands.early_type, 0.8, 1.98, 1.98),
        # Between Scd and Sbc, and between Im and Scd.
        (bands.disc, 0.4, 0.57, 0.70),
        (bands.star_forming, 2.0, 0.16, 0.30),
        # No redshift matters to them.
        (bands.quasar, 1.0, 0.15, 0.15),
        (bands.star, 0.0, 0.67, 0.67),
    ],
)
def test_colours_are_those_of_the_spectra(kind, redshift, low, high):
    rng = np.random.default_rng(9)
    mean = np.mean([kind(rng, redshift) for _ in range(2000)])
    assert low - 0.02 < mean < high + 0.02


@pytest.mark.parametrize("name", BANDS)
def test_a_files_header_has_the_bands_zero_point(name):
    photflam, photplam = PHOTOMETRY[name]
    zero_point = -2.5 * np.log10(photflam) - 5.0 * np.log10(photplam) - 2.408
    assert zero_point == pytest.approx(BANDS[name].zero_point_ab, abs=2e-3)
