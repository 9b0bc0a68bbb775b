"""Keras on TensorFlow, whatever the user has set; modules import it from here, not by itself."""

from lensweep.deploy.accelerator import import_tensorflow

import_tensorflow()
import keras  # noqa: E402

__all__ = ["keras"]
