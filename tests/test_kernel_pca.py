"""Kernel principal components, exact and by landmarks, and what is classified by them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_circles
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator
from toy_stamps import draw_toy

from lensweep.training.published import kernel_pca
from lensweep.training.published.cascade import REFUSED, cascade
from lensweep.training.published.kernel_pca import (
    CLASSIFIERS,
    KernelPcaClassifier,
    KernelPcaFinder,
    binned,
)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_it_is_an_estimator(classifier, monkeypatch):
    # What is asked of every estimator, over dozens of fits, a few steps of learning answer.
    monkeypatch.setattr(kernel_pca, "_TREES", 5)
    monkeypatch.setattr(kernel_pca, "_MOST_STEPS", 20)
    check_estimator(KernelPcaClassifier(10, classifier, random_state=0), on_skip=None)


def test_landmarks_find_what_the_exact_kernel_finds():
    X, y = make_circles(800, noise=0.05, factor=0.5, random_state=0)
    exact = KernelPcaClassifier(20, random_state=0).fit(X[:400], y[:400])
    landmarks = KernelPcaClassifier(20, exact_limit=100, n_landmarks=100, random_state=0).fit(
        X[:400], y[:400]
    )
    assert exact.model_[1].__class__.__name__ == "KernelPCA"
    assert landmarks.model_[1][0].__class__.__name__ == "Nystroem"
    for model in (exact, landmarks):
        assert roc_auc_score(y[400:], model.predict_proba(X[400:])[:, 1]) > 0.99
    # The same space, up to signs: the first component of both is the same direction.
    first = exact.model_[:-1].transform(X)[:, 0]
    other = landmarks.model_[:-1].transform(X)[:, 0]
    assert abs(np.corrcoef(first, other)[0, 1]) > 0.99


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_rings_are_told_from_galaxies(classifier):
    flux, labels = draw_toy(240)
    finder = KernelPcaFinder(classifier, random_state=0).fit(flux[:180], labels[:180])
    assert finder.candidates_.model_[1].eigenvectors_.shape[1] <= 200
    assert roc_auc_score(labels[180:], finder.decision_function(flux[180:])) > 0.99
    again = clone(finder).fit(flux[:180], labels[:180])
    assert np.array_equal(finder.predict_proba(flux), again.predict_proba(flux))


def test_cutouts_are_binned_to_25_pixels_a_side():
    flux, _ = draw_toy(3)
    assert binned(flux).shape == (3, 625)
    # A pixel that outshines the others is in the bin of its place.
    flux[0, 41, 83] = 100.0
    assert np.argmax(binned(flux)[0] - binned(draw_toy(3)[0])[0]) == (41 // 4) * 25 + 83 // 4


def test_what_a_cascade_refuses_stands_beneath_in_its_order():
    scores = cascade(np.array([0.0, -3.0, 2.0, -1.0]), -0.5, np.array([5.0, -70.0]))
    assert scores.tolist() == [5.0, REFUSED - 2.5, REFUSED, REFUSED - 0.5]


def test_an_unknown_classifier_is_refused():
    with pytest.raises(ValueError, match="'forest': not one of"):
        KernelPcaClassifier(classifier="forest").fit(np.eye(4), [0, 1, 0, 1])
