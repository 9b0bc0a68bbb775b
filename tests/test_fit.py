"""Streaming and the training loop, on a network of one small convolution."""

import dataclasses
import io
import time

import keras
import numpy as np
import pytest

from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.data.stream import BATCH, Stream
from lensweep.training.fit.loop import Course, fit

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
def sets(client, tmp_path_factory):
    """Two data sets, of 100 and 60 cutouts."""
    opened = []
    for number, size in enumerate((100, 60)):
        folder = tmp_path_factory.mktemp("set")
        make_dataset(folder, size, 3 + number, client, PlainProgress(io.StringIO(), time.monotonic))
        opened.append(open_examples(folder))
    return opened


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


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_stopped_training_continues_exactly(stop_after, sets, tmp_path):
    # Every look at this clock is ten minutes later, so that every step is kept.
    clock = iter(range(0, 10**9, 600))
    whole, stopped = small_network(), small_network()
    stream = Stream(sets, 1, "turns")
    progress = PlainProgress(io.StringIO(), time.monotonic)
    curve = fit(whole, stream, COURSE, tmp_path / "whole.npz", progress)
    part = tmp_path / "part.npz"
    with pytest.raises(StoppedError):
        fit(stopped, stream, COURSE, part, StopAfter(stop_after), clock.__next__)
    fresh = small_network()
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
    course = Course("test", epochs=40, learning_rate=5e-2)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    curve = fit(network, Stream(easy, 1, "turns"), course, tmp_path / "c.npz", progress)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0] < np.log(2.0)
    assert curve["epoch"].iloc[-1] == 40.0
    assert not np.array_equal(before[0], network.get_weights()[0])
