"""Pretrained weights: where they are, whether they are the right ones, and into the network."""

import hashlib
import os
import warnings
from pathlib import Path

import requests

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import check_bundle, sha256_of
from lensweep.scanner.network.networks import load_network, network_files
from lensweep.training.fit.backbones import BACKBONES, Backbone
from lensweep.training.fit.keras_on_tensorflow import keras

CONNECT_TIMEOUT_S = 10.0


def find_weights(backbone: str, init: str, weights: str, sha256: str) -> Path | None:
    """The file of a trunk's initial weights, checked; downloaded by Keras if need be.

    Parameters
    ----------
    backbone : str
        One of BACKBONES.
    init : str
        ``imagenet``, ``random``, ``file`` or ``bundle``.
    weights : str
        Path; may be empty for ``imagenet``. For ``bundle`` an ensemble's name or folder.
    sha256 : str
        What the file must have, or the bundle; empty for files known to BACKBONES.

    Returns
    -------
    Path or None
        None for ``random``.

    Raises
    ------
    InputError
        If there is no such file and it cannot be had, or it is not the one it should be.
    """
    if init == "random":
        return None
    if init == "bundle":
        return _of_bundle(backbone, weights, sha256)
    known = BACKBONES[backbone]
    if not weights:
        return _of_keras(backbone, known)
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            f"weights {path}: no such file; give the path of {backbone}'s weights without the top, "
            f"as Keras' {known.file} or a .weights.h5 file"
        )
    found = sha256_of(path)
    if sha256 and found != sha256:
        raise InputError(
            f"weights {path}: SHA-256 {found}, but {sha256} was asked for; give the file that the "
            "config names, or its own weights_sha256 in a config of yours"
        )
    if not sha256 and found != known.sha256 and _md5(path) != known.md5:
        raise InputError(
            f"weights {path}: SHA-256 {found} is not known as {backbone}'s ImageNet weights; a "
            "config of lensweep train may say this as weights_sha256 if you trust the file"
        )
    return path


def load_trunk(trunk: keras.Model, path: Path, input_size: int, backbone: str) -> None:
    """Give a trunk the weights of a bundle's, stem included.

    Parameters
    ----------
    trunk : keras.Model
    path : Path
        As of `find_weights`.
    input_size : int
        Pixels a side that the trunk's network sees; no weight depends on it.
    backbone : str

    Raises
    ------
    InputError
        If the bundle's trunk is another network, or sees cutouts at another size.
    """
    theirs = load_network(path.parent, path.stem)
    sizes = {layer.output.shape[1:3] for layer in theirs.layers[:3]}
    ours = {layer.output.shape[1:3] for layer in trunk.layers[:3]}
    try:
        if sizes != ours:
            raise ValueError(f"its network sees {max(sizes)} pixels, not {input_size}")
        trunk.set_weights(theirs.get_weights())
    except ValueError as error:
        raise InputError(
            f"weights {path}: not those of {backbone} with this stem and input size ({error})"
        ) from error


def load_weights(network: keras.Model, path: Path, backbone: str) -> None:
    """Load a file of weights into a network without its top.

    Raises
    ------
    InputError
        If the file holds another network, or arrays of another shape.
    """
    try:
        with warnings.catch_warnings():
            # Keras passes over layers that a file lacks, with a warning.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise InputError(
            f"weights {path}: not those of {backbone} without its top ({error})"
        ) from error


def _of_bundle(backbone: str, name: str, sha256: str) -> Path:
    bundle = check_bundle(name)
    if sha256 and sha256 != bundle.sha256:
        raise InputError(
            f"ensemble {bundle.folder}: SHA-256 {bundle.sha256}, but {sha256} was asked for"
        )
    names = [trunk.name for trunk in bundle.description.trunks]
    if backbone not in names:
        raise InputError(
            f"ensemble {bundle.folder}: its trunks are {', '.join(names)}, but the config's is "
            f"{backbone}; name one that has it"
        )
    return Path(bundle.folder) / network_files(backbone)[1]


def _of_keras(backbone: str, known: Backbone) -> Path:
    cached = _keras_home() / "models" / known.file
    if not (cached.is_file() and _md5(cached) == known.md5):
        try:
            # Keras has no error of its own for a download that fails.
            requests.head(known.url, timeout=CONNECT_TIMEOUT_S).raise_for_status()
        except requests.RequestException as error:
            raise InputError(
                f"{backbone}: its ImageNet weights cannot be downloaded ({error}); get {known.url} "
                f"(MD5 {known.md5}) on a machine with a network and put it at {cached}, or name "
                "the file with --weights"
            ) from error
        keras.utils.get_file(
            known.file, known.url, cache_subdir="models", cache_dir=_keras_home(),
            file_hash=known.md5,
        )  # fmt: skip
    return cached


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
