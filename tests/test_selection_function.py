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
    drawn = pd.DataFrame(axes).assign(kind="lensed_galaxy")
    found = rng.random(N) < truly(*axes.values())
    # Half of those that are not found would not even be seen.
    unseen = ~found & (rng.random(N) < 0.5)
    lenses = drawn.assign(logit_mean=np.where(found, 5.0, -5.0), logit_before=-np.inf)
    quasar = lenses.iloc[:1].assign(kind="lensed_quasar", source_magnitude=16.0)
    return PlantedRun(pd.concat([lenses[~unseen], quasar]), drawn[unseen], {})


@pytest.fixture(scope="module")
def function(planted):
    (one,) = fit_selections(planted, {10.0: 0.0})
    return one


def test_it_is_the_share_that_is_found(function):
    rng = np.random.default_rng(2)
    axes = rng.uniform(0.5, 2.2, 300), rng.uniform(22.5, 26.0, 300), rng.uniform(18.0, 22.0, 300)
    assert np.abs(function(*axes) - truly(*axes)).max() < 0.1


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
