"""Finders as members of an ensemble, or as its screen: a bundle that `lensweep scan` takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder, refuse_strangers
from lensweep.scanner.network.bundle_additions import add_screen
from lensweep.scanner.network.bundle_store import Bundle, check_bundle, save_bundle
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.training.data.real_cutouts import BAND
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.metrics import FALSE_POSITIVE_RATES, threshold
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.lensflow import COARSE, CUT, FINE, LensFlow
from lensweep.training.published.network_finder import NetworkFinder

# A member's trunk, and its head on that: weights, shape (features, 1), and bias, shape (1,).
Member = tuple[Any, NDArray[np.float32], NDArray[np.float32]]


def write_finder_bundle(
    where: str | Path,
    finders: Mapping[str, ImageFinder],
    others: NDArray[np.floating],
    training: Mapping[str, Any],
    screen: ImageFinder | None = None,
    screen_cut: float = 0.0,
) -> Bundle:
    """Write fitted finders as an ensemble: one member each.

    Of a LensFlow the fine network is the member, and the coarse one, at its own cut, the screen:
    of the ensemble that it makes alone, or where it is given as `screen`.

    Parameters
    ----------
    where : str or Path
        Folder: its name is the ensemble's; there is nothing in it yet.
    finders : mapping of str to ImageFinder
        By member's name; networks on cutouts of 100 pixels, or any other finder.
    others : ndarray, shape (n,)
        Mean log-odds by all finders of non-lenses that none was fitted to: its thresholds.
    training : mapping
        How they were made.
    screen : ImageFinder, optional
        Cutouts of which it makes less than `screen_cut` are not scored.
    screen_cut : float
        Not of a LensFlow, which has its own.

    Returns
    -------
    Bundle

    Raises
    ------
    InputError
        If the folder holds something, there are no finders or no others, a network was fitted to
        cutouts of another size, a finder of scikit-learn is to be kept without skops, or a
        LensFlow stands beside other members and no screen is given: its fine network knows only
        what its coarse one lets pass.
    """
    folder = Path(where)
    if not finders:
        raise InputError(f"ensemble {folder}: no finders to make it of")
    if not len(others) or not np.isfinite(others).all():
        raise InputError(
            f"ensemble {folder}: {len(others)} log-odds of non-lenses, of which "
            f"{int((~np.isfinite(others)).sum())} are no number; its thresholds need all of some"
        )
    if screen is None:
        screen = next((one for one in finders.values() if isinstance(one, LensFlow)), None)
        if screen is not None and len(finders) > 1:
            raise InputError(
                "LensFlow beside other members: its coarse network would be the screen of all; "
                "name a screen, that LensFlow itself if it is meant"
            )
    members = {name: as_member(finder) for name, finder in finders.items()}
    check_folder(folder)
    refuse_strangers(folder)
    description = Description(
        name=folder.name, trunks=tuple(Trunk(name, (name,)) for name in members),
        stretch=Stretch(), band=BAND, pixel_scale_arcsec=PIXEL_SCALE_ARCSEC,
        cutout_size=CUTOUT_SIZE, metrics={}, training=dict(training),
        thresholds={f"fpr_{rate:g}": threshold(others, rate) for rate in FALSE_POSITIVE_RATES},
    )  # fmt: skip
    heads = {name: (weights, bias) for name, (_, weights, bias) in members.items()}
    save_bundle(folder, description, {name: one[0] for name, one in members.items()}, heads)
    if isinstance(screen, LensFlow):
        _screen(folder, _of_network(screen.networks_[COARSE]), screen.numbers_[CUT])
    elif screen is not None:
        _screen(folder, as_member(screen), screen_cut)
    return check_bundle(str(folder))


def as_member(finder: ImageFinder) -> Member:
    """What a bundle keeps of a fitted finder.

    A network loses its last layer, which becomes the head, and is shown the first of a bundle's
    three channels. Any other finder is kept whole.
    """
    if not isinstance(finder, NetworkFinder):
        return finder, np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    return _of_network(finder.networks_[FINE if isinstance(finder, LensFlow) else "network"])


def _of_network(network: keras.Model) -> Member:
    if network.input_shape[1:3] != (CUTOUT_SIZE, CUTOUT_SIZE):
        raise InputError(
            f"network of {network.input_shape[2]} x {network.input_shape[1]} pixels: a member sees "
            f"cutouts of {CUTOUT_SIZE}; fit it to those"
        )
    last = network.layers[-1]
    kernel, bias = (np.asarray(array, np.float32) for array in last.get_weights())
    if kernel.shape[1] == 2:
        # The softmax of two is the logistic function of their difference.
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    images = keras.Input((CUTOUT_SIZE, CUTOUT_SIZE, 3))
    channel = keras.layers.Conv2D(1, 1, use_bias=False, trainable=False)
    features = keras.Model(network.input, last.input)(channel(images))
    channel.set_weights([np.array([1.0, 0.0, 0.0]).reshape(1, 1, 3, 1)])
    return keras.Model(images, features), kernel, bias


def _screen(folder: Path, member: Member, cut: float) -> None:
    network, weights, bias = member
    add_screen(folder, network, weights[:, 0], float(bias[0]), cut, {}, on_by_default=True)
