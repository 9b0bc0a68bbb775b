"""What the benchmarks of everything but the network need: a network of one layer, noise to cut."""

from pathlib import Path

import numpy as np
from memory import write_mosaic

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.bundle_store import save_bundle
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.stretch import Stretch


def save_stub(folder: Path) -> Path:
    """Write an ensemble whose network is one pooling layer."""
    import_tensorflow()  # which keeps TensorFlow quiet
    import keras

    inputs = keras.Input((100, 100, 3))
    trunk = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    heads = {"stub": (np.ones((3, 1), np.float32), np.zeros(1, np.float32))}
    description = Description(
        name="stub", trunks=(Trunk("stub", ("stub-fold0",)),), stretch=Stretch(), band="F814W",
        pixel_scale_arcsec=0.05, cutout_size=100,
        # Nothing is a detection: ranking is another matter.
        thresholds={"fpr_0.3": 1e6}, metrics={}, training={},
    )  # fmt: skip
    save_bundle(folder, description, {"stub": trunk}, heads)
    return folder


def write_noise(path: Path, side_px: int) -> Path:
    """Write a square mosaic of noise, all of it valid."""
    write_mosaic(path, side_px)
    return path


def write_config(path: Path, **values: object) -> Path:
    """Write a TOML file of strings, numbers, booleans and lists of strings."""
    lines = []
    for key, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        lines.append(f"{key} = {text.replace(chr(39), chr(34))}")
    path.write_text("\n".join(lines) + "\n")
    return path
