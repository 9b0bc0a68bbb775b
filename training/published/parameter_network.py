"""The network of lens parameters: convolutions that know circles have no ends, and its loss."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lensweep.scanner.network.lens_parameters import (
    LARGEST_LOG_SQUARE,
    LEAST_LOG_SQUARE,
    PARAMETERS,
)
from lensweep.scanner.network.polar_views import SHAPE
from lensweep.training.fit.keras_on_tensorflow import keras

# How far each of the five convolutions steps, by radius and by angle; the first is 5 wide.
_STRIDES = ((2, 2), (1, 1), (2, 1), (1, 1), (2, 2))
# What a parameter counts in the loss: the Einstein radius is what the rest is asked beside.
_WEIGHTS = (1.0, 0.3, 0.3, 0.3, 0.3)


def build_networks(
    channels: Sequence[int], along: int, hidden: int, dropout: float
) -> tuple[keras.Model, keras.Model]:
    """The network to features, and the whole one, which shares its layers.

    No layer normalises: with batches' statistics the network was twice as bad as in training.

    Parameters
    ----------
    channels, along, hidden, dropout
        As of `lensweep.training.published.lens_parameters.LensParameterRegressor`.

    Returns
    -------
    network : keras.Model
        (n, *`lensweep.scanner.network.polar_views.SHAPE`) to (n, features).
    model : keras.Model
        To (n, 10): medians of the parameters, then the logarithms of their squared scales.
    """
    layers = keras.layers
    images = x = keras.Input(SHAPE)
    for number, (maps, strides) in enumerate(zip(channels, _STRIDES, strict=True)):
        x = _convolve(x, maps, 3 if number else 5, strides)
    # At every angle all radii at once, then those of the opposite angle too.
    by_angle = layers.Reshape((1, x.shape[2], -1))(layers.Permute((2, 1, 3))(x))
    x = _dense(by_angle, along)
    x = _dense(layers.Concatenate()([x, _opposite(x)]), along)
    x = layers.ReLU()(_kernel(along, (1, 3))(_around(x, 1)))
    # The same at any turn of the sky, and what turns with it.
    features = layers.Concatenate()([
        layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x),
        layers.Flatten()(_dense(x, along // 8)),
    ])  # fmt: skip
    x = layers.Dropout(dropout)(features)
    x = layers.Dense(hidden, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout)(x)
    small = keras.initializers.RandomNormal(stddev=0.01)
    answer = layers.Dense(2 * len(PARAMETERS), kernel_initializer=small, name="answer")(x)
    return keras.Model(images, features), keras.Model(images, answer)


def laplace_loss(y: Any, answer: Any) -> Any:
    """Negative logarithm of a Laplace distribution whose median and scale the network tells.

    Every lens counts by its scale, as Seitzer et al. (2022, ICLR) weight a normal distribution's by
    its standard deviation (their beta of a half): the median is learned of those that are hard to
    measure as of those that are easy.

    Parameters
    ----------
    y : tensor, shape (n, 5)
    answer : tensor, shape (n, 10)
    """
    ops = keras.ops
    median, log_square = ops.split(answer, 2, axis=-1)
    scale = ops.exp(0.5 * ops.clip(log_square, LEAST_LOG_SQUARE, LARGEST_LOG_SQUARE))
    loss = ops.stop_gradient(scale) * (ops.abs(y - median) / scale + ops.log(scale))
    return ops.mean(loss * np.array(_WEIGHTS, np.float32), axis=-1)


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
