"""Lens parameters from one look at a cutout: the networks of Hezaveh et al. (2017), their errors.

Hezaveh, Perreault Levasseur & Marshall (2017, Nature 548, 555) trained AlexNet, OverFeat, Inception
and a network of their own on lenses whose light had been removed. Ours is one small network that
sees cutouts as a scan cuts them, in circles about the brightest light, with the lens' light and
without. Dropout, and that the network tells its own errors, are those of Perreault Levasseur,
Hezaveh & Wechsler (2017, ApJL 850, L7); there the loss is a normal distribution's, here Laplace's.
"""

import dataclasses
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from lensweep.ground.progress import PlainProgress, Progress
from lensweep.scanner.network.lens_parameters import (
    PARAMETERS,
    DroppedHead,
    Estimates,
    ParameterFacts,
    ParameterNetwork,
    in_batches,
    save_parameter_network,
)
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.loop import Course, fit
from lensweep.training.published.parameter_network import build_networks, laplace_loss
from lensweep.training.published.parameter_views import Views, in_circles
from lensweep.training.simulation.light import ellipticity

BAND = "F814W"
# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
MIDDLE_PX = (CUTOUT_SIZE - 1) / 2.0
# Of the five convolutions.
CHANNELS = (16, 32, 48, 48, 48)


def parameters_of(truth: pd.DataFrame) -> NDArray[np.float64]:
    """What a network of lens parameters is to say of simulated lenses.

    Parameters
    ----------
    truth : DataFrame
        Of a simulated set, lenses only.

    Returns
    -------
    ndarray, shape (n, 5), float64
        `lensweep.scanner.network.lens_parameters.PARAMETERS`.
    """
    shape = [ellipticity(q, angle) for q, angle in zip(truth["axis_ratio"], truth["angle_rad"],
                                                       strict=True)]  # fmt: skip
    centre = (truth[["x_px", "y_px"]].to_numpy() - MIDDLE_PX) * PIXEL_SCALE_ARCSEC
    return np.column_stack([truth["theta_e_arcsec"], np.array(shape).reshape(-1, 2), centre])


class LensParameterRegressor(RegressorMixin, BaseEstimator):
    """Estimate Einstein radius, ellipticity and centre of lenses, with uncertainties.

    Parameters
    ----------
    channels : tuple of int
        Of the five convolutions.
    along : int
        Units that read all radii at once, at every angle.
    hidden : int
        Units of the hidden layer.
    dropout : float
        Share of units that are dropped before either dense layer, in training and after it.
    passes : int
        With other units dropped, for every estimate.
    epochs : int
    batch : int
    learning_rate : float
        As of `lensweep.training.fit.loop.Course`.
    held_out : float
        Last share of the lenses, which widen the errors until they cover 68 %: of whichever kind
        is given last.
    seed : int
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        along: int = 128,
        hidden: int = 256,
        dropout: float = 0.1,
        passes: int = 24,
        epochs: int = 18,
        batch: int = 64,
        learning_rate: float = 1e-3,
        held_out: float = 0.1,
        seed: int = 2018,
    ) -> None:
        self.channels = channels
        self.along = along
        self.hidden = hidden
        self.dropout = dropout
        self.passes = passes
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.held_out = held_out
        self.seed = seed

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.floating],
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> "LensParameterRegressor":
        """Train on lenses.

        Parameters
        ----------
        X : ndarray, shape (n, 100, 100), float32
            Cutouts, e-/s; NaN where there is no data.
        y : ndarray, shape (n, 5)
            `lensweep.scanner.network.lens_parameters.PARAMETERS`.
        checkpoint : Path, optional
            `.npz` file in which an unfinished training is kept, and from which it continues.
        progress : Progress, optional

        Raises
        ------
        ValueError
            If a shape does not fit, or a parameter is no finite number or an Einstein radius not
            above 0.
        """
        truth: NDArray[np.float64] = np.asarray(y, np.float64)
        check_consistent_length(X, truth)
        if truth.shape[1:] != (len(PARAMETERS),):
            raise ValueError(f"y of shape {truth.shape}: a lens has {', '.join(PARAMETERS)}")
        if not np.isfinite(truth).all() or (truth[:, 0] <= 0.0).any():
            raise ValueError("y: all parameters must be finite, and Einstein radii above 0")
        n_fitted = len(X) - round(self.held_out * len(X))
        keras.utils.set_random_seed(self.seed)
        network, model = build_networks(self.channels, self.along, self.hidden, self.dropout)
        images, seen = in_circles(X[:n_fitted], truth[:n_fitted])
        seen[:, 0] = np.log(seen[:, 0])
        middle, spread = _units(seen)
        views = Views(images, (seen - middle) / spread, self.batch, self.seed)
        course = Course("lens parameters", self.epochs, self.learning_rate)
        with tempfile.TemporaryDirectory() as scratch:
            self.curve_ = fit(
                model, views, course, checkpoint or Path(scratch) / "checkpoint.npz",
                progress or PlainProgress(io.StringIO(), time.monotonic), loss=laplace_loss,
            )  # fmt: skip
        facts = ParameterFacts(
            "lens-parameters", BAND, PIXEL_SCALE_ARCSEC, Stretch(), self.dropout, self.passes,
            self.seed, tuple(middle.tolist()), tuple(spread.tolist()), (1.0,) * len(PARAMETERS),
            {"n_lenses": n_fitted, **self.get_params()}, {},
        )  # fmt: skip
        self.model_ = network
        ready = in_batches(network)
        self.network_ = ParameterNetwork(ready, head_of(model, self), facts)
        if n_fitted < len(X):
            found = self.network_.estimate(X[n_fitted:])
            self.describe(widening=widening_of(found, truth[n_fitted:]))
        return self

    def describe(self, **facts: Any) -> None:
        """Say more of the network: fields of `ParameterFacts`."""
        check_is_fitted(self, "network_")
        changed = dataclasses.replace(self.network_.facts, **facts)
        self.network_ = dataclasses.replace(self.network_, facts=changed)

    def predict(self, X: NDArray[np.float32], return_std: bool = False) -> Any:
        """Estimate the parameters of lenses.

        Parameters
        ----------
        X : ndarray, shape (n, 100, 100), float32
        return_std : bool

        Returns
        -------
        ndarray, shape (n, 5), or a pair of them
            `PARAMETERS`, and one standard deviation of each.
        """
        check_is_fitted(self, "network_")
        estimates = self.network_.estimate(np.asarray(X, np.float32))
        return (estimates.mean, estimates.error) if return_std else estimates.mean

    def save(self, folder: Path) -> None:
        """Write the network, as `lensweep.scanner.network.lens_parameters` reads it."""
        check_is_fitted(self, "network_")
        save_parameter_network(folder, self.model_, self.network_.head, self.network_.facts)


def head_of(model: keras.Model, regressor: LensParameterRegressor) -> DroppedHead:
    """The dense layers of a whole network."""
    kernel, bias = model.get_layer("hidden").get_weights()
    out_kernel, out_bias = model.get_layer("answer").get_weights()
    return DroppedHead(
        kernel, bias, out_kernel, out_bias, regressor.dropout, regressor.passes, regressor.seed
    )


def widening_of(estimates: Estimates, y: NDArray[np.float64]) -> tuple[float, ...]:
    """By what errors must be multiplied so that 68 % of the truth lies within them."""
    miss = np.abs(estimates.mean - y) / estimates.error
    return tuple(np.quantile(miss, ONE_SIGMA, axis=0).tolist())


def coverage_of(estimates: Estimates, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of lenses whose truth lies within one standard deviation, by parameter."""
    return np.asarray((np.abs(estimates.mean - y) <= estimates.error).mean(axis=0))


def _units(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of parameters; turned lenses have the same of both components."""
    size = np.sqrt(np.square(y[:, 1:]).reshape(-1, 2, 2).mean(axis=(0, 2)))
    middle = np.array([y[:, 0].mean(), 0.0, 0.0, 0.0, 0.0])
    return middle, np.concatenate([[y[:, 0].std()], np.repeat(size, 2)])
