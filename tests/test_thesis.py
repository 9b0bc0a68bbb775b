"""The thesis' networks: their parameters, their front, what is trained, by which equations."""

import keras
import numpy as np
import pandas as pd
import pytest
from toy_stamps import draw_toy

from lensweep.ground.errors import InputError
from lensweep.training.evaluation.result_tables import PUBLISHED
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.classifier import PREPROCESSING
from lensweep.training.published.network_finder import NetworkFinder
from lensweep.training.published.thesis import (
    FRONT,
    MIDDLES,
    NETWORKS,
    OPTIMIZERS,
    ThesisNetwork,
    interpolate,
    xavier,
)


@pytest.mark.parametrize("backbone", NETWORKS)
def test_the_thesis_networks_have_their_parameters(backbone):
    known, finder = BACKBONES[backbone], ThesisNetwork(backbone)
    # No memory for 144 million weights.
    with keras.StatelessScope(initialize_variables=False):
        network, pretrained = finder.layers((100, 100, 1))
    assert pretrained.input_shape[1:] == (known.native_size, known.native_size, 3)
    # Interpolation threefold to 224 and 299 pixels, fourfold to 331.
    width = 8 if known.native_size == 331 else 5
    front = 16 * (width**2 + 1) + 3 * (16 * 25 + 1) + (12 if known.caffe else 0)
    normalised = int(np.prod(pretrained.output_shape[1:]) if "vgg" in backbone
                     else pretrained.output_shape[-1])  # fmt: skip
    last = 4096 if "vgg" in backbone else normalised
    # The published network with two classes instead of a thousand.
    replaced = known.parameters - 998 * (last + 1)
    assert network.count_params() == replaced + front + 4 * normalised
    published = pd.read_csv(PUBLISHED).set_index("backbone").loc[backbone, "parameters_millions"]
    # As printed, with a thousand classes; NASNet with the auxiliary classifier, 4.6 million.
    auxiliary = 4_600_000 if backbone == "nasnetlarge" else 0
    assert (known.parameters + auxiliary) / 1e6 == pytest.approx(published, abs=0.7)


@pytest.mark.parametrize(
    ("middle", "share"),
    [
        # Stem and head alone.
        ("frozen", (0.0, 0.1)),
        # All.
        ("trained", (0.9, 1.0)), ("xavier", (0.9, 1.0)),
    ],
)  # fmt: skip
def test_the_middle_is_trained_or_not(middle, share, monkeypatch):
    finder = ThesisNetwork("vgg16", middle, input_px=32)
    if middle != "xavier":
        monkeypatch.setattr("lensweep.training.published.thesis.find_weights", lambda *_: None)
    network = finder.build((32, 32, 1))
    pretrained = [layer for layer in network.layers if layer.name.startswith("block")]
    assert {layer.trainable for layer in pretrained} == {middle != "frozen"}
    assert len(pretrained) == 18


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_deconvolutions_begin_as_interpolation(factor):
    finder = ThesisNetwork("vgg16", "trained", input_px=32 * factor, random_state=0)
    network, _ = finder.layers((32, 32, 1))
    interpolate(network)
    # A slope across zero, which both signs of a map are needed for.
    slope = np.broadcast_to(np.linspace(-0.6, 0.4, 32, dtype=np.float32), (32, 32))
    front = keras.Model(network.input, network.get_layer(FRONT[1]).output)
    seen = np.arctanh(front(slope[None, :, :, None])[0])
    assert seen.shape == (32 * factor, 32 * factor, 3)
    inner = seen[4:-4, 4:-4]
    np.testing.assert_allclose(np.diff(inner, axis=1), 1.0 / 31 / factor, rtol=1e-3)
    assert inner.min() < -0.4
    assert inner.max() > 0.2
    assert np.ptp(inner, axis=(0, 2)).max() < 1e-5


def test_xavier_begins_within_glorots_bounds():
    # The smaller of NASNet's networks, which Keras begins by another rule.
    network, _ = ThesisNetwork("nasnetmobile", "xavier", input_px=32).layers((16, 16, 1))
    xavier(network, 3)
    for variable in network.variables:
        if variable.name == "kernel" and len(variable.shape) == 4:
            height, width, inputs, outputs = variable.shape
            bound = np.sqrt(6.0 / (height * width * (inputs + outputs)))
            assert np.abs(variable).max() <= bound * 1.0001


def test_pretrained_weights_that_are_not_there_are_asked_for(tmp_path):
    flux, labels = draw_toy(8, 32)
    finder = ThesisNetwork("vgg16", input_px=32, weights=str(tmp_path / "vgg16.weights.h5"))
    with pytest.raises(InputError, match="no such file"):
        finder.fit(flux, labels)


def steps_by_hand(name, gradient, rate, n_steps):
    """Equations 2 to 5 of the thesis; what Nadam adds to Adam as of Dozat (2016)."""
    theta, m, v, product = 1.0, 0.0, 0.0, 1.0
    for t in range(1, n_steps + 1):
        g = gradient(theta)
        if name == "sgd":
            theta -= rate * g
        elif name == "rmsprop":
            v = 0.9 * v + 0.1 * g**2
            theta -= rate * g / np.sqrt(v + 1e-8)
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            mean, spread = m / (1.0 - 0.9**t), v / (1.0 - 0.999**t)
            if name == "nadam":
                now, following = (0.9 * (1.0 - 0.5 * 0.96**s) for s in (t, t + 1))
                product *= now
                mean = (following * m / (1.0 - product * following)
                        + (1.0 - now) * g / (1.0 - product))  # fmt: skip
            theta -= rate * mean / (np.sqrt(spread) + 1e-8)
    return theta


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_their_equations(name):
    variable = keras.Variable(1.0)
    optimizer = OPTIMIZERS[name](0.05)
    optimizer.build([variable])
    for _ in range(4):
        optimizer.apply([2.0 * variable.value], [variable])
    assert float(variable) == pytest.approx(
        steps_by_hand(name, lambda x: 2.0 * x, 0.05, 4), rel=1e-4
    )


def test_xavier_leaves_the_preprocessing_and_means_forget_the_beginning():
    """What Caffe's networks are given is no layer that learns."""
    network = ThesisNetwork("resnet50", "xavier", input_px=100, random_state=1).build((100, 100, 1))
    kernel, bias = network.get_layer(PREPROCESSING).get_weights()
    np.testing.assert_allclose(kernel[0, 0], 127.5 * np.eye(3)[::-1])
    assert (bias > 0.0).all()
    kinds = keras.layers.BatchNormalization
    momenta = {layer.momentum for layer in network.layers if isinstance(layer, kinds)}
    assert momenta == {0.9}


def test_names_are_those_of_the_thesis():
    assert set(NETWORKS) == set(pd.read_csv(PUBLISHED)["backbone"])
    assert MIDDLES == ("frozen", "trained", "xavier")
    assert issubclass(ThesisNetwork, NetworkFinder)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_rises_and_falls_to_nothing(name):
    rate = ThesisNetwork(optimizer_name=name).optimizer(100, 1e-3)._learning_rate
    rates = [float(rate(step)) for step in (0, 5, 10, 55, 100)]
    assert rates == pytest.approx([0.0, 5e-4, 1e-3, 5e-4, 0.0], abs=1e-9)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        # Nobody's network; a way that would be taken for "all trained"; no equation of the thesis.
        ({"backbone": "alexnet"}, "backbone = alexnet: must be one of"),
        ({"middle": "forzen"}, "middle = forzen: must be one of"),
        ({"optimizer_name": "adagrad"}, "optimizer_name = adagrad: must be one of"),
        # Fewer pixels than five poolings leave.
        ({"backbone": "xception", "input_px": 50}, "xception takes 71 a side or more"),
    ],
)
def test_what_a_network_cannot_be_is_said_before_it_is_built(asked, said):
    finder = ThesisNetwork(**{"backbone": "vgg16", "middle": "xavier", "input_px": 32} | asked)
    with pytest.raises(InputError, match=said):
        finder.fit(*draw_toy(8, 32))


def test_what_was_augmented_beforehand_stays_as_it_is():
    flux, _ = draw_toy(4, 32)
    scaled = ThesisNetwork().scaled(flux)
    rng = np.random.default_rng(2)
    assert ThesisNetwork(augment=False).augmented(scaled, rng) is scaled
    assert not np.array_equal(ThesisNetwork().augmented(scaled, rng), scaled)
