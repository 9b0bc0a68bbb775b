"""What is planted among the stamps of a blind page: lenses on real galaxies, and such galaxies."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from conftest import scan_here, write_field
from drizzled_files import write_hla

from lensweep.ground.errors import InputError
from lensweep.scanner.inspection.blind import DUD, LENS, read_keys
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.grid import grid_to_sky
from lensweep.training.evaluation.planted import plant, write_planted
from lensweep.training.simulation.field import MIN_SIGNAL_TO_NOISE
from lensweep.training.simulation.light import Sersic, draw_galaxy_light
from lensweep.training.simulation.psf import draw_psf

NOISE, SEED = 0.008, 4
GALAXIES = [(x, y) for x in (160.0, 400.0, 640.0) for y in (160.0, 400.0, 640.0)]


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """Nine galaxies that can be deflectors."""
    rng = np.random.default_rng(3)
    psf, light = draw_psf(rng), np.zeros((800, 800))
    for x, y in GALAXIES:
        shape = Sersic(rng.uniform(20.0, 21.5), 0.4, 1.5, rng.uniform(0.5, 0.9), 0.3)
        draw_galaxy_light(light, x, y, (shape,), psf)
    flux = (light + rng.normal(0.0, NOISE, light.shape)).astype(np.float32)
    path = tmp_path_factory.mktemp("planted") / "g_f814w_drz.fits"
    return write_hla(path, flux, np.full(flux.shape, 2028.0, np.float32))


@pytest.fixture(scope="module")
def run(client, tiny_bundle, mosaic):
    return scan_here(client, tiny_bundle, [mosaic], mosaic.parent / "run").paths.root


@pytest.fixture(scope="module")
def candidate(run):
    """A candidate that is the first galaxy."""
    ra_deg, dec_deg = grid_to_sky(read_plan(run, "g_f814w_drz").grid, *np.array(GALAXIES[:1]).T)
    return pd.DataFrame({"ra_deg": ra_deg, "dec_deg": dec_deg})


@pytest.fixture(scope="module")
def planted(run, candidate):
    return plant(run, candidate, 3, SEED)


def test_lenses_are_painted_on_galaxies_and_galaxies_are_left(planted, mosaic):
    assert [one.what for one in planted] == [LENS, DUD] * 3
    pixels, used = fits.getdata(mosaic, "SCI"), []
    for one in planted:
        # The galaxy in the middle, by the stamp's upper half, which no arc reaches.
        corners = [(round(x) - 100, round(y) - 100) for x, y in GALAXIES]
        padded = np.pad(pixels, 100, constant_values=np.nan)
        cut = [padded[y + 99 + dy : y + 299 + dy, x + 99 + dx : x + 299 + dx]
               for x, y in corners for dy in range(3) for dx in range(3)]  # fmt: skip
        same = [np.array_equal(part[150:], one.flux[150:], equal_nan=True) for part in cut]
        assert sum(same) == 1
        used.append(same.index(True) // 9)
        untouched = cut[same.index(True)]
        changed = ~np.isclose(one.flux, untouched, equal_nan=True)
        if one.what == DUD:
            assert not changed.any()
        else:
            assert changed[50:150, 50:150].mean() > 0.02
            assert one.truth["signal_to_noise"] >= MIN_SIGNAL_TO_NOISE
            added = np.nan_to_num(one.flux - untouched)
            assert added.sum() > 20 * NOISE
    # No galaxy twice, and never the candidate.
    assert len(set(used)) == 6
    assert 0 not in used


def test_a_seed_plants_the_same(planted, run, candidate):
    again = plant(run, candidate, 3, SEED)
    for one, other in zip(planted, again, strict=True):
        np.testing.assert_array_equal(one.flux, other.flux)


def test_fewer_are_planted_where_there_is_no_room(run, candidate):
    assert len(plant(run, candidate, 50, SEED)) == 8
    assert plant(run, candidate, 0, SEED) == []


def test_the_blind_page_of_a_run(run):
    page = write_planted(run, 4, SEED, 0)
    assert page == RunPaths(run).blind_page(SEED)
    assert len(read_keys(run)) == 4


def test_without_mosaics_nothing_can_be_planted(run, candidate, mosaic, client, tiny_bundle):
    with pytest.raises(InputError, match="planted = -1: must be at least 0"):
        plant(run, candidate, -1, SEED)
    aside = mosaic.with_suffix(".aside")
    mosaic.rename(aside)
    try:
        with pytest.raises(InputError, match=r"on none of its mosaics.*--planted 0"):
            plant(run, candidate, 3, SEED)
    finally:
        aside.rename(mosaic)
    stars = write_field(mosaic.with_name("stars_f814w_drz.fits"), 3, (300, 300), 20)
    other = scan_here(client, tiny_bundle, [stars], mosaic.parent / "other").paths.root
    with pytest.raises(InputError, match=r"[01] galaxies of the run's mosaics"):
        plant(other, candidate, 3, SEED)
