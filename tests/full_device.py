"""A worker that this is preloaded into scores on a device that something else has filled."""

import tensorflow as tf

from lensweep.scanner.network import inference


def load_full(folder, name, reduced=None):
    def network(images):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    return network


inference.load_frozen = load_full
