"""A spatial transformer in front: the network moves, turns and zooms its cutout before it looks.

Jaderberg et al. (2015, Spatial Transformer Networks): a small network tells an affine map of each
image, which is then resampled by it; all of it is learned from the labels alone.
"""

from typing import Any

from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.residual import convolve
from lensweep.training.outlook.small_network import SmallNetwork, log_odds

# Of an affine map (x, y, 1) -> (x', y') that leaves an image as it is.
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@keras.saving.register_keras_serializable("lensweep")
class AffineSampler(keras.layers.Layer):
    """Resample images, bilinearly, each by its own affine map; beyond the edge is what lies at it.

    Coordinates run from -1 to 1 over the image.
    """

    def call(self, images: Any, maps: Any) -> Any:
        """Images of the same shape; `maps`, shape (n, 6), are affine maps less `IDENTITY`."""
        ops = keras.ops
        maps = maps + ops.convert_to_tensor(IDENTITY, maps.dtype)
        height, width = images.shape[1:3]
        y, x = ops.meshgrid(
            ops.linspace(-1.0, 1.0, height), ops.linspace(-1.0, 1.0, width), indexing="ij"
        )
        grid = ops.stack([ops.reshape(x, (-1,)), ops.reshape(y, (-1,)), ops.ones(height * width)])
        from_x, from_y = ops.unstack(ops.matmul(ops.reshape(maps, (-1, 2, 3)), grid), 2, axis=1)
        column = ops.clip((from_x + 1.0) * 0.5 * (width - 1), 0.0, width - 1.001)
        row = ops.clip((from_y + 1.0) * 0.5 * (height - 1), 0.0, height - 1.001)
        left, top = ops.floor(column), ops.floor(row)
        across, down = (column - left)[..., None], (row - top)[..., None]
        flat = ops.reshape(images, (-1, height * width, images.shape[3]))

        def at(down_by: int, across_by: int) -> Any:
            index = ops.cast((top + down_by) * width + left + across_by, "int32")
            return ops.take_along_axis(flat, index[..., None], axis=1)

        upper = at(0, 0) * (1.0 - across) + at(0, 1) * across
        lower = at(1, 0) * (1.0 - across) + at(1, 1) * across
        sampled = upper * (1.0 - down) + lower * down
        return ops.reshape(sampled, (-1, height, width, images.shape[3]))

    def compute_output_shape(self, images_shape: Any, maps_shape: Any) -> Any:
        """That of the images."""
        return images_shape


class SpatialTransformerNetwork(SmallNetwork):
    """The small network behind a spatial transformer."""

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The untrained network; its map is the identity to begin with."""
        images = keras.Input(shape)
        x = keras.layers.AveragePooling2D(2)(images)
        for channels in (16, 32, 32):
            x = convolve(x, channels, 5, 2)
        x = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(x))
        maps = keras.layers.Dense(6, kernel_initializer="zeros", name="map")(x)
        seen = AffineSampler(name="sampler")(images, maps)
        return keras.Model(images, log_odds(seen), name="spatial_transformer")
