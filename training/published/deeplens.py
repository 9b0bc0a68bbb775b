"""CMU DeepLens (Lanusse et al. 2018): pre-activated bottleneck residual units in five stages.

Network, clipping, augmentation and schedule are those of the authors' code
(github McWilliamsCenter/CMUDeepLens); where it leaves things to Lasagne, its defaults hold: batch
normalisation goes in front of a layer's activation, in the place of its bias, and forgets a tenth
of its mean and variance a step. Its last pooling is over 3 x 3 pixels, which at their 45
pixels a side is the whole map: here, for any size, it is over the whole map.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.scanner.network.stretch import Stretch
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.published.network_finder import NetworkFinder

# Inner and outer maps of the units of each stage, of three units; the second and later stages
# halve the size in their first unit.
FIRST_MAPS, FIRST_WIDTH_PX = 32, 7
STAGES = ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512))
UNITS = 3
# Of batch normalisation: Lasagne's own.
MOMENTUM, EPSILON = 0.9, 1e-4
CLIP_SIGMA = 250.0
# Of 120 passes; the rate falls to a tenth after each third.
EPOCHS, RATE_FALLS = 120, 3
ROTATION_DEG, LEAST_ZOOM = 90.0, 0.9
MEAN_IMAGE = "mean_image"


class DeepLens(NetworkFinder):
    """CMU DeepLens.

    Parameters
    ----------
    epochs : int
    batch_size : int
    learning_rate : float
        Adam's, in the first third of the passes.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        epochs: int = EPOCHS,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The untrained network, (n, height, width, 1) to one log-odds each."""
        images = keras.Input(shape)
        x = _less_mean_image(_unstretched(images), shape)
        x = keras.layers.Conv2D(FIRST_MAPS, FIRST_WIDTH_PX, padding="same", use_bias=False)(x)
        x = _activated(x)
        for stage, (inner, outer) in enumerate(STAGES):
            for unit in range(UNITS):
                # The very first has been activated already.
                before = _activated(x) if stage or unit else x
                x = _unit(x, before, inner, outer, 2 if stage and not unit else 1)
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(images, keras.layers.Dense(1)(x), name="deeplens")

    def optimizer(self, n_steps: int, learning_rate: float) -> Any:
        """Adam, whose rate falls to a tenth after each third of the steps."""
        falls = [max(1, n_steps * third // RATE_FALLS) for third in range(1, RATE_FALLS)]
        rates = [learning_rate * 0.1**fall for fall in range(RATE_FALLS)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(falls, rates)
        return keras.optimizers.Adam(schedule)

    def augmented(
        self, scaled: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Rotation to 90 degrees either way, both flips, zoom 0.9 to 1; the edges wrap."""
        return np.stack([_turned_and_zoomed(image, rng) for image in scaled])

    def prepare(self, network: keras.Model, scaled: NDArray[np.float32]) -> None:
        """Put the mean image where it is subtracted."""
        mean = np.minimum(scaled, CLIP_SIGMA).mean(axis=0)
        network.get_layer(MEAN_IMAGE).set_weights([np.ones((1, 1)), -mean[..., None]])


def _unstretched(images: keras.KerasTensor) -> keras.KerasTensor:
    """From the faint channel back to units of the noise, to at most `CLIP_SIGMA` of them."""
    stretch = Stretch()
    sigmas = stretch.faint_sigma * keras.ops.sinh(stretch.span * (images + 0.5))
    return keras.ops.minimum(sigmas, CLIP_SIGMA)


def _less_mean_image(x: keras.KerasTensor, shape: tuple[int, int, int]) -> keras.KerasTensor:
    """Subtract the mean image of the training set: the bias of a layer that changes no more."""
    layer = keras.layers.EinsumDense(
        "bhwc,cd->bhwd", shape, bias_axes="hwd", name=MEAN_IMAGE, trainable=False
    )
    return layer(x)


def _unit(
    x: keras.KerasTensor, before: keras.KerasTensor, inner: int, outer: int, stride: int
) -> keras.KerasTensor:
    """1 x 1, 3 x 3, 1 x 1 of what is activated before; the first carries the stride."""
    carried = x
    if stride > 1 or x.shape[-1] != outer:
        carried = _convolution(outer, 1, stride)(before)
    x = _activated(_convolution(inner, 1, stride)(before))
    x = _activated(_convolution(inner, 3)(x))
    return keras.layers.Add()([carried, _convolution(outer, 1)(x)])


def _activated(x: keras.KerasTensor) -> keras.KerasTensor:
    normalise = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)
    return keras.layers.ELU()(normalise(x))


def _convolution(maps: int, width_px: int, stride: int = 1) -> keras.layers.Layer:
    return keras.layers.Conv2D(maps, width_px, stride, "same", kernel_initializer="he_normal")


def _turned_and_zoomed(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    angle = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    matrix = rng.uniform(LEAST_ZOOM, 1.0) * turn @ np.diag(flips)
    centre = (np.array(image.shape) - 1.0) / 2.0
    return np.asarray(
        ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="grid-wrap")
    )
