"""The pretrained networks: how each is built, what it expects, and how far it may be adapted."""

from dataclasses import dataclass
from typing import Any

_STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True)
class Backbone:
    """One network of keras.applications.

    Attributes
    ----------
    constructor : str
        Its name in keras.applications.
    native_size, smallest_size : int
        Pixels a side on ImageNet, and the least that the network can take (keras.applications).
    caffe : bool
        Whether it was trained on blue, green, red from 0 to 255 without their means, as Caffe
        did; otherwise on red, green, blue within [-1, 1].
    parameters : int
        Of the whole network, with its dense layers for ImageNet on top; 4.6 million less than
        published for NASNetLarge, whose auxiliary classifier Keras leaves out.
    cuts : dict of int to str
        For n adapted blocks, the layer at whose input (output, for `cut_after`) the frozen part
        ends. NASNet's cells read the two before them, so that there is no such place.
    cut_after : bool
    source, md5 : str
        Keras' file of ImageNet weights without the top.
    cached_as : str
        The file's name in Keras' cache.
    sha256 : str
        Of the same weights as a Keras 3 `.weights.h5` file, where we have seen one.
    """

    constructor: str
    native_size: int
    smallest_size: int
    caffe: bool
    parameters: int
    cuts: dict[int, str]
    source: str
    md5: str
    cut_after: bool = False
    cached_as: str = ""
    sha256: str = ""

    def build(self, **options: Any) -> Any:
        """The network, as its constructor makes it."""
        from lensweep.training.fit.keras_on_tensorflow import keras

        return getattr(keras.applications, self.constructor)(**options)

    @property
    def file(self) -> str:
        """Name of the weights' file in Keras' cache."""
        return self.cached_as or self.source.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where Keras gets the weights."""
        return _STORAGE + self.source


_VGG_CUTS = {n: f"block{6 - n}_conv1" for n in (1, 2, 3)}
_TF_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
# Sizes, files and MD5 are those of Keras 3.15.
BACKBONES = {
    "xception": Backbone(
        constructor="Xception", native_size=299, smallest_size=71, caffe=False,
        parameters=22_910_480,
        cuts={n: f"block{15 - n}_sepconv1_act" for n in (4, 7, 10)},
        source=f"xception/xception_{_TF_NOTOP}", md5="b0042744bf5b25fce3cb969f33bebb97",
        sha256="c51edf65daf73e3039178bb3c0fe422245dde203bfa7500bbdba74ee409817ae",
    ),
    "inceptionv3": Backbone(
        constructor="InceptionV3", native_size=299, smallest_size=75, caffe=False,
        parameters=23_851_784,
        cuts={n: f"mixed{10 - n}" for n in (2, 3, 6)}, cut_after=True,
        source=f"inception_v3/inception_v3_{_TF_NOTOP}", md5="bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "resnet50": Backbone(
        constructor="ResNet50", native_size=224, smallest_size=32, caffe=True,
        parameters=25_636_712,
        cuts={3: "conv4_block6_out", 9: "conv3_block4_out"}, cut_after=True,
        source=f"resnet/resnet50_{_TF_NOTOP}", md5="4d473c1dd8becc155b73f8504c6f6626",
    ),
    "nasnetlarge": Backbone(
        constructor="NASNetLarge", native_size=331, smallest_size=32, caffe=False,
        parameters=88_949_818,
        cuts={}, cached_as="nasnet_large_no_top.h5",
        source="nasnet/NASNet-large-no-top.h5", md5="d81d89dc07e6e56530c4e77faddd61b5",
    ),
    "nasnetmobile": Backbone(
        constructor="NASNetMobile", native_size=224, smallest_size=32, caffe=False,
        parameters=5_326_716,
        cuts={}, cached_as="nasnet_mobile_no_top.h5",
        source="nasnet/NASNet-mobile-no-top.h5", md5="1ed92395b5b598bdda52abe5c0dbfd63",
    ),
    "vgg16": Backbone(
        constructor="VGG16", native_size=224, smallest_size=32, caffe=True,
        parameters=138_357_544,
        cuts=_VGG_CUTS,
        source=f"vgg16/vgg16_{_TF_NOTOP}", md5="6d6bbae143d832006294945121d1f1fc",
        sha256="a2f51117308129c3de9a523c91d35160eb75a6a9e5db1e2afb4f48e48dfb733a",
    ),
    "vgg19": Backbone(
        constructor="VGG19", native_size=224, smallest_size=32, caffe=True,
        parameters=143_667_240,
        cuts=_VGG_CUTS,
        source=f"vgg19/vgg19_{_TF_NOTOP}", md5="253f8cb515780f3b799900260a226db6",
    ),
}  # fmt: skip
