"""Gaussian mixtures: how many components, whose probabilities."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator
from toy_stamps import draw_toy

from lensweep.training.published.gaussian_mixture import MixtureClassifier, MixtureFinder


def populations(seed, n=600):
    """One class of two Gaussians far apart, another of one, between them."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0.0, 1.0, (n, 3))
    first[: n // 2] += 8.0
    second = rng.normal(4.0, 1.0, (n // 2, 3))
    return np.concatenate([first, second]), np.repeat([False, True], [n, n // 2])


def test_the_criterion_finds_how_many_components_there_are():
    X, y = populations(1)
    found = MixtureClassifier(random_state=0).fit(X, y)
    assert [mixture.n_components for mixture in found.mixtures_] == [2, 1]
    # Three numbers each: mean, covariance and weight, of which one follows from the others.
    assert found.n_parameters_ == (2 * (3 + 6 + 1) - 1) + (3 + 6)


def test_probabilities_are_those_of_equation_1():
    X, y = populations(2)
    found = MixtureClassifier(random_state=0).fit(X, y)
    likelihoods = []
    for mixture, prior in zip(found.mixtures_, (2 / 3, 1 / 3), strict=True):
        parts = zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
        density = sum(share * multivariate_normal(mean, cov).pdf(X) for share, mean, cov in parts)
        likelihoods.append(prior * density)
    expected = likelihoods[1] / (likelihoods[0] + likelihoods[1])
    assert found.predict_proba(X)[:, 1] == pytest.approx(expected, abs=1e-9)


def test_it_is_an_estimator():
    check_estimator(MixtureClassifier(max_components=2, n_starts=2, random_state=0), on_skip=None)


def test_restarts_find_what_one_start_misses():
    """Six clumps, of which a single start takes two for one."""
    rng = np.random.default_rng(5)
    clumps = [rng.normal(rng.uniform(-12.0, 12.0, 3), 1.0, (100, 3)) for _ in range(6)]
    X = np.concatenate([*clumps, rng.normal(30.0, 1.0, (50, 3))])
    y = np.repeat([False, True], [600, 50])
    many, one = (
        MixtureClassifier(max_components=6, n_starts=n, random_state=4).fit(X, y) for n in (10, 1)
    )
    assert many.mixtures_[0].bic(X[:600]) < one.mixtures_[0].bic(X[:600]) - 100.0


def test_rings_are_told_from_galaxies_by_nine_numbers():
    flux, labels = draw_toy(160)
    finder = MixtureFinder(random_state=0).fit(flux[:120], labels[:120])
    assert roc_auc_score(labels[120:], finder.decision_function(flux[120:])) > 0.99
    again = clone(finder).fit(flux[:120], labels[:120])
    assert np.array_equal(finder.predict_proba(flux), again.predict_proba(flux))


@pytest.mark.parametrize(("value", "said"), [(np.nan, "no data"), (np.inf, "an infinite pixel")])
def test_cutouts_that_teach_nothing_are_refused(value, said):
    flux, labels = draw_toy(12, 100)
    flux[3] = value
    with pytest.raises(ValueError, match=rf"cutout 3 has {said}, as 1 of 12 have; leave them out"):
        MixtureFinder().fit(flux, labels)
