import functools
import io
import json
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.training.data.labelled_set import fill
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.outlook import adversarial
from lensweep.training.outlook.adversarial import binned
from lensweep.training.outlook.capsules import CLASS_UNITS, CapsuleNetwork, squash
from lensweep.training.outlook.experiments import (
    FINDERS,
    auc_interval,
    held_out_part,
    run_outlook,
)
from lensweep.training.outlook.phase_stretch import phase_stretch
from lensweep.training.outlook.settings import IDEAS, OutlookSettings
from lensweep.training.outlook.spatial_transformer import IDENTITY, AffineSampler


def toy(n, seed):
    """Rings and spots of the same light, on noise; which are rings."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:100, :100] - 49.5
    is_ring = rng.random(n) < 0.5
    flux = rng.normal(0.0, 0.02, (n, 100, 100)).astype(np.float32)
    for image, ring in zip(flux, is_ring, strict=True):
        radius = np.hypot(x - rng.normal(0, 3), y - rng.normal(0, 3))
        light = np.exp(-0.5 * ((radius - (20.0 if ring else 0.0)) / (2.0 if ring else 6.0)) ** 2)
        image += (40.0 * light / light.sum() * rng.uniform(2, 6)).astype(np.float32)
    return flux, is_ring


def in_bands(flux, n_bands):
    """The same in a second band, where noise hides it, if a finder looks at two."""
    if n_bands == 1:
        return flux
    noise = np.random.default_rng(10).normal(0.0, 0.02, flux.shape).astype(np.float32)
    return np.stack([flux, noise], axis=-1)


@functools.cache
def learned(name):
    """An idea, trained on a toy."""
    # Where an image is moved too fast, one seed in three learns nothing in so few steps.
    n, epochs, rate = {
        "spatial-transformer": (160, 6, 2e-3), "adversarial": (112, 4, adversarial.RATE),
    }.get(name, (112, 4, 4e-3))  # fmt: skip
    finder = FINDERS[name][0](epochs=epochs, batch_size=16, learning_rate=rate, random_state=3)
    assert clone(finder).get_params() == finder.get_params()
    flux, labels = toy(n, seed=1)
    return finder.fit(in_bands(flux, finder.n_bands), labels)


@pytest.mark.parametrize("name", IDEAS)
def test_every_idea_learns_a_separable_toy(name):
    seen, truth = toy(60, seed=2)
    finder = learned(name)
    scores = finder.decision_function(in_bands(seen, finder.n_bands))
    assert roc_auc_score(truth, scores) > 0.99


def test_a_generated_cutout_follows_its_seed_and_the_kind_asked_for():
    finder = learned("adversarial")
    lenses, others = (np.full(40, kind) for kind in (True, False))
    made = finder.generate(lenses, seed=5)
    assert made.shape == (40, adversarial.SIDE, adversarial.SIDE, 1)
    assert np.abs(made).max() <= 1.0
    np.testing.assert_array_equal(made, finder.generate(lenses, seed=5))
    assert np.abs(made[0] - made[1]).max() > 0.0
    # Of the same noise: what differs is the kind alone.
    assert np.abs(made - finder.generate(others, seed=5)).max() > 0.0


def test_binning_keeps_noise_in_its_own_units():
    noise = np.random.default_rng(6).normal(size=(4, 100, 100)).astype("f4")
    # The stretch is asinh(s / 2) / 4 - 0.5: back to units of the noise.
    back = 2.0 * np.sinh(4.0 * (binned(noise) + 0.5))
    assert back.std() == pytest.approx(1.0, abs=0.05)


def test_a_flat_image_has_no_phase_and_an_edge_has():
    flat = np.ones((1, 64, 64))
    np.testing.assert_allclose(phase_stretch(flat), 0.0, atol=1e-6)
    edge = np.where(np.arange(64) < 32, 1.0, 2.0) * flat
    phase = np.abs(phase_stretch(edge)[0])
    assert phase[:, 28:36].max() > 5 * phase[:, 12:20].max()


def test_the_identity_leaves_an_image_and_a_map_moves_it():
    images = np.random.default_rng(7).random((2, 20, 30, 3)).astype("f4")
    sampler = AffineSampler()
    np.testing.assert_allclose(sampler(images, np.zeros((2, 6), "f4")), images, atol=2e-3)
    mirror = np.array([-1.0, 0, 0, 0, 1, 0], "f4") - np.array(IDENTITY, "f4")
    turned = np.asarray(sampler(images, np.stack([mirror, mirror])))
    np.testing.assert_allclose(turned, images[:, :, ::-1], atol=2e-3)
    # A step of four columns, of which 29 are the two units from edge to edge.
    step = np.array([0, 0, 4 * 2 / 29, 0, 0, 0], "f4")
    moved = np.asarray(sampler(images, np.stack([step, step])))
    np.testing.assert_allclose(moved[:, :, :26], images[:, :, 4:], atol=2e-3)


def test_squashed_capsules_keep_their_direction_and_are_shorter_than_one():
    capsules = np.array([[[3.0, 4.0], [0.03, 0.04]]], "f4")
    short = np.asarray(squash(capsules))
    lengths = np.linalg.norm(short, axis=-1)[0]
    np.testing.assert_allclose(lengths, [25 / 26, 0.0025 / 1.0025], rtol=0.05)
    np.testing.assert_allclose(short[0, 0, 1] / short[0, 0, 0], 4 / 3, rtol=1e-5)


def test_the_capsules_are_as_many_as_documented():
    network = CapsuleNetwork().build((100, 100, 1))
    routed = network.get_layer("routed")
    # 100 -> 50 -> 25 -> 7: eight capsules of eight units at 49 places, to two of sixteen.
    assert routed.matrices.shape == (392, 2, CLASS_UNITS, 8)


def toy_shard(start, stop):
    """Part of a labelled set, as `lensweep.training.data.labelled_set.fill` writes it."""
    flux, labels = toy(stop - start, seed=8)
    nowhere, corner = np.full(len(flux), np.nan), np.zeros(len(flux), np.int32)
    cutouts = Cutouts(flux, np.ones(len(flux), "f4"), *[nowhere] * 4, corner, corner)
    kind = np.where(labels, "ring", "spot")
    return cutouts, pd.DataFrame({"kind": kind, "is_lens": labels})


def test_results_are_kept_and_of_one_set(client, command, tmp_path):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    fill(tmp_path / "set", "toy", 60, toy_shard, client, progress)
    where = (tmp_path / "set", tmp_path / "out", progress)
    asked = OutlookSettings(("capsules",), 1, 1)
    first = run_outlook(asked, *where)
    assert first["tested"].tolist() == [15]
    assert first["trained"].tolist() == [45]
    kept = json.loads((tmp_path / "out" / "capsules.json").read_text())
    assert run_outlook(asked, *where)["seconds"].tolist() == [kept["seconds"]]
    with pytest.raises(InputError, match="other epochs or seed"):
        run_outlook(OutlookSettings(("capsules",), 2, 1), *where)
    with pytest.raises(InputError, match="idea = wings"):
        OutlookSettings(("wings",))
    options = ("--idea", "capsules", "--epochs", 1, "--seed", 1)
    status, printed = command("outlook", tmp_path / "set", "--out", tmp_path / "out", *options)
    assert status == 0
    assert f"{first['roc_auc'][0]:.3f}" in printed


def test_a_part_without_lenses_is_refused_before_the_training(client, tmp_path):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    fill(tmp_path / "set", "toy", 3, toy_shard, client, progress)
    where = (tmp_path / "set", tmp_path / "out", progress)
    with pytest.raises(InputError, match=r"of \d cutouts of the \w+ part are lenses, but both"):
        run_outlook(OutlookSettings(("small",), 1, 1), *where)
    with pytest.raises(InputError, match="no idea that was asked for looks at it"):
        run_outlook(OutlookSettings(("small",), 1, 1), *where, second=tmp_path / "gone")


def test_the_interval_of_a_curve_holds_it_and_shrinks():
    rng = np.random.default_rng(9)

    def of(n):
        labels = np.arange(n) % 2 == 0
        scores = rng.normal(size=n) + labels
        low, high = auc_interval(scores, labels)
        assert low < roc_auc_score(labels, scores) < high
        return high - low

    assert of(1000) < 0.6 * of(100)


def test_objects_are_tested_whole():
    objects = np.repeat(np.arange(20), 3)
    chosen = held_out_part(objects, seed=1)
    assert chosen.sum() == 15
    assert (chosen.reshape(20, 3).sum(axis=1) % 3 == 0).all()


def test_networks_of_ideas_can_be_written_as_graphs():
    built = [make().build((48, 48, 1)) for make, _ in FINDERS.values()]
    for network in (*built, adversarial.build_generator(), adversarial.build_discriminator()):
        again = keras.models.model_from_json(network.to_json())
        assert again.count_params() == network.count_params()
