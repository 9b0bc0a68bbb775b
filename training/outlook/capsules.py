"""A capsule network: units in groups, whose length says that a thing is there, and direction how.

Sabour, Frosst & Hinton (2017, Dynamic Routing Between Capsules), at a size that two cores train.
Theirs has a margin loss and reconstructs its input; here the two lengths go into a softmax, so that
it is trained and asked as all finders are, and what is learned goes through the last round alone.
"""

from typing import Any

from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.residual import convolve
from lensweep.training.outlook.small_network import SmallNetwork

# Units of a primary capsule and of a class's, kinds of primary capsules, rounds of routing.
PRIMARY, CLASS_UNITS, KINDS, ROUNDS = 8, 16, 8, 3
# Lengths lie within 0 and 1; times this they go into the softmax.
SHARPNESS = 10.0


def squash(capsules: Any) -> Any:
    """Capsules whose lengths s become s² / (1 + s²), in their own direction."""
    squared = keras.ops.sum(keras.ops.square(capsules), axis=-1, keepdims=True)
    return capsules * keras.ops.sqrt(squared + 1e-7) / (1.0 + squared)


@keras.saving.register_keras_serializable("lensweep")
class RoutedCapsules(keras.layers.Layer):
    """Capsules of two classes, to which primary capsules send what those agree with.

    Returns their lengths times `SHARPNESS`.
    """

    def build(self, shape: Any) -> None:
        """One matrix for every primary capsule and class."""
        self.matrices = self.add_weight(
            shape=(shape[1], 2, CLASS_UNITS, shape[2]),
            initializer="glorot_uniform",
            name="matrices",
        )

    def call(self, primary: Any) -> Any:
        """From primary capsules, shape (n, capsules, units), to (n, 2)."""
        ops = keras.ops
        primary = squash(primary)
        votes = ops.einsum("pcuv,npv->npcu", self.matrices, primary)
        fixed, agreement = ops.stop_gradient(votes), 0.0 * votes[..., 0]
        for _ in range(ROUNDS - 1):
            share = ops.softmax(agreement, axis=2)[..., None]
            chosen = squash(ops.sum(share * fixed, axis=1))
            agreement = agreement + ops.sum(fixed * chosen[:, None], axis=-1)
        share = ops.softmax(ops.stop_gradient(agreement), axis=2)[..., None]
        capsules = squash(ops.sum(share * votes, axis=1))
        return SHARPNESS * ops.sqrt(ops.sum(ops.square(capsules), axis=-1) + 1e-7)

    def compute_output_shape(self, shape: Any) -> Any:
        """Two lengths."""
        return (shape[0], 2)


class CapsuleNetwork(SmallNetwork):
    """Two convolutions, primary capsules, two routed ones."""

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The untrained network."""
        images = keras.Input(shape)
        x = convolve(convolve(images, 24, 5, 2), 48, 5, 2)
        x = keras.layers.Conv2D(KINDS * PRIMARY, 5, 3)(x)
        primary = keras.layers.Reshape((-1, PRIMARY))(x)
        return keras.Model(images, RoutedCapsules(name="routed")(primary), name="capsules")
