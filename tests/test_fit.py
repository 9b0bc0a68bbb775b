"""Streaming and the training loop, on a network of one small convolution."""

import dataclasses
import io
import time

import keras
import numpy as np
import pytest
from toy_stamps import write_toy_set

from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.networks import on_gpu
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.augment import turn_at_random
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.stream import BATCH, Stream
from lensweep.training.fit.loop import Course, compile_classifier, fit
from lensweep.training.fit.on_device import GPU_BATCH, Images, batch_of, of_unstretched

COURSE = Course("test", epochs=4, learning_rate=1e-2)


class StoppedError(Exception):
    """In place of a kill."""


class StopAfter(PlainProgress):
    """Progress that ends a training after some batches."""

    def __init__(self, batches: int) -> None:
        super().__init__(io.StringIO(), time.monotonic)
        self._left = batches

    def advance(self, stage: int, n: int) -> None:
        super().advance(stage, n)
        if n:
            self._left -= 1
            if self._left < 0:
                raise StoppedError


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two data sets, of 100 and 60 cutouts."""
    folders = [tmp_path_factory.mktemp("set") for _ in range(2)]
    return [
        open_examples(write_toy_set(folder, size, seed))
        for folder, size, seed in zip(folders, (100, 60), (3, 4), strict=True)
    ]


def small_network():
    keras.utils.set_random_seed(2)
    images = keras.Input((100, 100, 3))
    x = keras.layers.Conv2D(4, 5, strides=5, activation="relu")(images)
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, keras.layers.Dense(1)(x))


def test_an_epoch_shows_every_cutout_at_most_once(sets):
    stream = Stream(sets, 1, "turns")
    assert stream.batches_per_epoch == 160 // BATCH
    first = np.concatenate([stream.rows_of(number) for number in range(2)])
    second = np.concatenate([stream.rows_of(number) for number in range(2, 4)])
    assert len(set(first)) == len(first) == 2 * BATCH
    assert set(first) != set(second)
    assert (first >= 100).any()


def test_labels_belong_to_their_cutouts(sets):
    stream = Stream(sets, 1, "turns")
    labels = np.concatenate([one.labels for one in sets])
    rows = stream.rows_of(1)
    images, shown = stream.batch(1)
    assert (images.shape, shown.shape) == ((BATCH, 100, 100, 3), (BATCH, 1))
    assert (shown[:, 0] == labels[rows]).all()
    assert (np.abs(images) <= 1.0).all()


def test_only_the_rows_asked_for_are_shown(sets):
    rows = np.arange(90, 160)
    stream = Stream(sets, 1, "turns", rows)
    shown = {row for number in range(8) for row in stream.rows_of(number)}
    assert shown == set(rows)


def test_batches_are_the_same_again_and_differ_between_epochs(sets):
    stream, again = Stream(sets, 1, "thesis"), Stream(sets, 1, "thesis")
    ahead = [images for images, _ in again.batches(0, 3)]
    assert np.array_equal(stream.batch(2)[0], ahead[2])
    assert not np.array_equal(ahead[0], ahead[2])


@pytest.mark.parametrize("augmentation", ["turns", "thesis"])
def test_a_device_is_shown_the_images_that_a_processor_is(sets, augmentation):
    (scaled, turns, flips), labels = Stream(sets, 1, augmentation, unstretched=True).batch(1)
    found = np.asarray(Images()(scaled, turns, flips))
    images, expected_labels = Stream(sets, 1, augmentation).batch(1)
    np.testing.assert_array_equal(labels, expected_labels)
    if augmentation == "turns":  # the noise is measured before they are turned, not after
        assert np.abs(found - images).mean() < 0.01
        again = np.random.default_rng([1, 31, 1])
        images = Stretch().of_noise_units(turn_at_random(scaled, again))
        assert len(set(zip(turns.tolist(), flips.tolist(), strict=True))) == 8
    np.testing.assert_allclose(found, images, atol=1e-6)


def test_images_are_float32_in_a_network_of_less(sets):
    (scaled, turns, flips), _ = Stream(sets, 1, "turns", unstretched=True).batch(0)
    expected = np.asarray(Images()(scaled, turns, flips))
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        images = keras.Input((100, 100, 3))
        shown = of_unstretched(keras.Model(images, keras.layers.Identity(dtype="float32")(images)))
    finally:
        keras.mixed_precision.set_global_policy(before)
    np.testing.assert_array_equal(np.asarray(shown((scaled, turns, flips))), expected)


def test_a_batch_of_another_size_has_its_learning_rate(sets):
    network = small_network()
    compile_classifier(network, COURSE, 100, 4 * BATCH)
    assert float(network.optimizer.learning_rate.numpy()) == pytest.approx(2e-2 / 20, rel=1e-3)
    stream = Stream(sets, 1, "turns", size=32)
    assert stream.batches_per_epoch == 5
    assert len(stream.batch(7)[1]) == 32


def test_a_stopped_training_keeps_its_batch_whatever_the_machine(sets, tmp_path):
    path = tmp_path / "part.npz"
    assert batch_of(path) == (GPU_BATCH if on_gpu() else BATCH)
    clock = iter(range(0, 10**9, 600))
    with pytest.raises(StoppedError):
        fit(small_network(), Stream(sets, 1, "turns", size=40), COURSE, path, StopAfter(1),
            clock.__next__)  # fmt: skip
    assert batch_of(path) == 40
    np.savez(path, step=1)  # of a version that knew one size
    assert batch_of(path) == BATCH


@pytest.mark.parametrize(("stop_after", "unstretched"), [(1, False), (3, True), (5, False)])
def test_a_stopped_training_continues_exactly(stop_after, unstretched, sets, tmp_path):
    # Every look at this clock is ten minutes later, so that every step is kept.
    clock = iter(range(0, 10**9, 600))
    shown = of_unstretched if unstretched else (lambda network: network)
    whole, stopped = shown(small_network()), shown(small_network())
    stream = Stream(sets, 1, "turns", unstretched=unstretched)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    curve = fit(whole, stream, COURSE, tmp_path / "whole.npz", progress)
    part = tmp_path / "part.npz"
    with pytest.raises(StoppedError):
        fit(stopped, stream, COURSE, part, StopAfter(stop_after), clock.__next__)
    fresh = shown(small_network())
    continued = fit(fresh, stream, COURSE, part, progress, clock.__next__)
    for ours, theirs in zip(fresh.get_weights(), whole.get_weights(), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.allclose(continued, curve, rtol=1e-4)


def test_training_lowers_the_loss_and_moves_the_weights(sets, tmp_path):
    # What even one convolution can tell: which cutouts hold much light.
    easy = []
    for one in sets:
        light = Stretch()(read_flux(one.store, np.arange(len(one)))).mean(axis=(1, 2, 3))
        truth = one.truth.assign(is_lens=light > np.median(light))
        easy.append(dataclasses.replace(one, truth=truth))
    network = small_network()
    before = network.get_weights()
    course = Course("test", epochs=12, learning_rate=5e-2)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    curve = fit(network, Stream(easy, 1, "turns", size=32), course, tmp_path / "c.npz", progress)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0] < np.log(2.0)
    assert curve["epoch"].iloc[-1] == 12.0
    assert not np.array_equal(before[0], network.get_weights()[0])
