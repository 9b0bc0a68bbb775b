import re
from collections import Counter

import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.training.data.requests import SimulationConfig
from lensweep.training.data.simulated_set import open_simulation
from lensweep.training.simulation import confusers
from lensweep.training.simulation.lenses import LensPopulation
from lensweep.training.simulation.seen import (
    MIN_CLEAR_PIXELS,
    MIN_MAGNIFICATION,
    MIN_PIXELS,
    MIN_SIGNAL_TO_NOISE,
)
from lensweep.training.simulation.simulate import (
    HARD,
    KINDS,
    LENS_KINDS,
    plan_kinds,
    psf_bank,
    simulate,
)

# One seed for all tests: a seed's bank of PSFs takes seconds.
SEED = 17


@pytest.fixture(scope="module")
def drawn():
    kinds = [*KINDS, "lensed_galaxy", "lensed_quasar"] * 2
    return list(simulate(kinds, SEED))


def test_every_kind_can_be_drawn(drawn):
    assert {cutout.kind for cutout in drawn} == set(KINDS)
    for cutout in drawn:
        assert cutout.flux.shape == (100, 100)
        assert cutout.flux.dtype == np.float32
        assert np.isfinite(cutout.flux).mean() > 0.1
        assert not np.isinf(cutout.flux).any()


def test_what_is_recorded_is_saturated():
    ratios = []
    for star in simulate(["bright_star"] * 30, SEED):
        full_well = 84_700.0 * star.truth["n_exposures"] / star.truth["exposure_time_s"]
        ratios.append(np.nanmax(star.flux) / full_well)
    # Noise, or a cosmic ray, may lie on top.
    assert max(ratios) < 1.2
    assert sum(ratio > 0.95 for ratio in ratios) >= 3


def test_some_cutouts_are_not_of_one_depth():
    uneven = 0
    for cutout in simulate(["blank_sky"] * 60, SEED):
        corners = [cutout.flux[y, x] for y in (slice(15, 45), slice(55, 85))
                   for x in (slice(15, 45), slice(55, 85))]  # fmt: skip
        noise = [float(np.nanmedian(np.abs(corner - np.nanmedian(corner)))) for corner in corners]
        uneven += np.nanmax(noise) > 1.45 * np.nanmin(noise)
    # Even ones differ by less than 1.4.
    assert 2 <= uneven <= 15


def test_label_follows_the_kind(drawn):
    assert [cutout.is_lens for cutout in drawn] == [cutout.kind in LENS_KINDS for cutout in drawn]
    assert any(cutout.is_lens for cutout in drawn)


def test_lenses_would_be_seen(drawn):
    lenses = [cutout for cutout in drawn if cutout.is_lens]
    for lens in lenses:
        assert lens.truth["signal_to_noise"] >= MIN_SIGNAL_TO_NOISE
        assert lens.truth["n_pixels"] >= MIN_PIXELS
        assert lens.truth["n_clear_pixels"] >= MIN_CLEAR_PIXELS
        assert lens.truth["magnification"] >= MIN_MAGNIFICATION
        assert (lens.truth["n_images"] >= 2) == (lens.kind == "lensed_quasar")
    assert all("theta_e_arcsec" not in cutout.truth for cutout in drawn if not cutout.is_lens)


def test_objects_lie_where_a_grid_scan_leaves_them(drawn):
    offsets = np.array([[c.truth["x_px"] - 49.5, c.truth["y_px"] - 49.5] for c in drawn])
    assert np.abs(offsets).max() <= 25.0
    assert offsets.std() > 3.0


def test_same_seed_same_pixels(drawn):
    again = list(simulate([cutout.kind for cutout in drawn[:4]], SEED))
    for first, second in zip(drawn[:4], again, strict=True):
        np.testing.assert_array_equal(first.flux, second.flux)
        assert first.truth == second.truth


@pytest.mark.parametrize("first", [1, 2, 5, 19])
def test_a_cutout_does_not_depend_on_where_its_chunk_starts(drawn, first):
    kinds = [cutout.kind for cutout in drawn]
    alone = next(simulate(kinds[first:], SEED, first))
    np.testing.assert_array_equal(alone.flux, drawn[first].flux)


def test_numbers_make_different_cutouts(drawn):
    kind = drawn[0].kind
    here, there = next(simulate([kind], SEED, 0)), next(simulate([kind], SEED, 1))
    assert not np.array_equal(here.flux, there.flux)


def test_bank_is_the_seeds_own():
    bank = psf_bank(SEED)
    assert len(bank) == 96
    assert bank is psf_bank(SEED)
    assert not np.array_equal(bank[0].kernel, bank[1].kernel)


@pytest.mark.parametrize(
    ("n_cutouts", "fraction", "n_galaxies", "n_quasars"),
    [
        (1000, 0.5, 375, 125),
        (100, 0.0, 0, 0),  # negatives only
        (10, 1.0, 8, 2),
        (0, 0.5, 0, 0),
    ],
)
def test_mix_of_kinds(n_cutouts, fraction, n_galaxies, n_quasars):
    counts = Counter(plan_kinds(n_cutouts, 3, fraction))
    assert counts.total() == n_cutouts
    assert counts["lensed_galaxy"] == n_galaxies
    assert counts["lensed_quasar"] == n_quasars
    rest = [counts[name] for name in confusers.NAMES]
    assert max(rest) - min(rest) <= 1


def test_a_choice_of_kinds_holds_no_other():
    chosen = ("lensed_quasar", "merger", "bright_star")
    counts = Counter(plan_kinds(400, 3, 0.5, only=chosen))
    assert counts == {"lensed_quasar": 200, "merger": 100, "bright_star": 100}


def test_bright_quasars_are_as_frequent_as_faint_ones():
    drawn = [one.truth["source_magnitude"] for one in simulate(
        ["lensed_quasar"] * 40, SEED, population=LensPopulation(bright_quasars=True)
    )]  # fmt: skip
    assert 17.0 <= min(drawn) < 18.0
    assert 20.5 < max(drawn) <= 21.5
    # By the sky's counts hardly one in forty is so bright.
    sky = [one.truth["source_magnitude"] for one in simulate(["lensed_quasar"] * 40, SEED)]
    assert np.mean(np.array(drawn) < 19.5) > 0.4 > 0.1 > np.mean(np.array(sky) < 19.5)


def test_large_lenses_are_as_frequent_as_small_ones():
    def radii(population):
        drawn = simulate(["lensed_galaxy", "lensed_quasar"] * 20, SEED, population=population)
        return np.array([one.truth["theta_e_arcsec"] for one in drawn])

    evenly = radii(LensPopulation(even_radii=True))
    assert evenly.min() >= 0.3
    assert evenly.max() <= 2.5
    # Few of the sky's are as large as half of these.
    assert np.mean(evenly > 1.4) > 0.3 > 0.2 > np.mean(radii(LensPopulation()) > 1.4)


def test_bright_pairs_are_as_bright_as_bright_quasars():
    def peaks(bright_quasars):
        population = LensPopulation(bright_quasars)
        pairs = simulate(["chance_quasar_pair"] * 12, SEED, population=population)
        return [np.nanmax(one.flux) for one in pairs]

    assert np.median(peaks(True)) > 3.0 * np.median(peaks(False))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kinds": ("spiral",)}, "kind = spiral: must be one of lensed_galaxy, "),
        ({"kinds": ("merger",)}, "none of them is of the lenses, which are to be 50%"),
        ({"kinds": ("lensed_quasar",), "lens_fraction": 0.9}, "of the others, which are to be 10%"),
    ],
)
def test_a_choice_of_kinds_is_checked_before_anything_is_drawn(asked, said, tmp_path):
    with pytest.raises(InputError, match=re.escape(said)):
        open_simulation(SimulationConfig(n=4, **asked), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_kinds_are_shuffled_by_the_seed():
    assert plan_kinds(200, 1) == plan_kinds(200, 1)
    assert plan_kinds(200, 1) != plan_kinds(200, 2)


def test_hard_confusers_are_as_many_times_as_frequent():
    counts = Counter(plan_kinds(7200, 3, hard_weight=3))
    assert counts["lensed_galaxy"] + counts["lensed_quasar"] == 3600
    # 3 x 9 + 9 shares among 3,600.
    assert {counts[name] for name in HARD} == {300}
    assert {counts[name] for name in confusers.NAMES if name not in HARD} == {100}
