"""Pixel scaling: cutouts in e-/s to what a network sees. Shared by training and scan.

Everything is measured in units of the cutout's own noise, so neither the flux unit nor the zero
point matters. Three channels take the place of a photograph's three colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Quartile of |x| for a standard normal variable.
_NORMAL_QUARTILE = 0.31864
# Quantile of the pixels from which the sky level is told, and its distance from the mean in sigma.
_SKY_QUANTILE, _SKY_SIGMAS = 0.15, 1.03643
# Sky and sigma of a cutout without data or without noise.
NOISE_UNKNOWN = (0.0, 1.0)


@dataclass(frozen=True)
class Stretch:
    """How pixels become network input; stored in every ensemble bundle.

    With s the pixel in units of noise above the sky and m its smoothed value:
    faint = asinh(s / faint_sigma) / span - 0.5, bright = asinh(s / bright_sigma) / span - 0.5,
    contrast = asinh((s - m) / (1 + contrast_fraction |m|)) / contrast_span, all within [-1, 1].

    Attributes
    ----------
    faint_sigma, bright_sigma : float
        Where the asinh of Lupton, Gunn & Szalay (1999) turns from linear to logarithmic.
    span : float
    smoothing_px : float
        Gaussian width of m: wider than an arc, narrower than the galaxy that lenses.
    contrast_fraction : float
        Share of the smooth light that counts as noise where a galaxy is bright.
    contrast_span : float
    """

    faint_sigma: float = 2.0
    bright_sigma: float = 30.0
    span: float = 4.0
    smoothing_px: float = 5.0
    contrast_fraction: float = 0.05
    contrast_span: float = 3.0

    def __call__(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale cutouts.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s or any unit proportional to it; NaN where there is no data.

        Returns
        -------
        ndarray, shape (n, size, size, 3), float32
            Within [-1, 1]; what has no data looks like empty sky.
        """
        return self.of_noise_units(in_noise_units(flux)[0])

    def faint(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """The first channel alone, of values in units of the noise, whatever their shape."""
        plane = np.arcsinh(scaled / np.float32(self.faint_sigma)) / np.float32(self.span)
        return np.asarray((plane - np.float32(0.5)).clip(-1.0, 1.0), np.float32)

    def of_noise_units(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale cutouts whose noise is known already.

        Parameters
        ----------
        scaled : ndarray, shape (n, size, size), float32
            As of `in_noise_units`.

        Returns
        -------
        ndarray, shape (n, size, size, 3), float32
        """
        kernel = self.smoothing_kernel(scaled.shape[-1])
        channels = np.empty((*scaled.shape, 3), np.float32)
        planes = self.planes(scaled, kernel @ scaled @ kernel.T, np.arcsinh)
        for channel, plane in enumerate(planes):
            channels[..., channel] = plane
        return channels.clip(-1.0, 1.0, out=channels)

    def smoothing_kernel(self, size_px: int) -> NDArray[np.float32]:
        """The matrix K of which K s Kᵀ is m."""
        return gaussian_kernel(size_px, self.smoothing_px, truncate=2.0)

    def planes(self, scaled: Any, smooth: Any, arcsinh: Callable[[Any], Any]) -> tuple[Any, ...]:
        """The three channels before they are clipped: the definition, for NumPy and for a graph.

        Parameters
        ----------
        scaled, smooth : array or tensor, shape (n, size, size)
            s and m.
        arcsinh : callable
            Of arrays or tensors of that kind.
        """
        contrast = (scaled - smooth) / (1.0 + self.contrast_fraction * abs(smooth))
        return (
            arcsinh(scaled / self.faint_sigma) / self.span - 0.5,
            arcsinh(scaled / self.bright_sigma) / self.span - 0.5,
            arcsinh(contrast) / self.contrast_span,
        )


def smoothed(images: NDArray[np.float32], sigma_px: float, truncate: float) -> NDArray[np.float32]:
    """Smooth images with a Gaussian, as `scipy.ndimage.gaussian_filter` does, reflected at edges.

    Two matrix products are the same as a separable filter, and several times as fast.

    Parameters
    ----------
    images : ndarray, shape (n, size, size), float32
    sigma_px : float
    truncate : float
        Where the Gaussian ends, in sigma.
    """
    kernel = gaussian_kernel(images.shape[-1], sigma_px, truncate)
    return np.asarray(kernel @ images @ kernel.T, np.float32)


def gaussian_kernel(size_px: int, sigma_px: float, truncate: float) -> NDArray[np.float32]:
    """The matrix that smooths along one axis of images, shape (size_px, size_px)."""
    kernel = ndimage.gaussian_filter1d(
        np.eye(size_px, dtype=np.float32), sigma_px, axis=0, truncate=truncate
    )
    return np.asarray(kernel, np.float32)


def in_noise_units(
    flux: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cutouts above their own sky, in units of their own noise.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        NaN where there is no data.

    Returns
    -------
    scaled : ndarray, shape (n, size, size), float32
        0 where there is no data.
    known : ndarray, shape (n,), bool
        False where a cutout's noise cannot be measured: its values are left as they are.
    """
    sky, sigma = sky_and_noise(flux)
    return above_noise(flux, sky, sigma), noise_is_known(sky, sigma)


def above_noise(
    flux: NDArray[np.float32], sky: NDArray[np.float32], sigma: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cutouts above a sky level, in units of a noise; 0 where there is no data."""
    scaled = flux - sky[:, None, None]
    scaled /= sigma[:, None, None]
    scaled[~np.isfinite(scaled)] = 0.0
    return scaled


def noise_is_known(sky: NDArray[np.float32], sigma: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether these are what `sky_and_noise` has measured."""
    return np.asarray((sky != NOISE_UNKNOWN[0]) | (sigma != NOISE_UNKNOWN[1]))


def sky_and_noise(
    flux: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sky level and noise of each cutout, robust against a galaxy that fills most of it.

    Noise from the lower quartile of the differences between pixels two apart (a galaxy's light is
    smooth over two pixels, and three quarters of the pixels may be worse); sky from the lowest
    pixels, lifted by what noise alone lowers them.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        NaN where there is no data.

    Returns
    -------
    sky, sigma : ndarray, shape (n,), float32
        In the unit of `flux`; sky 0 and sigma 1 where a cutout has no data or no noise.
    """
    steps = np.abs(flux[:, :, 2:] - flux[:, :, :-2])
    sigma = _row_quantile(steps, 0.25) / (_NORMAL_QUARTILE * np.sqrt(2.0))
    sky = _row_quantile(flux, _SKY_QUANTILE) + _SKY_SIGMAS * sigma
    usable = np.isfinite(sigma) & (sigma > 0.0) & np.isfinite(sky)
    return (
        np.where(usable, sky, NOISE_UNKNOWN[0]).astype(np.float32),
        np.where(usable, sigma, NOISE_UNKNOWN[1]).astype(np.float32),
    )


def _row_quantile(images: NDArray[np.float32], quantile: float) -> NDArray[np.float64]:
    """Lower quantile of every image's numbers (NaN left out; NaN for one of nothing else)."""
    values = images.reshape(len(images), images.shape[1] * images.shape[2])
    out = np.full(len(values), np.nan)
    n_valid = np.isfinite(values).sum(axis=1)
    whole = n_valid == values.shape[1]
    if whole.any():
        rank = int(quantile * (values.shape[1] - 1))
        out[whole] = np.partition(values[whole], rank, axis=1)[:, rank]
    for row in np.flatnonzero(~whole & (n_valid > 0)):
        finite = values[row][np.isfinite(values[row])]
        rank = int(quantile * (len(finite) - 1))
        out[row] = np.partition(finite, rank)[rank]
    return out
