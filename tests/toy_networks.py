"""A pretrained network's place taken by a real one that is small: for tests of all around it."""

from dataclasses import dataclass

import keras

from lensweep.training.fit.backbones import Backbone


@dataclass(frozen=True)
class ToyBackbone(Backbone):
    """Three blocks of one convolution each, as VGG's are of several."""

    width: int = 8

    def build(self, *, weights, include_top, pooling, input_tensor):
        assert (weights, include_top, pooling) == (None, False, "avg")
        x = input_tensor
        for block in (1, 2, 3):
            conv = keras.layers.Conv2D(
                block * self.width, 3, strides=2, activation="relu", name=f"block{block}_conv"
            )
            x = conv(x)
        inputs = keras.utils.get_source_inputs(input_tensor)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def toy(width) -> ToyBackbone:
    return ToyBackbone(
        constructor="", native_size=32, smallest_size=32, caffe=True, parameters=0, source="",
        md5="", cuts={n: f"block{4 - n}_conv" for n in (1, 2)}, width=width,
    )  # fmt: skip


TOYS = {"toy": toy(8), "toy-wide": toy(12)}
