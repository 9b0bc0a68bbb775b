"""Pretrained trunks: which network, its weights, and how far down it may be adapted.

A trunk takes what `scanner.stretch` makes of a cutout, (100, 100, 3) within [-1, 1], and ends in
globally pooled features.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from scanner.errors import InputError

INPUT_SHAPE = (100, 100, 3)


@dataclass(frozen=True)
class Backbone:
    """One pretrained network of keras.applications.

    Attributes
    ----------
    build : callable
        The constructor in keras.applications.
    last_blocks : dict of int to str
        For n unfrozen blocks, the name of the first layer that is adapted.
    """

    build: Callable[..., Any]
    last_blocks: dict[int, str]


BACKBONES = {
    "xception": Backbone(
        build=keras.applications.Xception,
        last_blocks={n: f"block{15 - n}_sepconv1_act" for n in (4, 7, 10)},
    ),
}


def build_trunk(name: str, weights: Path) -> keras.Model:
    """Build a trunk and load its pretrained weights from a file.

    Parameters
    ----------
    name : str
        One of BACKBONES.
    weights : Path
        A Keras `.weights.h5` file of the network without its top.

    Returns
    -------
    keras.Model
        (n, 100, 100, 3) float32 to (n, features) float32.

    Raises
    ------
    InputError
        If the name is unknown, or the file is not there or holds another network.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone {name!r}: not one of {', '.join(BACKBONES)}")
    if not weights.is_file():
        raise InputError(
            f"weights {weights}: no such file; give the path of {name}'s ImageNet weights without "
            "the top, as a Keras .weights.h5 file"
        )
    trunk = BACKBONES[name].build(
        weights=None, include_top=False, pooling="avg", input_shape=INPUT_SHAPE
    )
    try:
        with warnings.catch_warnings():
            # Keras passes over layers that a file lacks, with a warning.
            warnings.simplefilter("error", UserWarning)
            trunk.load_weights(weights)
    except (ValueError, UserWarning) as error:
        raise InputError(f"weights {weights}: not those of {name} ({error})") from error
    return trunk


def split_trunk(trunk: keras.Model, name: str, n_blocks: int) -> tuple[keras.Model, keras.Model]:
    """Split a trunk into the part that stays frozen and the last blocks, sharing its layers.

    Raises
    ------
    InputError
        If the backbone has no such cut.
    """
    cuts = BACKBONES[name].last_blocks
    if n_blocks not in cuts:
        raise InputError(f"{name}: last {n_blocks} blocks, but it can be cut at {sorted(cuts)}")
    middle = trunk.get_layer(cuts[n_blocks]).input
    return keras.Model(trunk.input, middle), keras.Model(middle, trunk.output)
