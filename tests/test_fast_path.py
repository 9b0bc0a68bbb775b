"""Frozen graphs against plain Keras, on the same cutouts."""

import shutil

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from lensweep.scanner.network import networks
from lensweep.scanner.network.batch_size import CPU_BATCH
from lensweep.scanner.network.bundle_additions import record_precision
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import PrecisionCheck
from lensweep.scanner.network.graph_input import images_of_looks
from lensweep.scanner.network.inference import FULL, Ensemble
from lensweep.scanner.network.looks import first_looks, turned_looks
from lensweep.scanner.network.networks import freeze, load_network, on_gpu, reduced_precision
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.network.second_look import TURNS, turned
from lensweep.scanner.network.stretch import Stretch, in_noise_units
from lensweep.training.simulation.simulate import plan_kinds, simulate

AGREES = PrecisionCheck(10_000, 1.0, 100, 0.0)


@pytest.fixture(scope="module")
def flux():
    """Simulated cutouts, some with pixels that have no data."""
    drawn = np.stack([cutout.flux for cutout in simulate(plan_kinds(CPU_BATCH + 5, 4), 4)])
    drawn[3, :30] = np.nan
    return drawn


@pytest.fixture(scope="module")
def network():
    """Everything that a rewrite may fold or fuse, with statistics that are not the identity."""
    keras.utils.set_random_seed(8)
    layers = keras.layers
    inputs = keras.Input((100, 100, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    left = layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(x)
    left = layers.BatchNormalization()(left)
    left = layers.MaxPooling2D(3, 2, padding="same")(left)
    right = layers.BatchNormalization()(layers.Conv2D(16, 1, strides=2, padding="same")(x))
    outputs = layers.GlobalAveragePooling2D()(layers.add([left, right]))
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(8)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape) if "variance" in v.path or "gamma" in v.path
            else rng.normal(0.0, 0.2, w.shape)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )  # fmt: skip
    return model


def test_an_ensemble_scores_as_its_keras_chain(tiny_bundle, flux):
    loaded = Ensemble(check_bundle(str(tiny_bundle)), precision="full")
    with np.load(tiny_bundle / "heads.npz") as heads:
        weights, biases = heads["tiny.weights"], heads["tiny.biases"]
    head = keras.layers.Dense(3)
    chain = keras.Sequential([load_network(tiny_bundle, "tiny"), head])
    chain.build((None, 100, 100, 3))
    head.set_weights([weights, biases])
    expected = chain.predict(loaded.description.stretch(flux), verbose=0)
    np.testing.assert_allclose(loaded.first_look(flux), expected, atol=1e-4)
    assert expected.std() > 0.1


@pytest.fixture(scope="module")
def looks(flux):
    """Eight of them, turned in every way, in units of no noise at all and of infinite ones."""
    extreme = flux[:8].copy()
    extreme[4], extreme[5], extreme[6, 20, 20] = np.nan, 0.0, 3e7
    some = first_looks(extreme, measure_noise(extreme))
    return turned_looks(some, range(TURNS))


@pytest.mark.parametrize("from_flux", [False, True])  # as on processors, as on a device
def test_a_frozen_network_is_the_network(network, looks, from_flux):
    expected = network.predict(images_of_looks(Stretch(), looks), verbose=0)
    found = freeze(network, Stretch(), None, from_flux)(looks)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.1


def test_images_are_those_that_training_was_shown(looks):
    """The stretch of `training`, of turned cutouts in units of their noise."""
    n = len(looks) // TURNS
    scaled = in_noise_units(looks.flux[:n])[0]
    expected = Stretch().of_noise_units(
        np.concatenate([turned(scaled, turn) for turn in range(TURNS)])
    )
    np.testing.assert_array_equal(images_of_looks(Stretch(), looks), expected)


# In half precision, too: only what follows is computed in that.
@pytest.mark.parametrize("reduced", [None, "float16" if on_gpu() else "bfloat16"])
def test_the_graphs_stretch_is_numpys(looks, reduced):
    inputs = keras.Input((100, 100, 3))
    shown = freeze(
        keras.Model(inputs, keras.layers.Identity()(inputs)), Stretch(), reduced, from_flux=True
    )
    np.testing.assert_allclose(shown(looks), images_of_looks(Stretch(), looks), atol=1e-6)


@pytest.mark.skipif(reduced_precision() is None, reason="no reduced precision on this machine")
@pytest.mark.parametrize("from_flux", [False, True])
def test_reduced_precision_is_reduced_and_close(network, looks, from_flux):
    expected = network.predict(images_of_looks(Stretch(), looks), verbose=0)
    found = freeze(network, Stretch(), reduced_precision(), from_flux)(looks)
    error = np.sqrt(((found - expected) ** 2).mean()) / expected.std()
    # Eight or eleven bits of mantissa: not exact, and not far off.
    assert 1e-5 < error < 0.02


def test_reduced_precision_needs_the_bundles_word(tiny_bundle, tmp_path, flux):
    folder = shutil.copytree(tiny_bundle, tmp_path / "copy")
    fast = reduced_precision()
    assert Ensemble(check_bundle(str(folder))).precision == FULL
    checked = record_precision(folder, fast or "bfloat16", AGREES)
    assert Ensemble(checked).precision == (fast or FULL)
    assert Ensemble(checked, precision="full").precision == FULL
    full, auto = Ensemble(checked, "full").logits(flux), Ensemble(checked).logits(flux)
    assert spearmanr(full.mean(axis=1), auto.mean(axis=1)).statistic > 0.99
    failed = record_precision(folder, fast or "bfloat16", PrecisionCheck(10_000, 0.9, 100, 0.0))
    assert Ensemble(failed).precision == FULL


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512f avx512_bf16 vaes", True),  # in the instructions for vectors
        ("flags : fpu amx_tile amx_bf16", True),  # in those for matrices
        ("flags : fpu avx512f avx512bw avx512_vnni", False),  # half of what looks like it
        ("Features : fp asimd", False),  # no such processor
    ],
)
def test_a_processor_says_whether_it_has_bfloat16(flags, expected, tmp_path, monkeypatch):
    said = tmp_path / "cpuinfo"
    said.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(networks, "_CPUINFO", said)
    assert networks.processor_has_bfloat16() is expected
