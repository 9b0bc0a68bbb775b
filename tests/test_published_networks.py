"""The published networks: layer by layer against their tables, and what they learn."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from toy_stamps import draw_toy

from lensweep.scanner.network.stretch import Stretch, in_noise_units
from lensweep.training.published.deeplens import CLIP_SIGMA, MEAN_IMAGE, DeepLens
from lensweep.training.published.lensflow import CUT, LensFlow, hardest
from lensweep.training.published.stamps import check_stamps, faint
from lensweep.training.published.thesis import ThesisNetwork

# Table 3-1 of the thesis, channels last as Keras has them, and the parameters that follow.
LENSFLOW = [
    ((96, 96, 30), 30 * (25 + 1)), ((48, 48, 30), 0), ((44, 44, 60), 60 * (30 * 25 + 1)),
    ((22, 22, 60), 0), ((18, 18, 90), 90 * (60 * 25 + 1)), ((9, 9, 90), 0), ((7290,), 0),
    ((1000,), 7290 * 1000 + 1000), ((800,), 1000 * 800 + 800), ((600,), 800 * 600 + 600),
    ((2,), 600 * 2 + 2),
]  # fmt: skip


def test_lensflow_is_as_its_table():
    images, *layers = LensFlow().build((100, 100, 1)).layers
    assert images.output.shape == (None, 100, 100, 1)
    assert [(layer.output.shape[1:], layer.count_params()) for layer in layers] == LENSFLOW
    kinds = [getattr(layer, "activation", None) for layer in layers]
    names = [None if kind is None else kind.__name__ for kind in kinds]
    assert names == ["tanh", None] * 3 + [None] + ["relu"] * 3 + ["linear"]


def test_deeplens_has_its_stages():
    network = DeepLens().build((45, 45, 1))
    added = [layer.output.shape[1:] for layer in network.layers if "add" in layer.name]
    sizes = ((45, 32), (23, 64), (12, 128), (6, 256), (3, 512))
    assert added == [(size, size, maps) for size, maps in sizes for _ in range(3)]
    # One convolution, three in each of fifteen units, one dense layer: 47; and a 1 x 1 in the
    # shortcut of each of the four units that halve the size and double the maps.
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 3 * 15 + 4
    assert network.output_shape == (None, 1)


def test_deeplens_has_its_parameters():
    def conv(width, before, after):
        return width**2 * before * after + after

    # The first convolution has no bias, and the first unit is activated by what is before it.
    expected = 45**2 + 1 + conv(7, 1, 32) - 32
    before = 32
    for inner, outer in ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512)):
        for _ in range(3):
            expected += 4 * before + conv(1, before, inner) + 4 * inner + conv(3, inner, inner)
            expected += 4 * inner + conv(1, inner, outer)
            expected += conv(1, before, outer) if before != outer else 0
            before = outer
    assert DeepLens().build((45, 45, 1)).count_params() == expected + 512 + 1


def test_deeplens_sees_units_of_noise_to_its_clip_without_the_mean_image():
    finder = DeepLens()
    network = finder.build((8, 8, 1))
    scaled = np.linspace(-5.0, 600.0, 64, dtype=np.float32).reshape(1, 8, 8)
    finder.prepare(network, scaled)
    seen = keras.Model(network.input, network.get_layer(MEAN_IMAGE).output)(faint(scaled))
    # Of one cutout alone, the mean is itself.
    assert np.abs(seen).max() < 0.05
    finder.prepare(network, np.zeros_like(scaled))
    seen = keras.Model(network.input, network.get_layer(MEAN_IMAGE).output)(faint(scaled))
    assert np.asarray(seen)[0, ..., 0] == pytest.approx(np.minimum(scaled[0], CLIP_SIGMA), abs=0.05)


def test_deeplens_falls_to_a_hundredth_in_thirds():
    rate = DeepLens().optimizer(120, 1e-3)._learning_rate
    rates = [float(rate(step)) for step in (0, 39, 41, 79, 81, 119)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_deeplens_turns_and_zooms_and_keeps_the_light():
    scaled = np.nan_to_num(in_noise_units(draw_toy(4, 50)[0])[0])
    turned = DeepLens().augmented(scaled, np.random.default_rng(0))
    assert turned.shape == scaled.shape
    assert not np.allclose(turned, scaled, atol=1.0)
    # Zoomed in by a tenth at most: as much light, and somewhat more.
    assert 0.9 < turned.sum() / scaled.sum() < 1.35


# Small cutouts, and as many passes as it takes; every one of them ends above 0.99.
LEARNERS = {
    "lensflow": (LensFlow(epochs=8, fine_epochs=2, batch_size=16, learning_rate=1e-3,
                          random_state=0), 48),
    "deeplens": (DeepLens(epochs=6, batch_size=16, random_state=0), 24),
    # Between layers that stay as they began: at random here, where no pretrained ones are.
    "thesis": (ThesisNetwork("vgg16", "frozen", epochs=3, batch_size=16, input_px=32, dropout=0.2,
                             random_state=0), 32),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_rings_are_told_from_galaxies(name, monkeypatch):
    monkeypatch.setattr("lensweep.training.published.thesis.find_weights", lambda *_: None)
    # All stages of DeepLens, with one unit of three in each.
    monkeypatch.setattr("lensweep.training.published.deeplens.UNITS", 1)
    finder, size_px = LEARNERS[name]
    flux, labels = draw_toy(128, size_px)
    finder = clone(finder).fit(flux[:80], labels[:80])
    assert roc_auc_score(labels[80:], finder.decision_function(flux[80:])) > 0.99


def test_a_seed_makes_the_same_network_again():
    flux, labels = draw_toy(32, 48)
    finder = LensFlow(epochs=1, fine_epochs=1, batch_size=16, random_state=3)
    first, again = (clone(finder).fit(flux, labels).decision_function(flux) for _ in range(2))
    assert np.array_equal(first, again)
    other = clone(finder).set_params(random_state=4).fit(flux, labels).decision_function(flux)
    assert not np.array_equal(first, other)


def test_lensflow_looks_closely_at_what_its_coarse_network_lets_pass():
    flux, labels = draw_toy(64, 48)
    finder = LensFlow(epochs=3, fine_epochs=1, batch_size=16, coarse_recall=0.9, random_state=1)
    finder.fit(flux, labels)
    coarse = finder._ask(finder.networks_["coarse"], flux)
    fine = finder._ask(finder.networks_["fine"], flux)
    # Nothing that the coarse network calls a lens is refused.
    assert finder.numbers_[CUT] <= 0.0
    passed = coarse >= finder.numbers_[CUT]
    assert passed[labels].mean() >= 0.9
    assert np.array_equal(finder.decision_function(flux)[passed], fine[passed])
    assert (finder.decision_function(flux)[~passed] < -20.0).all()
    assert finder.n_parameters_ == 2 * finder.networks_["fine"].count_params()


def test_cutouts_are_scaled_some_at_a_time_to_what_they_are_all_together():
    flux, _ = draw_toy(300, 48)
    np.testing.assert_array_equal(LensFlow().scaled(flux), in_noise_units(flux)[0])


def test_the_fine_phase_is_shown_the_hardest():
    scores = np.array([3.0, 1.0, 2.0, 9.0, -1.0])
    labels = np.array([False, False, False, True, False])
    assert hardest(scores, labels, 0.5).tolist() == [0, 2, 3]


def test_what_a_finder_sees_is_the_first_channel_of_a_bundle():
    flux, _ = draw_toy(3)
    scaled, _ = in_noise_units(flux)
    assert np.array_equal(faint(scaled)[..., 0], Stretch()(flux)[..., 0])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        # Features instead of cutouts.
        (lambda flux, labels: (flux[:, 0], labels), "cutouts of shape"),
        # One class.
        (lambda flux, labels: (flux, np.ones_like(labels)), "1 classes"),
        # A label too few.
        (lambda flux, labels: (flux, labels[1:]), "inconsistent numbers"),
    ],
)
def test_what_is_not_labelled_cutouts_is_refused(spoil, said):
    flux, labels = draw_toy(4, 48)
    with pytest.raises(ValueError, match=said):
        LensFlow(random_state=0).fit(*spoil(flux, labels))


def test_cutouts_may_lack_data():
    assert np.isnan(check_stamps(draw_toy(2)[0])).any()
