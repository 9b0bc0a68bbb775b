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
from lensweep.scanner.network.polar_views import N_ANGLES, SHAPE, circles_of, polar_images
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.loop import Course, fit
from lensweep.training.simulation.light import ellipticity

BAND = "F814W"
# Share of a normal distribution within one standard deviation.
ONE_SIGMA = 0.6827
MIDDLE_PX = (CUTOUT_SIZE - 1) / 2.0
# Of the convolutions, the first of which is 5 wide; how far each steps, by radius and by angle.
CHANNELS = (16, 32, 48, 48, 48)
_STRIDES = ((2, 2), (1, 1), (2, 1), (1, 1), (2, 2))
# What a parameter counts in the loss: the Einstein radius is what the rest is asked beside.
_WEIGHTS = (1.0, 0.3, 0.3, 0.3, 0.3)
# Lenses are shown the more often the rarer their Einstein radius is: by the root of how many there
# are in its bin, of which none counts as rarer than this many.
_BINS, _FEWEST = 20, 20
_BLOCK = 128


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
        Last share of the lenses, which widen the errors until they cover 68 %.
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
        """
        truth: NDArray[np.float64] = np.asarray(y, np.float64)
        n_fitted = len(X) - round(self.held_out * len(X))
        keras.utils.set_random_seed(self.seed)
        network, model = build_networks(self)
        images, seen = _seen(X[:n_fitted], truth[:n_fitted])
        seen[:, 0] = np.log(seen[:, 0])
        middle, spread = _units(seen)
        views = _Views(images, (seen - middle) / spread, self.batch, self.seed)
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


def build_networks(regressor: LensParameterRegressor) -> tuple[keras.Model, keras.Model]:
    """The network to features, and the whole one, which shares its layers.

    No layer normalises: with batches' statistics the network was twice as bad as in training.

    Returns
    -------
    network : keras.Model
        (n, *`lensweep.scanner.network.polar_views.SHAPE`) to (n, features).
    model : keras.Model
        To (n, 10): means of the parameters, then the logarithms of their variances.
    """
    layers = keras.layers
    images = x = keras.Input(SHAPE)
    for number, (channels, strides) in enumerate(zip(regressor.channels, _STRIDES, strict=True)):
        x = _convolve(x, channels, 3 if number else 5, strides)
    # At every angle all radii at once, then those of the opposite angle too.
    by_angle = layers.Reshape((1, x.shape[2], -1))(layers.Permute((2, 1, 3))(x))
    x = _dense(by_angle, regressor.along)
    x = _dense(layers.Concatenate()([x, _opposite(x)]), regressor.along)
    x = layers.ReLU()(_kernel(regressor.along, (1, 3))(_around(x, 1)))
    # The same at any turn of the sky, and what turns with it.
    features = layers.Concatenate()([
        layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x),
        layers.Flatten()(_dense(x, regressor.along // 8)),
    ])  # fmt: skip
    x = layers.Dropout(regressor.dropout)(features)
    x = layers.Dense(regressor.hidden, activation="relu", name="hidden")(x)
    x = layers.Dropout(regressor.dropout)(x)
    small = keras.initializers.RandomNormal(stddev=0.01)
    answer = layers.Dense(2 * len(PARAMETERS), kernel_initializer=small, name="answer")(x)
    return keras.Model(images, features), keras.Model(images, answer)


def laplace_loss(y: Any, answer: Any) -> Any:
    """Negative logarithm of a Laplace distribution whose median and scale the network tells.

    Every lens counts by its scale: the median, which an absolute error is least for, is learned of
    those that are hard to measure as of those that are easy.

    Parameters
    ----------
    y : tensor, shape (n, 5)
    answer : tensor, shape (n, 10)
    """
    ops = keras.ops
    median, log_variance = ops.split(answer, 2, axis=-1)
    scale = ops.exp(0.5 * ops.clip(log_variance, -9.0, 4.0))
    loss = ops.stop_gradient(scale) * (ops.abs(y - median) / scale + ops.log(scale))
    return ops.mean(loss * np.array(_WEIGHTS, np.float32), axis=-1)


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


def share_of_rare(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often lenses are shown, in all once; rare ones more often than they are."""
    counts, edges = np.histogram(values, _BINS)
    as_many = counts[np.clip(np.digitize(values, edges) - 1, 0, _BINS - 1)]
    share = 1.0 / np.sqrt(np.maximum(as_many, _FEWEST))
    return np.asarray(share / share.sum())


class _Views:
    """Batches of lenses in circles, each turned and perhaps mirrored anew, and their parameters."""

    def __init__(
        self, images: NDArray[np.float16], y: NDArray[np.float64], batch: int, seed: int
    ) -> None:
        self._images, self._y, self._seed = images, y, seed
        self._share = share_of_rare(y[:, 0])
        self.size = min(batch, len(images))

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches."""
        return len(self._images) // self.size

    def batches(
        self, first: int, stop: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Batches first:stop."""
        for number in range(first, stop):
            rng = np.random.default_rng([self._seed, 51, number])
            rows = rng.choice(len(self._images), self.size, p=self._share)
            yield turned_at_random(self._images[rows], self._y[rows], rng)


def _units(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of parameters; turned lenses have the same of both components."""
    size = np.sqrt(np.square(y[:, 1:]).reshape(-1, 2, 2).mean(axis=(0, 2)))
    middle = np.array([y[:, 0].mean(), 0.0, 0.0, 0.0, 0.0])
    return middle, np.concatenate([[y[:, 0].std()], np.repeat(size, 2)])


def _seen(
    flux: NDArray[np.float32], y: NDArray[np.float64]
) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """Circles in half precision, since they lie within [-1, 1]; and parameters about them."""
    stretch, told = Stretch(), y.copy()
    images = np.empty((len(flux), *SHAPE), np.float16)
    for first in range(0, len(flux), _BLOCK):
        block = slice(first, first + _BLOCK)
        circles = circles_of(flux[block])
        images[block] = polar_images(stretch, circles)
        told[block, 3:] -= np.stack([circles.x_arcsec, circles.y_arcsec], axis=1)
    return images, told


def _convolve(
    x: keras.KerasTensor, channels: int, width: int, strides: tuple[int, int]
) -> keras.KerasTensor:
    """Circles have no ends; beyond the outer and within the inner one is nothing."""
    x = keras.layers.ZeroPadding2D((width // 2, 0))(_around(x, width // 2))
    return keras.layers.ReLU()(_kernel(channels, (width, width), strides)(x))


def _dense(x: keras.KerasTensor, units: int) -> keras.KerasTensor:
    """The same layer at every place."""
    return keras.layers.ReLU()(_kernel(units, (1, 1))(x))


def _kernel(
    channels: int, size: tuple[int, int], strides: tuple[int, int] = (1, 1)
) -> keras.layers.Layer:
    return keras.layers.Conv2D(channels, size, strides, kernel_initializer="he_normal")


def _around(x: keras.KerasTensor, n: int) -> keras.KerasTensor:
    """Angles with the last n of them again before the first, and the first after the last."""
    angles = x.shape[2]
    before, after = (keras.layers.Cropping2D(((0, 0), sides))(x)
                     for sides in ((angles - n, 0), (0, angles - n)))  # fmt: skip
    return keras.layers.Concatenate(axis=2)([before, x, after])


def _opposite(x: keras.KerasTensor) -> keras.KerasTensor:
    """What lies on the other side of the lens."""
    half = x.shape[2] // 2
    halves = (keras.layers.Cropping2D(((0, 0), sides))(x) for sides in ((half, 0), (0, half)))
    return keras.layers.Concatenate(axis=2)(list(halves))
