"""Labelled images from a folder: the sub-folders' names are the labels.

FITS images are read as mosaics are, with their own units and pixel scale. Arrays (``.npy``, two
dimensions) and grey PNG pictures hold neither, so both are stated. The thesis' LensFlow training
images come in such folders.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.image import imread
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.grid import centre_stamp
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.training.data.label_table import LABELS
from lensweep.training.data.real_cutouts import BAND

FITS_ENDINGS = (".fits", ".fit", ".fits.gz")
ARRAY_ENDINGS = (".npy", ".png")


@dataclass(frozen=True)
class Image:
    """One image of a folder.

    Attributes
    ----------
    path : str
    is_lens : bool
    """

    path: str
    is_lens: bool


def list_images(folder: Path, overrides: HeaderOverrides) -> list[Image]:
    """List the images in a folder's sub-folders ``lens`` and ``nonlens`` (or ``1`` and ``0``).

    Raises
    ------
    InputError
        If there is no such folder; it holds files of its own, a sub-folder of another name, a
        file of an ending that is not supported, or no image; or arrays and pictures without a
        stated pixel scale.
    """
    if not folder.is_dir():
        raise InputError(f"images {folder}: no such folder")
    images = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir() or entry.name.lower() not in LABELS:
            raise InputError(
                f"images {entry}: sub-folders name the labels ({', '.join(LABELS)}), and images "
                "are in them"
            )
        label = LABELS[entry.name.lower()]
        images += [Image(str(path), label) for path in sorted(entry.iterdir())
                   if _is_image(path, overrides)]  # fmt: skip
    if not images:
        raise InputError(f"images {folder}: not one image in it")
    return images


def read_image(path: str, overrides: HeaderOverrides) -> tuple[NDArray[np.float32], float]:
    """One cutout about the centre of an image.

    Returns
    -------
    flux : ndarray, shape (100, 100), float32
        e-/s from FITS, else the file's own values; NaN where invalid.
    valid_fraction : float

    Raises
    ------
    InputError
        If it cannot be read, is not of two dimensions, or has no valid pixel in its middle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source, stated = Path(path), overrides
        if path.lower().endswith(ARRAY_ENDINGS):
            source = Path(scratch) / f"{source.stem}.fits"
            _write_as_mosaic(_read_array(Path(path)), source)
            stated = HeaderOverrides(BAND, overrides.pixel_scale_arcsec, "electrons/s")
        try:
            mosaic = inspect_mosaic(source, stated, BAND, None, scratch, require_sky_wcs=False)
            check_pixels(mosaic)
            flux, valid_fraction = centre_stamp(mosaic)
        except OSError as error:
            raise InputError(f"image {path}: cannot be read: {error}") from error
    if not valid_fraction:
        raise MosaicError(f"image {path}: no data at its centre")
    return flux, valid_fraction


def examine(paths: Sequence[str], overrides: HeaderOverrides) -> list[str]:
    """Why each of some images cannot be had; empty for those that can."""
    reasons = []
    for path in paths:
        try:
            read_image(path, overrides)
            reasons.append("")
        except InputError as error:
            reasons.append(str(error))
    return reasons


def _is_image(path: Path, overrides: HeaderOverrides) -> bool:
    name = path.name.lower()
    if name.startswith("."):
        return False
    if name.endswith(FITS_ENDINGS):
        return True
    if not name.endswith(ARRAY_ENDINGS):
        known = ", ".join((*FITS_ENDINGS, *ARRAY_ENDINGS))
        raise InputError(f"image {path}: unknown file ending; supported are {known}")
    if overrides.pixel_scale_arcsec is None:
        raise InputError(
            f"image {path}: holds no pixel scale; state it with --image-scale, in arcsec/pixel"
        )
    return True


def _read_array(path: Path) -> NDArray[np.float32]:
    try:
        values: NDArray[Any] = (
            np.load(path, allow_pickle=False)
            if path.suffix.lower() == ".npy"
            else _grey(imread(path), path)
        )
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"image {path}: cannot be read: {error}") from error
    if values.ndim != 2 or values.dtype.kind not in "iuf" or 0 in values.shape:
        raise InputError(
            f"image {path}: shape {values.shape} of {values.dtype}, but needs a single image of "
            "numbers"
        )
    return values.astype(np.float32)


def _grey(values: NDArray[Any], path: Path) -> NDArray[Any]:
    if values.ndim == 2:
        return values
    colours = values[..., :3]
    # Two channels are grey and opacity.
    if values.shape[-1] > 2 and (colours != colours[..., :1]).any():
        raise InputError(f"image {path}: a colour picture; give one band, in grey")
    return np.asarray(values[..., 0])


def _write_as_mosaic(values: NDArray[np.float32], path: Path) -> None:
    """As FITS with a weight, so that zero is a value here and not missing data."""
    weight = np.isfinite(values).astype(np.float32)
    science, weights = fits.ImageHDU(values, name="SCI"), fits.ImageHDU(weight, name="WHT")
    fits.HDUList([fits.PrimaryHDU(), science, weights]).writeto(path)
