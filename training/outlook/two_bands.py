"""More bands as channels: the small network on F814W and F606W, and the ensemble made of it.

A second band brings colour, and the light of a second exposure. The same network on the sum of both
has the light and not the colour.
"""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import Bundle, check_bundle, save_bundle
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.network.two_bands import bands_in_noise_units
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.data.labelled_set import BAND
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.metrics import FALSE_POSITIVE_RATES, threshold
from lensweep.training.outlook.small_network import SmallNetwork
from lensweep.training.published.stamps import Stamps, read_stamps

SECOND_BAND = "F606W"
# What says that two sets show the same scenes.
_SCENE = ["kind", "is_lens", "x_px", "y_px"]


class TwoBandNetwork(SmallNetwork):
    """The small network, shown a second band beside the first: cutouts (n, height, width, 2)."""

    n_bands: ClassVar[int] = 2

    def scaled(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Each band in units of its own noise."""
        return bands_in_noise_units(flux)

    def images(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Both bands, stretched alike."""
        return Stretch().faint(scaled)


class AddedBandsNetwork(SmallNetwork):
    """The small network, shown the sum of both bands, each in units of its own noise."""

    n_bands: ClassVar[int] = 2

    def scaled(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """One plane; noise adds up in quadrature."""
        added = bands_in_noise_units(flux).sum(axis=-1)
        return np.asarray(added / np.sqrt(flux.shape[-1]), np.float32)


def with_second_band(first: Stamps, folder: Path) -> Stamps:
    """Cutouts with a second band, of a set that shows the same scenes in that.

    Parameters
    ----------
    first : Stamps
        In F814W.
    folder : Path
        Of `lensweep simulate --band F606W` with the same numbers and seed.

    Returns
    -------
    Stamps
        Whose `flux` has the shape (n, 100, 100, 2).

    Raises
    ------
    InputError
        If that set cannot be used, or shows other scenes.
    """
    second = read_stamps(folder, band=SECOND_BAND)
    missing = [name for name in _SCENE if name not in first.truth or name not in second.truth]
    if missing or not first.truth[_SCENE].equals(second.truth[_SCENE]):
        raise InputError(
            f"data set {folder}: {len(second):,} scenes that are not the {len(first):,} of the set "
            "in F814W; simulate both with the same --n, --seed and --lens-fraction"
        )
    flux = np.stack([first.flux, second.flux], axis=-1)
    both = hashlib.sha256((first.fingerprint + second.fingerprint).encode()).hexdigest()
    return Stamps(flux, first.labels, first.objects, first.truth, both)


def write_two_band_bundle(
    folder: Path, finder: TwoBandNetwork, others: NDArray[np.floating], training: dict[str, Any]
) -> Bundle:
    """Write a fitted network as an ensemble that `lensweep two-bands` takes.

    Parameters
    ----------
    folder : Path
        Its name is the ensemble's.
    finder : TwoBandNetwork
        Fitted on cutouts of 100 pixels.
    others : ndarray, shape (n,)
        Its log-odds of non-lenses that it was not fitted to: the thresholds.
    training : dict
        How it was made.
    """
    network = finder.networks_["network"]
    last = network.layers[-1]
    kernel, bias = (np.asarray(array, np.float32) for array in last.get_weights())
    description = Description(
        name=folder.name, trunks=(Trunk("small", ("small",)),), stretch=Stretch(), band=BAND,
        pixel_scale_arcsec=PIXEL_SCALE_ARCSEC, cutout_size=CUTOUT_SIZE, metrics={},
        training=training,
        thresholds={f"fpr_{rate:g}": threshold(others, rate) for rate in FALSE_POSITIVE_RATES},
        second_band=SECOND_BAND,
    )  # fmt: skip
    features = keras.Model(network.input, last.input)
    save_bundle(folder, description, {"small": features}, {"small": (kernel, bias)})
    return check_bundle(str(folder), two_bands=True)
