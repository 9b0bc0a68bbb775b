"""Populations as mixtures of Gaussians (Williams, Agnello & Treu 2017; equation 1 of the thesis).

Equation 1 is one mixture over populations. Ours is one for every labelled class, fitted by
expectation-maximisation from several random starts, with as many components as the Bayesian
information criterion asks for: our choice, since a class of galaxies is no single Gaussian, and
labels are at hand. Their nine features are photometry of several bands
(`lensweep.training.published.photometry`); for F814W alone there are the nine of
`lensweep.training.published.morphology`, ours.
"""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.morphology import Morphology

_MOST_STEPS = 500


class MixtureClassifier(ClassifierMixin, BaseEstimator):
    """A Gaussian mixture for every class of feature vectors.

    Parameters
    ----------
    max_components : int
        Of a class; how many it gets, the Bayesian information criterion says.
    n_starts : int
        Random starts of each fit, of which the likeliest is kept.
    reg_covar : float
        Added to the diagonals of the covariances.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        max_components: int = 6,
        n_starts: int = 5,
        reg_covar: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.max_components = max_components
        self.n_starts = n_starts
        self.reg_covar = reg_covar
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the mixtures.

        Parameters
        ----------
        X : array-like, shape (n, features)
        y : array-like, shape (n,)

        Raises
        ------
        ValueError
            If they are no finite numbers of those shapes.
        """
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        rng = check_random_state(self.random_state)
        self.mixtures_ = [self._mixture(X[codes == code], rng) for code in np.unique(codes)]
        self.log_priors_ = np.log(np.bincount(codes) / len(codes))
        return self

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Logarithms of the classes' probabilities, shape (n, classes)."""
        joint = self._joint(X)
        return np.asarray(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of the classes, shape (n, classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each."""
        likeliest = self._joint(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    @property
    def n_parameters_(self) -> int:
        """Free parameters of all mixtures: means, covariances, weights."""
        p = self.n_features_in_
        of_one = p + p * (p + 1) // 2 + 1
        return sum(mixture.n_components * of_one - 1 for mixture in self.mixtures_)

    def _joint(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        likelihoods = [mixture.score_samples(X) for mixture in self.mixtures_]
        return np.asarray(np.column_stack(likelihoods) + self.log_priors_)

    def _mixture(self, X: NDArray[np.float64], rng: Any) -> GaussianMixture:
        fitted = [
            self._fitted(X, components, rng)
            for components in range(1, min(self.max_components, len(X)) + 1)
        ]
        return min(fitted, key=lambda mixture: float(mixture.bic(X)))

    def _fitted(self, X: NDArray[np.float64], components: int, rng: Any) -> GaussianMixture:
        mixture = GaussianMixture(
            components, reg_covar=self.reg_covar, max_iter=_MOST_STEPS, n_init=self.n_starts,
            init_params="random_from_data", random_state=rng.randint(2**31 - 1),
        )  # fmt: skip
        with warnings.catch_warnings():
            # More components than there are populations go on for ever; they lose by the criterion.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(X)


class MixtureFinder(ImageFinder):
    """Gaussian mixtures of the nine numbers of `lensweep.training.published.morphology`.

    Parameters
    ----------
    max_components, n_starts : int
    reg_covar : float
    random_state : int, RandomState or None
        As of `MixtureClassifier`; of features that are scaled to a standard deviation of 1.
    """

    def __init__(
        self,
        max_components: int = 6,
        n_starts: int = 5,
        reg_covar: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.max_components = max_components
        self.n_starts = n_starts
        self.reg_covar = reg_covar
        self.random_state = random_state

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        mixture = MixtureClassifier(**self.get_params())
        self.model_ = make_pipeline(Morphology(), StandardScaler(), mixture).fit(flux, labels)

    def _log_odds(self, flux: NDArray[np.float32]) -> NDArray[np.floating]:
        logarithms = self.model_.predict_log_proba(flux)
        return np.asarray(logarithms[:, 1] - logarithms[:, 0])

    @property
    def n_parameters_(self) -> int:
        """Of the mixtures."""
        return int(self.model_[-1].n_parameters_)
