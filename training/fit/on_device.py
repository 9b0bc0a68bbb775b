"""Training on a device: cutouts are turned, flipped and stretched there, in larger batches."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.graph_input import stretched, turned_images
from lensweep.scanner.network.networks import on_gpu
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.data.stream import BATCH
from lensweep.training.fit.keras_on_tensorflow import keras

# The whole of Xception at 100 px in bfloat16 on an H200: 2,640 cutouts/s, where 64 at a time are
# 1,430; and each size takes 40 s to compile.
GPU_BATCH = 256


def batch_of(checkpoint: Path) -> int:
    """Cutouts in a batch: as a stopped training began, or as this machine is fast with."""
    if checkpoint.is_file():
        with np.load(checkpoint, allow_pickle=False) as kept:
            return int(kept["batch"]) if "batch" in kept else BATCH
    return GPU_BATCH if on_gpu() else BATCH


def learning_rate_of(batch: int, rate: float) -> float:
    """The learning rate for a batch, from that for `BATCH`: Adam's goes with the square root.

    Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms.
    """
    return rate * math.sqrt(batch / BATCH)


class Images(keras.layers.Layer):
    """From an unstretched batch of `lensweep.training.data.stream.Stream` to images."""

    def __init__(self) -> None:
        # In float32 whatever the network computes in.
        super().__init__(dtype="float32", trainable=False)

    def call(self, scaled: Any, turns: Any, flips: Any) -> Any:
        """Turn, flip, stretch: shape (n, size, size, 3)."""
        tf = import_tensorflow()
        turned = turned_images(scaled, turns)
        turned = tf.where(flips[:, None, None], turned[:, :, ::-1], turned)
        return stretched(Stretch(), turned)

    def compute_output_shape(self, scaled_shape: Any, turns_shape: Any, flips_shape: Any) -> Any:
        """That of the images."""
        return (*scaled_shape, 3)


def of_unstretched(classifier: keras.Model) -> keras.Model:
    """The same network, sharing its weights, that takes unstretched batches."""
    inputs = (
        keras.Input((CUTOUT_SIZE, CUTOUT_SIZE), dtype="float32"),
        keras.Input((), dtype="int32"),
        keras.Input((), dtype="bool"),
    )
    return keras.Model(inputs, classifier(Images()(*inputs)))
