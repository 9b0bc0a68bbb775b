"""A network from cutouts to a verdict: stem, preprocessing, pretrained trunk, head."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.pretrained import find_weights, load_trunk, load_weights

INPUT_SHAPE = (CUTOUT_SIZE, CUTOUT_SIZE, 3)
STEM, PREPROCESSING = "stem", "preprocessing"
# Means of ImageNet's blue, green and red (keras.applications.imagenet_utils).
_CAFFE_MEANS = (103.939, 116.779, 123.68)


def build_trunk(config: TrainConfig) -> keras.Model:
    """Build stem, preprocessing and trunk, with the weights that the config asks for.

    Parameters
    ----------
    config : TrainConfig

    Returns
    -------
    keras.Model
        (n, 100, 100, 3) within [-1, 1], as `lensweep.scanner.network.stretch` makes it, to
        (n, features) float32.

    Raises
    ------
    InputError
        If the weights cannot be had, or are those of another network.
    """
    path = find_weights(config.backbone, config.init, config.weights, config.weights_sha256)
    keras.utils.set_random_seed(config.seed)
    trunk, pretrained = _assemble(config)
    if path is not None and config.init == "bundle":
        load_trunk(trunk, path, config.size_px, config.backbone)
    elif path is not None:
        load_weights(pretrained, path, config.backbone)
    return trunk


def rebuild_trunk(config: TrainConfig, like: keras.Model, policy: str) -> keras.Model:
    """Build the same trunk once more, computing in another precision.

    Parameters
    ----------
    config : TrainConfig
    like : keras.Model
        Whose weights it takes.
    policy : str
        A Keras dtype policy, such as `mixed_bfloat16`.
    """
    with _policy(policy):
        trunk, _ = _assemble(config)
    trunk.set_weights(like.get_weights())
    return trunk


@contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _assemble(config: TrainConfig) -> tuple[keras.Model, keras.Model]:
    """The trunk on cutouts, and its pretrained part alone, which shares the layers."""
    backbone = BACKBONES[config.backbone]
    images = keras.Input(INPUT_SHAPE)
    scaled = preprocess(_upsample(images, config), backbone.caffe)
    features = backbone.build(
        weights=None, include_top=False, pooling="avg", input_tensor=scaled
    ).output
    return keras.Model(images, features), keras.Model(scaled, features)


def _upsample(images: keras.KerasTensor, config: TrainConfig) -> keras.KerasTensor:
    """Bring cutouts to the input size: a transposed convolution, and a resize where it must.

    It begins as bilinear interpolation (beyond the edge lies zero) to the next multiple of the
    cutout's size; what remains to the input size is done by plain resizing.
    """
    size = config.size_px
    factor = max(1, -(-size // CUTOUT_SIZE))
    if factor > 1 or config.stem == "learned":
        kernel = bilinear_kernel(factor)
        stem = keras.layers.Conv2DTranspose(
            3, kernel.shape[:2], strides=factor, padding="same", use_bias=True, name=STEM,
            trainable=config.stem == "learned",
        )  # fmt: skip
        images = stem(images)
        stem.set_weights([kernel, np.zeros(3, np.float32)])
    if size != factor * CUTOUT_SIZE:
        images = keras.layers.Resizing(size, size, dtype="float32")(images)
    return images


def bilinear_kernel(factor: int) -> NDArray[np.float32]:
    """The kernel of a transposed convolution that interpolates bilinearly.

    Parameters
    ----------
    factor : int
        How many times larger; for 1, the identity on 3 x 3 pixels.

    Returns
    -------
    ndarray, shape (k, k, 3, 3), float32
        Every channel onto itself.
    """
    width = max(3, 2 * factor - factor % 2)
    distance = np.abs(np.arange(width) - (width - 1) / 2.0)
    line = np.clip(1.0 - distance / factor, 0.0, None)
    kernel = line[:, None, None, None] * line[:, None, None] * np.eye(3)
    return np.asarray(kernel, np.float32)


def preprocess(images: keras.KerasTensor, caffe: bool) -> keras.KerasTensor:
    """From [-1, 1] to what the network was pretrained on, as a frozen 1 x 1 convolution."""
    if not caffe:
        return images
    layer = keras.layers.Conv2D(3, 1, name=PREPROCESSING, trainable=False)
    scaled = layer(images)
    turned = 127.5 * np.eye(3, dtype=np.float32)[::-1]
    layer.set_weights([turned[None, None], np.asarray(127.5 - np.array(_CAFFE_MEANS), np.float32)])
    return scaled


def split_trunk(trunk: keras.Model, config: TrainConfig) -> tuple[keras.Model, keras.Model]:
    """Split a trunk into the part that stays frozen and the last blocks, sharing its layers."""
    assert config.last_blocks, "a config for last-N"
    backbone = BACKBONES[config.backbone]
    layer = trunk.get_layer(backbone.cuts[config.last_blocks])
    middle = layer.output if backbone.cut_after else layer.input
    return keras.Model(trunk.input, middle), keras.Model(middle, trunk.output)


def choose_trainable(trunk: keras.Model, config: TrainConfig) -> None:
    """Freeze what the config does not train.

    Batch normalisation keeps its pretrained statistics and scales; only a network from random
    weights learns its own.
    """
    if config.last_blocks is None:
        adapted = set(trunk.layers)
    elif config.last_blocks == 0:
        adapted = set()
    else:
        adapted = set(split_trunk(trunk, config)[1].layers)
    for layer in trunk.layers:
        if layer.name == STEM:
            layer.trainable = config.stem == "learned"
        elif layer.name == PREPROCESSING:
            layer.trainable = False
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = layer in adapted and config.init == "random"
        else:
            layer.trainable = layer in adapted


def add_head(features: keras.Model, dropout: float) -> keras.Model:
    """Dropout and one logit on top, for training through the trunk; computed in float32."""
    inputs = keras.Input(features.input_shape[1:])
    dropped = keras.layers.Dropout(dropout)(features(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(dropped))


def round_kernels(trunk: keras.Model) -> None:
    """Round convolution kernels to half precision, as bundles keep them, before heads see them."""
    trunk.set_weights(
        [w.astype(np.float16).astype(np.float32) if w.ndim == 4 else w
         for w in trunk.get_weights()]
    )  # fmt: skip
