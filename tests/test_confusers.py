import numpy as np
import pytest

from lensweep.training.simulation import confusers
from lensweep.training.simulation.confusers import (
    LIGHT,
    NAMES,
    draw_companions,
    draw_debris,
    scatter_field_galaxies,
)
from lensweep.training.simulation.defects import DEFECTS
from lensweep.training.simulation.lenses import draw_lens, truth
from lensweep.training.simulation.light import Sersic, flux_of
from lensweep.training.simulation.observation import Observation
from lensweep.training.simulation.psf import draw_psf
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.simulate import KINDS, LENS_KINDS, plan_kinds

OBSERVATION = Observation(2028.0, 4, 0.094, 5.0, 0.5, 0.4)


@pytest.fixture(scope="module")
def psf():
    return draw_psf(np.random.default_rng(1))


def scene(psf, seed, size=100):
    middle = (size - 1) / 2
    return Scene(np.zeros((size, size)), middle, middle, psf, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_every_generator_draws_something_finite(psf, name):
    for seed in range(3):
        drawn, again = scene(psf, seed), scene(psf, seed)
        LIGHT[name](drawn)
        LIGHT[name](again)
        assert np.isfinite(drawn.image).all()
        assert drawn.image.min() > -1e-3 * max(1.0, drawn.image.max())
        assert np.array_equal(drawn.image, again.image)
        # Sigma of an empty pixel is 0.008 e-/s: what is drawn has to be seen.
        assert drawn.image.max() > (0.02 if name != "blank_sky" else -1.0)
    if name == "blank_sky":
        assert not drawn.image.any()


@pytest.mark.parametrize("name", sorted(LIGHT.keys() - {"blank_sky"}))
def test_seeds_differ(psf, name):
    first, second = scene(psf, 1), scene(psf, 2)
    LIGHT[name](first)
    LIGHT[name](second)
    assert not np.allclose(first.image, second.image)


@pytest.mark.parametrize("name", ["satellite_trail", "asteroid_trail", "cosmic_ray_residue"])
def test_defects_that_add_light(name):
    image = np.zeros((100, 100))
    DEFECTS[name](image, OBSERVATION, np.random.default_rng(0))
    assert np.isfinite(image).all()
    assert image.min() >= 0.0
    assert image.max() > OBSERVATION.sigma(np.zeros((1, 1)))[0, 0]


@pytest.mark.parametrize("name", ["mosaic_edge", "chip_gap"])
def test_defects_that_take_pixels(name):
    image = np.ones((100, 100))
    DEFECTS[name](image, OBSERVATION, np.random.default_rng(0))
    missing = np.isnan(image)
    assert 0 < missing.sum() < 0.7 * image.size
    assert (image[~missing] == 1.0).all()


def test_all_kinds_are_covered():
    assert set(NAMES) == LIGHT.keys() | DEFECTS.keys()
    assert len(NAMES) == len(set(NAMES)) == 18
    assert set(KINDS) == set(NAMES) | set(LENS_KINDS)
    assert set(plan_kinds(100, 0)) == set(KINDS)
    assert all(generator.__doc__ for generator in (*LIGHT.values(), *DEFECTS.values()))


def test_debris_is_rare_and_fainter_than_its_galaxy(psf):
    # Of 19.0 mag together.
    host = Sersic(20.75, 0.4, 4.0, 0.8, 0.3), Sersic(19.2421, 1.0, 1.0, 0.8, 0.3)
    shares = []
    for seed in range(400):
        drawn = scene(psf, seed, 200)
        draw_debris(drawn, host, 0.0)
        shares.append(drawn.image.sum() / flux_of(19.0))
    swallowed = [share for share in shares if share > 0.0]
    assert 0.01 < len(swallowed) / len(shares) < 0.08
    # What lies beyond the image is cut.
    assert min(swallowed) > 0.001
    assert max(swallowed) < 0.026
    assert np.median(swallowed) > 0.006


def test_a_warp_bends_a_disc_on_edge(psf, monkeypatch):
    bent = {}
    for strength in (0.0, 0.05):
        monkeypatch.setattr(confusers, "WARP", strength)
        bent[strength] = 0.0
        for seed in range(6):
            drawn = scene(psf, seed, 160)
            LIGHT["edge_on_disc"](drawn)
            light = np.maximum(drawn.image, 0.0)
            y, x = np.indices(light.shape) - 79.5
            xx, xy, yy = (np.average(moment, weights=light) for moment in (x * x, x * y, y * y))
            angle = 0.5 * np.arctan2(2 * xy, xx - yy)
            along = x * np.cos(angle) + y * np.sin(angle)
            across = y * np.cos(angle) - x * np.sin(angle)
            # An S has another side at either end.
            bent[strength] += abs(np.average(np.sign(along) * across, weights=light))
    assert bent[0.05] > 2.0 * bent[0.0]


def test_ellipticals_are_as_bright_as_what_lenses():
    rng = np.random.default_rng(3)
    lensing = np.array(
        [truth(draw_lens(rng, n % 4 == 0))["host_magnitude"] for n in range(800)]
    )  # fmt: skip
    others = np.array([confusers._host_magnitude(rng) for _ in range(800)])
    # The chance that one of these is brighter than one of those.
    assert (lensing[:, None] < others).mean() == pytest.approx(0.5, abs=0.06)


def test_companions_are_where_lensed_images_would_be(psf):
    for seed in range(5):
        drawn = scene(psf, seed, 200)
        draw_companions(drawn)
        row, column = np.unravel_index(drawn.image.argmax(), drawn.image.shape)
        distance = np.hypot(row - drawn.y_px, column - drawn.x_px) * 0.05
        # 0.4-2.6 arcsec, and a clump may outshine its galaxy's centre.
        assert 0.2 < distance < 3.2


def test_field_galaxies_are_as_many_as_asked(psf):
    sparse, dense = scene(psf, 0, 300), scene(psf, 0, 300)
    scatter_field_galaxies(sparse, 0.0)
    scatter_field_galaxies(dense, 0.05)
    assert not sparse.image.any()
    # 0.05 galaxies on each of 225 arcsec2, most of them of 25-26.5 mag.
    assert 3 * flux_of(26.5) < dense.image.sum() < 30 * flux_of(21.0)
