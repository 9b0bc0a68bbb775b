"""Targets by catalogue, then candidates by pixels (Agnello et al. 2015).

Targets: an artificial neural network on catalogue features; theirs are magnitudes and second
moments of several bands, ours for F814W alone the nine of
`lensweep.training.published.morphology`. Candidates: cutouts of 25 x 25 pixels, by kernel principal
components to 200 numbers, then gradient-boosted trees or a neural network. Kernel, its width and
the networks' sizes are not known to us: a Gaussian of a width of the square root of the number of
pixels (each scaled to a standard deviation of 1), and one hidden layer.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA, KernelPCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lensweep.scanner.network.stretch import in_noise_units
from lensweep.training.published.cascade import cascade, cut_for
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.morphology import Morphology
from lensweep.training.published.stamps import faint

BINNED_PX = 25
COMPONENTS = 200
CLASSIFIERS = ("trees", "network")
_HIDDEN, _MOST_STEPS = (50,), 300
_TREES = 100
# Of an out-of-fold probability: what is surer counts as this sure.
_SURE = 1e-12
_TARGET_FOLDS = 3


class KernelPcaClassifier(ClassifierMixin, BaseEstimator):
    """Kernel principal components of feature vectors, then a classifier.

    Parameters
    ----------
    n_components : int
    classifier : str
        ``trees``: gradient boosting; ``network``: one hidden layer.
    exact_limit : int
        Of more vectors than these the kernel matrix, 8 bytes times their square, is approximated by
        that of random landmarks (Nyström).
    n_landmarks : int
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        n_components: int = COMPONENTS,
        classifier: str = "trees",
        exact_limit: int = 4000,
        n_landmarks: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.classifier = classifier
        self.exact_limit = exact_limit
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit scaling, components and classifier.

        Parameters
        ----------
        X : array-like, shape (n, features)
        y : array-like, shape (n,)

        Raises
        ------
        ValueError
            If there is no such classifier, or one class only.
        """
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        if self.classifier not in CLASSIFIERS:
            raise ValueError(f"classifier = {self.classifier!r}: not one of {CLASSIFIERS}")
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("y: one class only, but a classifier needs two or more")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        steps = (StandardScaler(), self._components(len(X), seed), self._classifier(seed))
        self.model_ = _fitted(make_pipeline(*steps), X, y)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of the classes, shape (n, classes)."""
        check_is_fitted(self)
        return np.asarray(self.model_.predict_proba(validate_data(self, X, reset=False)))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    @property
    def n_parameters_(self) -> int:
        """Nodes of the trees, or weights of the network; components not counted."""
        classifier = self.model_[-1]
        if self.classifier == "network":
            return sum(array.size for array in (*classifier.coefs_, *classifier.intercepts_))
        return sum(tree.nodes.size for step in classifier._predictors for tree in step)

    def _components(self, n: int, seed: int) -> Any:
        kept = min(self.n_components, n)
        if n <= self.exact_limit:
            return KernelPCA(kept, kernel="rbf", random_state=seed)
        landmarks = min(self.n_landmarks, n)
        return make_pipeline(
            Nystroem("rbf", n_components=landmarks, random_state=seed),
            PCA(min(kept, landmarks), random_state=seed),
        )

    def _classifier(self, seed: int) -> Any:
        if self.classifier == "trees":
            return HistGradientBoostingClassifier(
                max_iter=_TREES, early_stopping=False, random_state=seed
            )
        return _network(seed)


class KernelPcaFinder(ImageFinder):
    """Target selection by nine catalogue numbers, candidate selection by 25 x 25 pixels.

    Parameters
    ----------
    classifier : str
        As of `KernelPcaClassifier`.
    n_components, exact_limit, n_landmarks : int
    target_recall : float
        Share of the lenses that target selection lets pass, out of fold.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        classifier: str = "trees",
        n_components: int = COMPONENTS,
        exact_limit: int = 4000,
        n_landmarks: int = 1000,
        target_recall: float = 0.99,
        random_state: Any = None,
    ) -> None:
        self.classifier = classifier
        self.n_components = n_components
        self.exact_limit = exact_limit
        self.n_landmarks = n_landmarks
        self.target_recall = target_recall
        self.random_state = random_state

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        features = Morphology().transform(flux)
        targets = make_pipeline(StandardScaler(), _network(seed))
        with _no_convergence():
            chances = cross_val_predict(
                targets, features, labels, cv=_TARGET_FOLDS, method="predict_proba"
            )
        scores = _log_odds_of(chances)
        self.cut_ = cut_for(scores[labels], self.target_recall)
        self.targets_ = _fitted(targets, features, labels)
        passed = scores >= self.cut_
        # Where targets alone tell all apart, there is nobody to tell the candidates from.
        passed = passed if len(np.unique(labels[passed])) == 2 else np.ones_like(passed)
        self.candidates_ = KernelPcaClassifier(
            self.n_components, self.classifier, self.exact_limit, self.n_landmarks, seed
        ).fit(binned(flux[passed]), labels[passed])

    def _log_odds(self, flux: NDArray[np.float32]) -> NDArray[np.floating]:
        first = _log_odds_of(self.targets_.predict_proba(Morphology().transform(flux)))
        passed = first >= self.cut_
        second = first[:0]
        if passed.any():
            second = _log_odds_of(self.candidates_.predict_proba(binned(flux[passed])))
        return cascade(first, self.cut_, second)

    @property
    def n_parameters_(self) -> int:
        """Of both classifiers."""
        network = self.targets_[-1]
        of_targets = sum(array.size for array in (*network.coefs_, *network.intercepts_))
        return int(of_targets + self.candidates_.n_parameters_)


def binned(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cutouts as 25 x 25 means of their stretched pixels, shape (n, 625).

    Parameters
    ----------
    flux : ndarray, shape (n, height, width), float32
        Sides that 25 divides.
    """
    images = faint(in_noise_units(flux)[0])[..., 0]
    n, height, width = images.shape
    blocks = images.reshape(n, BINNED_PX, height // BINNED_PX, BINNED_PX, width // BINNED_PX)
    return np.asarray(blocks.mean(axis=(2, 4)).reshape(n, BINNED_PX**2))


def _network(seed: int) -> MLPClassifier:
    return MLPClassifier(_HIDDEN, alpha=1e-2, max_iter=_MOST_STEPS, random_state=seed)


def _fitted(model: Pipeline, X: Any, y: Any) -> Pipeline:
    with _no_convergence():
        return model.fit(X, y)


@contextmanager
def _no_convergence() -> Iterator[None]:
    """A network that would go on learning is stopped by its passes: that is no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _log_odds_of(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    lens = np.clip(chances[:, 1], _SURE, 1.0 - _SURE)
    return np.asarray(np.log(lens) - np.log1p(-lens))
