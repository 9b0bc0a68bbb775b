"""Lens parameters from one look at a cutout: the networks of Hezaveh et al. (2017), their errors.

Hezaveh, Perreault Levasseur & Marshall (2017, Nature 548, 555) trained AlexNet, OverFeat, Inception
and a network of their own on lenses whose light had been removed. Ours is one small network that
sees cutouts as a scan cuts them, light and all, but in circles about the brightest light. The loss
and the dropout are those of Perreault Levasseur, Hezaveh & Wechsler (2017, ApJL 850, L7).
"""

import dataclasses
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

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
from lensweep.scanner.network.polar_views import (
    N_ANGLES,
    SHAPE,
    polar_images,
    view_brightest,
    wrapped,
)
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.loop import Course, fit
from lensweep.training.simulation.light import ellipticity

BAND = "F814W"
# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
MIDDLE_PX = (CUTOUT_SIZE - 1) / 2.0
# Of the convolutions: the first is 5 wide, every other one halves the size.
CHANNELS = (8, 16, 24, 32, 48)
_BLOCK = 256


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
        Of the convolutions.
    reduced : int
        Channels that the hidden layer reads at every place of what they leave.
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
        Last share of the lenses, which widen the errors until they cover 68 %.
    seed : int
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        reduced: int = 32,
        hidden: int = 192,
        dropout: float = 0.1,
        passes: int = 24,
        epochs: int = 27,
        batch: int = 64,
        learning_rate: float = 1.5e-3,
        held_out: float = 0.1,
        seed: int = 2018,
    ) -> None:
        self.channels = channels
        self.reduced = reduced
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
        """
        truth: NDArray[np.float64] = np.asarray(y, np.float64)
        n_fitted = len(X) - round(self.held_out * len(X))
        images, seen = _seen(X[:n_fitted], truth[:n_fitted])
        middle, spread = _units(seen)
        keras.utils.set_random_seed(self.seed)
        network, model = build_networks(self)
        views = _Views(images, (seen - middle) / spread, self.batch, self.seed)
        course = Course("lens parameters", self.epochs, self.learning_rate)
        with tempfile.TemporaryDirectory() as scratch:
            self.curve_ = fit(
                model, views, course, checkpoint or Path(scratch) / "checkpoint.npz",
                progress or PlainProgress(io.StringIO(), time.monotonic), loss=gaussian_loss,
            )  # fmt: skip
        facts = ParameterFacts(
            "lens-parameters", BAND, PIXEL_SCALE_ARCSEC, Stretch(), self.dropout, self.passes,
            self.seed, tuple(middle.tolist()), tuple(spread.tolist()), (1.0,) * len(PARAMETERS),
            {"n_lenses": n_fitted, **self.get_params()}, {},
        )  # fmt: skip
        self.model_ = network
        ready = in_batches(network, facts.stretch)
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


def build_networks(regressor: LensParameterRegressor) -> tuple[keras.Model, keras.Model]:
    """The network to features, and the whole one, which shares its layers.

    Returns
    -------
    network : keras.Model
        (n, *`polar_views.SHAPE`) to (n, features).
    model : keras.Model
        To (n, 10): means of the parameters, then the logarithms of their variances.
    """
    images = x = keras.Input(SHAPE)
    for number, channels in enumerate(regressor.channels):
        x = _convolve(x, channels, 3 if number else 5, 1 if number % 2 else 2)
    features = keras.layers.Flatten()(_convolve(x, regressor.reduced, 1, 1))
    x = keras.layers.Dropout(regressor.dropout)(features)
    x = keras.layers.Dense(regressor.hidden, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(regressor.dropout)(x)
    answer = keras.layers.Dense(2 * len(PARAMETERS), name="answer")(x)
    return keras.Model(images, features), keras.Model(images, answer)


def gaussian_loss(y: Any, answer: Any) -> Any:
    """Negative logarithm of a normal distribution whose mean and variance the network tells.

    Every parameter counts by its mean variance in the batch: a centre, which is known to a
    hundredth of its spread, would otherwise outweigh an Einstein radius ten thousand times, and
    nothing else be learned.

    Parameters
    ----------
    y : tensor, shape (n, 5)
    answer : tensor, shape (n, 10)
    """
    ops = keras.ops
    mean, log_variance = ops.split(answer, 2, axis=-1)
    log_variance = ops.clip(log_variance, -9.0, 4.0)
    weight = ops.stop_gradient(ops.mean(ops.exp(log_variance), axis=0))
    miss = ops.square(y - mean) * ops.exp(-log_variance)
    return 0.5 * ops.mean(weight * (miss + log_variance), axis=-1)


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


def turned_at_random(
    images: NDArray[np.floating], y: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn lenses in circles by any angle, mirror half of them, and their parameters with them.

    Parameters
    ----------
    images : ndarray, shape (n, radii, angles, channels)
        As of `lensweep.scanner.network.polar_views.polar_images`.
    y : ndarray, shape (n, 5)
        Of `PARAMETERS`, centres from the middle of the circles; in any units, if both components of
        an ellipticity and of a centre have one.
    rng : numpy.random.Generator
    """
    steps, mirrored = rng.integers(N_ANGLES, size=len(images)), rng.random(len(images)) < 0.5
    origin = (np.arange(N_ANGLES) - steps[:, None]) % N_ANGLES
    origin = np.where(mirrored[:, None], -origin % N_ANGLES, origin)
    out = np.take_along_axis(images, origin[:, None, :, None], axis=2)
    sign, angle = np.where(mirrored, -1.0, 1.0), 2.0 * np.pi * steps / N_ANGLES
    told = [y[:, 0]]
    # An ellipse is turned by twice the angle, a place by once.
    for times, first, second in ((2.0, y[:, 1], y[:, 2]), (1.0, y[:, 3], y[:, 4])):
        cos, sin = np.cos(times * angle), np.sin(times * angle)
        told += [first * cos - sign * second * sin, first * sin + sign * second * cos]
    return out.astype(np.float32), np.stack(told, axis=1).astype(np.float32)


class _Views:
    """Batches of lenses in circles, each turned and perhaps mirrored anew, and their parameters."""

    def __init__(
        self, images: NDArray[np.float16], y: NDArray[np.float64], batch: int, seed: int
    ) -> None:
        self._images, self._y, self._seed = images, y, seed
        self.size = min(batch, len(images))

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches; what is left over differs from epoch to epoch."""
        return len(self._images) // self.size

    def batches(
        self, first: int, stop: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Batches first:stop."""
        for number in range(first, stop):
            epoch, index = divmod(number, self.batches_per_epoch)
            order = np.random.default_rng([self._seed, 50, epoch]).permutation(len(self._images))
            rows = order[index * self.size : (index + 1) * self.size]
            rng = np.random.default_rng([self._seed, 51, number])
            images, y = turned_at_random(self._images[rows], self._y[rows], rng)
            yield wrapped(images), y


def _units(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of parameters; turned lenses have the same of both components."""
    size = np.sqrt(np.square(y[:, 1:]).reshape(-1, 2, 2).mean(axis=(0, 2)))
    middle = np.array([y[:, 0].mean(), 0.0, 0.0, 0.0, 0.0])
    return middle, np.concatenate([[y[:, 0].std()], np.repeat(size, 2)])


def _seen(
    flux: NDArray[np.float32], y: NDArray[np.float64]
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Circles in half precision, since they lie within [-1, 1]; and parameters about them."""
    stretch, told, parts = Stretch(), y.copy(), []
    for first in range(0, len(flux), _BLOCK):
        block = slice(first, first + _BLOCK)
        views, x_arcsec, y_arcsec = view_brightest(flux[block])
        parts.append(polar_images(stretch, views).astype(np.float16))
        told[block, 3:] -= np.stack([x_arcsec, y_arcsec], axis=1)
    return np.concatenate(parts), told


def _convolve(x: keras.KerasTensor, channels: int, width: int, stride: int) -> keras.KerasTensor:
    convolution = keras.layers.Conv2D(channels, width, stride, "same", use_bias=False)
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(convolution(x)))
