"""Layers of small residual networks (He et al. 2016): convolution, normalisation, ReLU."""

from lensweep.training.fit.keras_on_tensorflow import keras

# Of the means that a trained network is asked with. Keras' own 0.99 has forgotten its beginning
# after some 500 steps, which a small training does not have.
MOMENTUM = 0.9


def residual(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    """Two convolutions of 3 x 3 beside a shortcut, which a stride makes a convolution too."""
    shortcut = x if stride == 1 else _normalised(x, channels, 1, stride)
    inner = _normalised(convolve(x, channels, 3, stride), channels, 3, 1)
    return keras.layers.ReLU()(keras.layers.Add()([shortcut, inner]))


def convolve(x: keras.KerasTensor, channels: int, width: int, stride: int) -> keras.KerasTensor:
    """One convolution."""
    return keras.layers.ReLU()(_normalised(x, channels, width, stride))


def _normalised(x: keras.KerasTensor, channels: int, width: int, stride: int) -> keras.KerasTensor:
    convolution = keras.layers.Conv2D(channels, width, stride, "same", use_bias=False)
    return keras.layers.BatchNormalization(momentum=MOMENTUM)(convolution(x))
