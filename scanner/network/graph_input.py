"""From flux to the images that a network sees: noise units, turns, the stretch.

On a device this is the beginning of the network's graph, in float32 whatever the rest computes in.
Processors have it from NumPy, which takes them half the time (0.27 ms a cutout, not 0.5). Both use
the definitions of `lensweep.scanner.network.stretch` and `lensweep.scanner.network.second_look`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.looks import Looks, empty_looks
from lensweep.scanner.network.second_look import TURNS, turned
from lensweep.scanner.network.stretch import Stretch, above_noise


def images_of_looks(stretch: Stretch, looks: Looks) -> NDArray[np.float32]:
    """A network's images, shape (n, size, size, 3), by NumPy."""
    scaled = above_noise(looks.flux, looks.sky, looks.sigma)
    for turn in set(looks.turn.tolist()) - {0}:
        rows = looks.turn == turn
        scaled[rows] = turned(scaled[rows], turn)
    return stretch.of_noise_units(scaled)


def graph_inputs(stretch: Stretch, size_px: int, from_flux: bool) -> tuple[list[Any], Any]:
    """Begin a graph: its inputs, and the images of its network.

    Parameters
    ----------
    stretch : Stretch
    size_px : int
    from_flux : bool
        The inputs are the columns of `Looks`; otherwise the images themselves.
    """
    v1 = import_tensorflow().compat.v1
    if not from_flux:
        images = v1.placeholder(np.float32, (None, size_px, size_px, 3))
        return [images], images
    inputs = [
        v1.placeholder(column.dtype, (None, *column.shape[1:]))
        for column in empty_looks(0, size_px).columns
    ]
    return inputs, images_of_flux(stretch, *inputs)


def images_of_flux(stretch: Stretch, flux: Any, sky: Any, sigma: Any, turn: Any) -> Any:
    """Build the part of a graph that makes a network's images of cutouts.

    Parameters
    ----------
    stretch : Stretch
    flux, sky, sigma, turn : tensor
        Of the shapes and dtypes of `lensweep.scanner.network.looks.Looks`.

    Returns
    -------
    tensor, shape (n, size, size, 3), float32
        As `Stretch` makes them.
    """
    tf = import_tensorflow()
    scaled = (flux - sky[:, None, None]) / sigma[:, None, None]
    scaled = tf.where(tf.math.is_finite(scaled), scaled, tf.zeros_like(scaled))
    return stretched(stretch, turned_images(scaled, turn))


def stretched(stretch: Stretch, scaled: Any) -> Any:
    """Build the stretch of cutouts in units of their noise; tensors of `Stretch.of_noise_units`."""
    tf = import_tensorflow()
    kernel = tf.constant(stretch.smoothing_kernel(int(scaled.shape[-1])))
    smooth = _product(_product(kernel, scaled), tf.transpose(kernel))
    planes = stretch.planes(scaled, smooth, _arcsinh)
    # Stacked in the last axis at once, it takes a processor four times as long.
    images = tf.transpose(tf.stack(planes, axis=1), (0, 2, 3, 1))
    return tf.clip_by_value(images, -1.0, 1.0)


def turned_images(scaled: Any, turn: Any) -> Any:
    """Build the turns of images, each by its own number of quarters."""
    tf = import_tensorflow()
    size = int(scaled.shape[-1])
    origins = tf.gather(tf.constant(_origins(size)), turn)
    pixels = tf.gather(tf.reshape(scaled, (-1, size * size)), origins, batch_dims=1)
    return tf.reshape(pixels, (-1, size, size))


def _origins(size_px: int) -> NDArray[np.int32]:
    """Which pixel each pixel comes from, by turn; shape (TURNS, size_px²)."""
    # Whole numbers up to 2^24 are exact in float32.
    pixels = np.arange(size_px**2, dtype=np.float32).reshape(1, size_px, size_px)
    origins = np.stack([turned(pixels, turn).ravel() for turn in range(TURNS)])
    return origins.astype(np.int32)


def _product(first: Any, second: Any) -> Any:
    # The operation of `tf.matmul` would be rewritten for half precision, in which the contrast with
    # the smooth light of a bright galaxy is lost, and a star beyond 65,504 sigma is infinite.
    tf = import_tensorflow()
    return tf.raw_ops.BatchMatMulV3(x=first, y=second, Tout=tf.float32)


def _arcsinh(x: Any) -> Any:
    # TensorFlow's own is computed one number at a time on processors, seven times as slowly.
    tf = import_tensorflow()
    size = abs(x)
    return tf.sign(x) * tf.math.log(size + tf.sqrt(size * size + 1.0))
