"""What all finders that look at cutouts have in common as estimators."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from lensweep.training.published.cascade import as_probabilities
from lensweep.training.published.stamps import check_stamps


class ImageFinder(ClassifierMixin, BaseEstimator, ABC):
    """A classifier of cutouts into two classes, of which the second, in order, is the lens.

    `fit(X, y)` takes cutouts, shape (n, 100, 100), in e-/s or any unit proportional to it, with
    NaN where there is no data, and a label each.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
    """

    # Of more than one band the last axis of `X` has a plane each.
    n_bands: ClassVar[int] = 1
    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to cutouts.

        Parameters
        ----------
        X : ndarray, shape (n, height, width)
        y : ndarray, shape (n,)

        Raises
        ------
        ValueError
            If there are not two classes, a shape does not fit, or a cutout has no data or an
            infinite pixel.
        """
        flux = check_stamps(X, self.n_bands)
        _refuse_empty(flux)
        check_consistent_length(flux, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"y: {len(self.classes_)} classes, but a finder tells two apart")
        self._fit(flux, codes.astype(bool))
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Log-odds of a lens, shape (n,)."""
        check_is_fitted(self, "classes_")
        return np.asarray(self._log_odds(check_stamps(X, self.n_bands)), np.float64)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities of both classes, shape (n, 2)."""
        return as_probabilities(self.decision_function(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likelier class of each cutout."""
        return np.asarray(self.classes_[(self.decision_function(X) > 0.0).astype(int)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags

    @abstractmethod
    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """Fit to checked cutouts."""

    @abstractmethod
    def _log_odds(self, flux: NDArray[np.float32]) -> NDArray[np.floating]:
        """Log-odds of checked cutouts."""


def _refuse_empty(flux: NDArray[np.float32]) -> None:
    """Refuse cutouts that nothing can be learned from."""
    pixels = flux.reshape(len(flux), -1)
    for words, bad in (("no data", np.isnan(pixels).all(axis=1)),
                       ("an infinite pixel", np.isinf(pixels).any(axis=1))):  # fmt: skip
        rows = np.flatnonzero(bad)
        if len(rows):
            raise ValueError(
                f"X: cutout {rows[0]} has {words}, as {len(rows)} of {len(flux)} have; leave them "
                "out"
            )
