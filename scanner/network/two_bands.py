"""Ensembles that look at two bands: what their networks are shown, and how they run.

Such a bundle is as any other (`bundle_store`), but for its `second_band` and its networks: these
take two channels, a band each, every band in units of its own noise. They are few and small, look
at few cutouts, and run as Keras has them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.bundle_store import Bundle, read_heads
from lensweep.scanner.network.networks import load_network
from lensweep.scanner.network.stretch import Stretch, in_noise_units

# Cutouts that a network is shown at once; always the same number, so that it is built once.
_BLOCK = 64


def bands_in_noise_units(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cutouts in several bands, each above its own sky and in units of its own noise.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size, bands), float32
        e-/s or any unit proportional to it; NaN where there is no data.

    Returns
    -------
    ndarray, of the same shape, float32
        0 where there is no data.
    """
    planes = [in_noise_units(flux[..., band])[0] for band in range(flux.shape[-1])]
    return np.stack(planes, axis=-1)


class TwoBandEnsemble:
    """The networks of a bundle, ready to run.

    Parameters
    ----------
    bundle : Bundle
        Of `check_bundle` with `two_bands`.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._stretch: Stretch = bundle.description.stretch
        self._members = bundle.description.members
        self._heads = read_heads(bundle)
        folder = Path(bundle.folder)
        self._networks = {name: load_network(folder, name) for name in self._heads}

    def logits(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score cutouts.

        Parameters
        ----------
        flux : ndarray, shape (n, 100, 100, 2), float32, e-/s
            The bundle's band, then its second one; NaN where there is no data.

        Returns
        -------
        ndarray, shape (n, members), float32
        """
        parts = [np.empty((0, len(self._members)), np.float32)]
        parts += [self._block(flux[first : first + _BLOCK])
                  for first in range(0, len(flux), _BLOCK)]  # fmt: skip
        return np.concatenate(parts)

    def _block(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        images = np.zeros((_BLOCK, *flux.shape[1:]), np.float32)
        images[: len(flux)] = self._stretch.faint(bands_in_noise_units(flux))
        columns = [
            np.asarray(self._networks[name].predict_on_batch(images)) @ weights + biases
            for name, (weights, biases) in self._heads.items()
        ]
        return np.concatenate(columns, axis=1)[: len(flux)].astype(np.float32)
