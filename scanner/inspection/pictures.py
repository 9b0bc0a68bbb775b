"""Stamps as small pictures that a browser stretches by itself.

A picture holds asinh of the pixels in units of the stamp's noise, which keeps faint arcs and bright
cores in eight bits; the page turns it back into numbers and stretches those as it is told.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lensweep.scanner.network.stretch import sky_and_noise

# Where asinh turns from linear to logarithmic, and the faintest that is kept, in sigma.
SOFTENING_SIGMA, FAINTEST_SIGMA = 3.0, -4.0
# The brightest is at least this, so that noise is no texture.
LEAST_BRIGHTEST_SIGMA = 25.0
# On noise of one sigma, where a step of eight bits is 0.1 sigma, 90 errs by 0.2 sigma at a third of
# a lossless file's size.
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """One stamp, ready for a page.

    Attributes
    ----------
    jpeg : str
        Base64 of a grey JPEG; its first row is the northern one. A value of c in 0..255 stands for
        ``3 sinh(low + c (high - low) / 255)`` sigma above the sky.
    low, high : float
    mask : str
        Base64 of a PNG of one bit, white where there is no data; empty where there is everywhere.
    """

    jpeg: str
    low: float
    high: float
    mask: str


def draw_picture(flux: NDArray[np.float32]) -> Picture:
    """Draw a stamp.

    Parameters
    ----------
    flux : ndarray, shape (side, side), float32
        Any flux unit, its first row the southern one; NaN where there is no data.
    """
    sky, sigma = sky_and_noise(flux[None])
    scaled = (flux - sky[0]) / sigma[0]
    valid = np.isfinite(scaled)
    scaled = np.where(valid, scaled, 0.0)
    brightest = max(float(scaled.max()), LEAST_BRIGHTEST_SIGMA)
    low, high = (float(np.arcsinh(v / SOFTENING_SIGMA)) for v in (FAINTEST_SIGMA, brightest))
    codes = (np.arcsinh(scaled / SOFTENING_SIGMA) - low) / (high - low)
    grey = np.round(255.0 * np.clip(codes, 0.0, 1.0)).astype(np.uint8)[::-1]
    jpeg = _encoded(Image.fromarray(grey), "JPEG", quality=JPEG_QUALITY, optimize=True)
    mask = "" if valid.all() else mask_png(~valid[::-1])
    return Picture(jpeg, round(low, 6), round(high, 6), mask)


def mask_png(mask: NDArray[np.bool_]) -> str:
    """A mask as base64 of a PNG of one bit, white where it is true; its first row is the top."""
    return _encoded(Image.fromarray(mask), "PNG", optimize=True)


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    filled = io.BytesIO()
    image.save(filled, kind, **options)
    return base64.b64encode(filled.getvalue()).decode()
