import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.networks import load_network
from lensweep.training.fit.classifier import build_trunk
from lensweep.training.fit.config import choose_config
from lensweep.training.fit.screen import kept_screen

SHIPPED = "xception-7fold"


@pytest.fixture(scope="module")
def config():
    """The shipped ensemble's own recipe, begun at its own trunk."""
    chosen = choose_config(SHIPPED, None, init="bundle", weights=SHIPPED)
    return dataclasses.replace(chosen, weights_sha256="")


def test_training_begins_at_a_bundles_trunk(config):
    images = np.random.default_rng(1).uniform(-1, 1, (2, 100, 100, 3)).astype("f4")
    theirs = load_network(Path(check_bundle(SHIPPED).folder), "xception")
    np.testing.assert_array_equal(
        build_trunk(config).predict(images, verbose=0), theirs.predict(images, verbose=0)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "none"}, "ensemble none: neither a folder"),
        ({"weights_sha256": "abc"}, "but abc was asked for"),
        ({"backbone": "vgg16", "trainable": "head"}, "its trunks are xception, but the config's"),
        # No weight tells at which size the network saw cutouts.
        ({"input_size": 128}, "not those of xception with this stem and input size"),
    ],
)
def test_another_trunk_is_refused(config, change, message):
    with pytest.raises(InputError, match=message):
        build_trunk(dataclasses.replace(config, **change))


def test_a_training_without_a_screen_keeps_the_bundles(tiny_bundle):
    screen = kept_screen(SHIPPED)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 100, 100, 3)).astype("f4")
    theirs = load_network(Path(check_bundle(SHIPPED).folder), "screen")
    np.testing.assert_array_equal(
        screen.predict(images, verbose=0), theirs.predict(images, verbose=0)
    )
    assert kept_screen(str(tiny_bundle)) is None


def test_a_bundle_is_named():
    with pytest.raises(InputError, match="needs weights, an ensemble's name or folder"):
        choose_config(SHIPPED, None, init="bundle", weights="")
