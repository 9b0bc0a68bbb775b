"""The thesis' transfer-learned networks, by its own recipe (section 5 and equations 2 to 5).

A few deconvolutions bring the one channel to the size and the three channels of the pretrained
network; its intermediate layers stay as they are, are all trained, or begin at random by Xavier
Glorot's rule; its last layers are replaced by equivalent ones for two classes, with batch
normalisation and dropout. What the thesis does not say, and is our choice: two deconvolutions, the
first of 16 maps, the second of 5 x 5 pixels and within [-1, 1]; that they enlarge by a whole
factor, and plain resizing does the rest; that in front of pretrained layers they begin as
interpolation, for what these see through random ones is no picture any more; dropout of a half, as
VGG's authors; the passes, the batch and the rate, which falls as half a cosine: at one rate
throughout, a network of some hundred steps is as good as its last few; and the momentum of batch
normalisation: with Keras' own such a network is asked with means that still hold its beginning, and
answers at random however well it has learned.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.settings import one_of
from lensweep.training.data.augment import transform_at_random
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.classifier import bilinear_kernel, preprocess
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.pretrained import find_weights, load_weights
from lensweep.training.fit.residual import MOMENTUM
from lensweep.training.published.network_finder import NetworkFinder

# Those of Table 5-1, in its order.
NETWORKS = ("xception", "inceptionv3", "resnet50", "nasnetlarge", "vgg16", "vgg19")
MIDDLES = ("frozen", "trained", "xavier")
# Equations 2 to 5: RMSProp forgets a tenth a step, and 1e-8 keeps it from dividing by nothing.
_DECAY, _EPSILON = 0.9, 1e-8
OPTIMIZERS = {
    "sgd": lambda rate: keras.optimizers.SGD(rate),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate, rho=_DECAY, epsilon=_EPSILON),
    "adam": lambda rate: keras.optimizers.Adam(rate, epsilon=_EPSILON),
    "nadam": lambda rate: keras.optimizers.Nadam(rate, epsilon=_EPSILON),
}
# Share of the steps in which the rate rises.
RISING = 0.1
FRONT, FRONT_MAPS, SECOND_WIDTH_PX = ("deconvolution_1", "deconvolution_2"), 16, 5
# VGG's two dense layers before its last (Simonyan & Zisserman 2014); the others have none.
DENSE = {"vgg16": (4096, 4096), "vgg19": (4096, 4096)}


class ThesisNetwork(NetworkFinder):
    """One of the six networks of Table 5-1.

    Parameters
    ----------
    backbone : str
        One of `NETWORKS`.
    middle : str
        ``frozen``: the pretrained layers stay as they are. ``trained``: they begin pretrained, and
        all is trained. ``xavier``: all begins at random, and is trained.
    optimizer_name : str
        One of `OPTIMIZERS`.
    epochs, batch_size : int
    learning_rate : float
        The highest.
    dropout : float
    input_px : int
        Pixels a side to which a whole cutout is brought; 0: those of the pretraining.
    augment : bool
        Whether cutouts are changed at random in every pass, and not beforehand.
    weights : str
        File of its ImageNet weights without the top; empty for Keras' download.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        backbone: str = "xception",
        middle: str = "frozen",
        optimizer_name: str = "adam",
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        dropout: float = 0.5,
        input_px: int = 0,
        augment: bool = True,
        weights: str = "",
        random_state: Any = None,
    ) -> None:
        self.backbone = backbone
        self.middle = middle
        self.optimizer_name = optimizer_name
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.input_px = input_px
        self.augment = augment
        self.weights = weights
        self.random_state = random_state

    def check(self) -> None:
        """Look over what does not depend on any cutout; `find_weights` looks for the weights.

        Raises
        ------
        InputError
            If a name is not known, or the network cannot take so few pixels.
        """
        one_of("backbone", self.backbone, NETWORKS)
        one_of("middle", self.middle, MIDDLES)
        one_of("optimizer_name", self.optimizer_name, tuple(OPTIMIZERS))
        smallest = BACKBONES[self.backbone].smallest_size
        if 0 < self.input_px < smallest:
            raise InputError(
                f"input_px = {self.input_px}: {self.backbone} takes {smallest} a side or more"
            )

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The network before it is trained, (n, height, width, 1) to two log-odds each."""
        self.check()
        path = self.find_weights()
        network, pretrained = self.layers(shape)
        if path is not None:
            load_weights(pretrained, path, self.backbone)
            interpolate(network)
        else:
            xavier(network, self._seed())
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
        for layer in pretrained.layers:
            layer.trainable = self.middle != "frozen"
        return network

    def find_weights(self) -> Path | None:
        """The file of the pretrained weights, checked; None where all begins at random.

        Raises
        ------
        InputError
            If there is none, and Keras cannot download it.
        """
        init = "random" if self.middle == "xavier" else "imagenet"
        return find_weights(self.backbone, init, self.weights, "")

    def layers(self, shape: tuple[int, int, int]) -> tuple[keras.Model, keras.Model]:
        """The whole network and, sharing its layers, what of it is pretrained; any weights."""
        known = BACKBONES[self.backbone]
        images = keras.Input(shape)
        scaled = preprocess(_deconvolved(images, self.input_px or known.native_size), known.caffe)
        maps = known.build(weights=None, include_top=False, input_tensor=scaled).output
        x = self._head(maps)
        network = keras.Model(images, keras.layers.Dense(2)(x), name=self.backbone)
        return network, keras.Model(scaled, maps)

    def optimizer(self, n_steps: int, learning_rate: float) -> Any:
        """That of `optimizer_name`; the rate rises at first, and falls to nothing."""
        rising = round(RISING * n_steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, n_steps - rising), warmup_target=learning_rate, warmup_steps=rising
        )
        return OPTIMIZERS[self.optimizer_name](rate)

    def augmented(
        self, scaled: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Rotation, zoom, shear and flips of section 5.1; nothing beyond the edge."""
        if not self.augment:
            return scaled
        return np.nan_to_num(transform_at_random(scaled, rng, most_shift_px=0.0), copy=False)

    def _head(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        dense = DENSE.get(self.backbone, ())
        pool = keras.layers.Flatten() if dense else keras.layers.GlobalAveragePooling2D()
        x = keras.layers.BatchNormalization()(pool(maps))
        for width in dense:
            x = keras.layers.Dense(width, activation="relu")(keras.layers.Dropout(self.dropout)(x))
        return keras.layers.Dropout(self.dropout)(x)


def xavier(network: keras.Model, seed: int) -> None:
    """Begin all kernels that are trained by Glorot & Bengio's (2010) rule; NASNet's is another."""
    for number, variable in enumerate(network.trainable_variables):
        if variable.name.endswith("kernel") and len(variable.shape) > 1:
            begin = keras.initializers.GlorotUniform(seed + number)
            variable.assign(begin(variable.shape))


def _deconvolved(images: keras.KerasTensor, size_px: int) -> keras.KerasTensor:
    """A few learned deconvolutions to three channels, and resizing to the exact size."""
    factor = max(1, -(-size_px // images.shape[1]))
    layers = (
        (FRONT_MAPS, len(bilinear_kernel(factor)), factor, "relu"),
        (3, SECOND_WIDTH_PX, 1, "tanh"),
    )
    for name, (maps, width_px, stride, activation) in zip(FRONT, layers, strict=True):
        images = keras.layers.Conv2DTranspose(
            maps, width_px, stride, "same", activation=activation, name=name
        )(images)
    if images.shape[1] == size_px:
        return images
    return keras.layers.Resizing(size_px, size_px, dtype="float32")(images)


def interpolate(network: keras.Model) -> None:
    """Begin the deconvolutions as bilinear interpolation (Long et al. 2015), but for the tanh.

    Of the first layer's maps one is what lies above zero and one what lies below it; the second
    layer takes their difference into each channel, and of the other maps, which begin at random,
    nothing yet.
    """
    first, second = (network.get_layer(name) for name in FRONT)
    kernel, bias = first.get_weights()
    between = bilinear_kernel(first.strides[0])[:, :, 0, 0]
    kernel[:, :, 0, 0], kernel[:, :, 1, 0] = between, -between
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    centre = SECOND_WIDTH_PX // 2
    kernel[:] = 0.0
    kernel[centre, centre, :, :2] = (1.0, -1.0)
    second.set_weights([kernel, bias])
