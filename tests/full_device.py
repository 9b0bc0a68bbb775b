"""A worker that this is preloaded into scores on a device that something else has filled."""

import tensorflow as tf

from lensweep.scanner.network import inference


def load_full(folder, name, stretch, reduced=None):
    def network(looks):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    return network


inference.load_frozen = load_full
