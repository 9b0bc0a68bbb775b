"""Layers of small residual networks (He et al. 2016): convolution, normalisation, ReLU."""

from lensweep.training.fit.keras_on_tensorflow import keras


def residual(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    """Two convolutions of 3 x 3 beside a shortcut, which a stride makes a convolution too."""
    shortcut = x if stride == 1 else _normalised(x, channels, 1, stride)
    inner = _normalised(convolve(x, channels, 3, stride), channels, 3, 1)
    return keras.layers.ReLU()(keras.layers.Add()([shortcut, inner]))


def convolve(x: keras.KerasTensor, channels: int, width: int, stride: int) -> keras.KerasTensor:
    """One convolution."""
    return keras.layers.ReLU()(_normalised(x, channels, width, stride))


def _normalised(
    x: keras.KerasTensor, channels: int, width: int, stride: int
) -> keras.KerasTensor:
    convolution = keras.layers.Conv2D(channels, width, stride, "same", use_bias=False)
    return keras.layers.BatchNormalization()(convolution(x))
