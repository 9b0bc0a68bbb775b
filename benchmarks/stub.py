"""What the benchmarks of everything but the network need: a network of one layer, noise to cut."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from deploy.accelerator import import_tensorflow
from scanner.ensemble import Calibration, Description, Trunk, save_bundle
from scanner.stretch import Stretch


def save_stub(folder: Path) -> Path:
    """Write an ensemble whose network is one pooling layer."""
    import_tensorflow()  # which keeps TensorFlow quiet
    import keras

    inputs = keras.Input((100, 100, 3))
    trunk = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    heads = {"stub": (np.ones((3, 1), np.float32), np.zeros(1, np.float32))}
    description = Description(
        name="stub", trunks=(Trunk("stub", ("stub-fold0",)),), stretch=Stretch(), band="F814W",
        pixel_scale_arcsec=0.05, cutout_size=100, calibration=Calibration(1.0, 0.0, 0.5),
        # Nothing is a detection: ranking is another matter.
        thresholds={"fpr_0.3": 1e6}, metrics={}, training={},
    )  # fmt: skip
    save_bundle(folder, description, {"stub": trunk}, heads)
    return folder


def write_noise(path: Path, side_px: int) -> Path:
    """Write a square mosaic of noise, all of it valid."""
    flux = np.random.default_rng(0).normal(0.0, 0.01, (side_px, side_px)).astype(np.float32)
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.1, 2.2
    header["CRPIX1"] = header["CRPIX2"] = (side_px + 1) / 2
    header["CD1_1"], header["CD1_2"] = -0.05 / 3600, 0.0
    header["CD2_1"], header["CD2_2"] = 0.0, 0.05 / 3600
    header["BUNIT"] = "ELECTRONS/S"
    primary = fits.PrimaryHDU()
    primary.header["FILTER2"] = "F814W"
    weight = np.full(flux.shape, 2028.0, np.float32)
    science, weights = fits.ImageHDU(flux, header, "SCI"), fits.ImageHDU(weight, name="WHT")
    fits.HDUList([primary, science, weights]).writeto(path)
    return path


def write_config(path: Path, **values: object) -> Path:
    """Write a TOML file of strings, numbers, booleans and lists of strings."""
    lines = []
    for key, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        lines.append(f"{key} = {text.replace(chr(39), chr(34))}")
    path.write_text("\n".join(lines) + "\n")
    return path
