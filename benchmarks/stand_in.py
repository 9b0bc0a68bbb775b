"""A device that is none: it takes a stated time per batch and uses no core, as a GPU seems to do.

Preloaded into a Dask worker (`dask worker --preload`), it takes the place of every network:
STAND_IN_RATE cutouts a second, one batch at a time.
"""

import os
import threading
import time

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network import inference
from lensweep.scanner.network.looks import Looks
from lensweep.scanner.network.networks import Network

RATE, BATCH = "STAND_IN_RATE", 256
# What the heads of `stub.save_stub` take.
FEATURES = 3
_device = threading.Lock()


def load_stand_in(*_: object) -> Network:
    """A network that only takes its time."""
    rate = float(os.environ[RATE])

    def run(looks: Looks) -> NDArray[np.float32]:
        with _device:
            time.sleep(len(looks) / rate)
        return np.zeros((len(looks), FEATURES), np.float32)

    return run


def dask_setup(_worker: object) -> None:
    """Put it in place, in the worker's process alone."""
    for name, stand_in in (("load_frozen", load_stand_in), ("on_gpu", lambda: True),
                           ("find_batch", lambda *_: BATCH)):  # fmt: skip
        setattr(inference, name, stand_in)
