import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import lensweep
from lensweep.ground.errors import InputError
from lensweep.scanner.results.selection_function import read_selection, write_selections
from lensweep.training.evaluation.completeness import fit_selections
from lensweep.training.evaluation.planted_run import PlantedRun

N = 4000


def truly(theta_e, source_mag, host_mag):
    """Wide lenses of bright sources are found, unless their galaxy outshines them."""
    return expit(1.5 * np.log(theta_e) - 0.9 * (source_mag - 24.5) + 0.3 * (host_mag - 20.0))


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(1)
    axes = {
        "theta_e_arcsec": rng.uniform(0.3, 2.5, N), "source_magnitude": rng.uniform(22.0, 26.5, N),
        "host_magnitude": rng.uniform(17.0, 23.0, N),
    }  # fmt: skip
    drawn = pd.DataFrame(axes).assign(kind="lensed_galaxy", number=range(N))
    found = rng.random(N) < truly(*axes.values())
    # Half of those that are not found would not even be seen.
    unseen = ~found & (rng.random(N) < 0.5)
    lenses = drawn.assign(logit_mean=np.where(found, 5.0, -5.0), logit_before=-np.inf)
    quasar = lenses.iloc[:1].assign(kind="lensed_quasar", source_magnitude=16.0, number=N)
    return PlantedRun(pd.concat([lenses[~unseen], quasar]), drawn[unseen], {})


@pytest.fixture(scope="module")
def function(planted):
    (one,) = fit_selections(planted, {10.0: 0.0})
    return one


def test_it_is_the_share_that_is_found(function):
    rng = np.random.default_rng(2)
    axes = rng.uniform(0.5, 2.2, 300), rng.uniform(22.5, 26.0, 300), rng.uniform(18.0, 22.0, 300)
    assert np.abs(function(*axes) - truly(*axes)).max() < 0.1


def test_what_is_found_counts_by_place_not_by_how_often_lenses_were_tried():
    """On half of the places a lens in five is seen, on the others all; 80 % of these are found."""
    rng, lenses, unseen = np.random.default_rng(4), [], []
    for number in range(3000):
        tried = 0
        while True:
            axes = {"number": number, "kind": "lensed_galaxy",
                    "theta_e_arcsec": rng.uniform(0.3, 2.5),
                    "source_magnitude": rng.uniform(22.0, 26.5),
                    "host_magnitude": rng.uniform(17.0, 23.0)}  # fmt: skip
            if number % 2 or rng.random() < 0.2:
                found = rng.random() < 0.8
                lenses.append(axes | {"logit_mean": 5.0 if found else -5.0,
                                      "logit_before": -np.inf})  # fmt: skip
                break
            if not tried:
                unseen.append(axes)
            tried += 1
    planted = PlantedRun(pd.DataFrame(lenses), pd.DataFrame(unseen), {})
    assert planted.first_drawn["number"].is_unique
    assert planted.first_drawn["is_seen"].mean() == pytest.approx(0.6, abs=0.03)
    (function,) = fit_selections(planted, {10.0: 0.0})
    assert float(function(1.2, 24.0, 20.0)) == pytest.approx(0.48, abs=0.07)


def test_it_takes_numbers_and_arrays(function):
    one = function(1.0, 24.0, 20.0)
    assert one.shape == ()
    many = function(np.array([[0.5], [1.0]]), np.array([23.0, 24.0, 25.0]), 20.0)
    assert many.shape == (2, 3)
    assert many[1, 1] == pytest.approx(float(one))


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ((3.0, 24.0, 20.0), "theta_e_arcsec = 3"),  # wider than any that was planted
        ((1.0, 18.0, 20.0), "source_magnitude = 18"),  # a quasar's, whose like was not fitted to
        ((1.0, 24.0, np.array([20.0, 15.0])), "host_magnitude = 15"),  # one of several
        ((np.nan, 24.0, 20.0), "theta_e_arcsec = nan"),
    ],
)
def test_beyond_its_domain_it_refuses(function, axes, named):
    with pytest.raises(InputError, match=named):
        function(*axes)


def test_where_no_like_lens_was_planted_it_refuses():
    """The widest lenses have bright galaxies, so that a wide one of a faint galaxy is like none."""
    rng = np.random.default_rng(5)
    radius = np.clip(0.75 * np.exp(rng.normal(0.0, 0.5, N)), 0.3, 2.5)
    host = np.clip(20.7 - 5.0 * np.log10(radius / 0.75) + rng.normal(0.0, 1.2, N), 16.5, 24.0)
    axes = {"theta_e_arcsec": radius, "source_magnitude": rng.uniform(22.0, 26.5, N),
            "host_magnitude": host}  # fmt: skip
    found = rng.random(N) < truly(*axes.values())
    lenses = pd.DataFrame(axes).assign(kind="lensed_galaxy", number=range(N), logit_before=-np.inf,
                                       logit_mean=np.where(found, 5.0, -5.0))  # fmt: skip
    unseen = lenses.iloc[:0]
    (function,) = fit_selections(PlantedRun(lenses, unseen, {}), {10.0: 0.0})
    assert 0.0 < float(function(2.2, 25.0, 18.5)) < 1.0
    message = "theta_e_arcsec = 2.2, source_magnitude = 25, host_magnitude = 23.5: each was planted"
    with pytest.raises(InputError, match=message):
        function([0.8, 2.2], 25.0, [20.0, 23.5])


def test_it_is_kept_with_the_run(function, tmp_path):
    (tmp_path / "completeness").mkdir()
    write_selections([function], tmp_path / "completeness" / "selection.json")
    kept = lensweep.selection_function(tmp_path)
    assert kept == function
    assert lensweep.selection_function(tmp_path / "completeness" / "selection.json") == function
    with pytest.raises(InputError, match="no depth of 3 false candidates per deg², only 10"):
        lensweep.selection_function(tmp_path, 3.0)


def test_a_run_without_one_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match="`lensweep completeness RUN` measures it"):
        lensweep.selection_function(tmp_path)
    (tmp_path / "other.json").write_text('{"format": "x"}')
    with pytest.raises(InputError, match="format x"):
        read_selection(tmp_path / "other.json", 10.0)


def test_too_few_lenses_are_fitted_by_nothing(planted):
    few = PlantedRun(planted.lenses.iloc[:50], planted.unseen, {})
    assert fit_selections(few, {10.0: 0.0}) == []
