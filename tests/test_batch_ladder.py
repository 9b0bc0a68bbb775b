import numpy as np
import pytest
import tensorflow as tf

from lensweep.scanner.network.batch_size import CPU_BATCH, BatchError, Batches, find_batch


def doubled(flux):
    return flux[..., None] * 2.0


class _Memory:  # a device that holds so many images
    def __init__(self, images):
        self.images, self.asked = images, []

    def __call__(self, scaled):
        self.asked.append(len(scaled))
        if len(scaled) > self.images:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return scaled.mean(axis=(1, 2))


@pytest.fixture
def flux():
    return np.random.default_rng(2).normal(size=(21, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (64, [16, 16]),  # enough: the last batch is padded
        (8, [16, 8, 8, 8]),  # halved once, and begun anew
        (5, [16, 8, 4, 4, 4, 4, 4, 4]),
        (1, [16, 8, 4, 2, *[1] * 21]),
    ],
)
def test_halved_until_it_fits(flux, held, asked):
    device = _Memory(held)
    found = Batches(device, doubled, 16)(flux)
    np.testing.assert_allclose(found, 2.0 * flux.mean(axis=(1, 2))[:, None], rtol=1e-5)
    assert device.asked == asked


def test_memory_that_runs_short_in_the_middle_of_a_shard(flux):
    device = _Memory(16)
    batches = Batches(device, doubled, 16)
    before = batches(flux)
    device.images = 7
    np.testing.assert_allclose(batches(flux), before, rtol=1e-6)
    assert batches.size == 4
    # What was learned is kept.
    device.asked.clear()
    batches(flux)
    assert set(device.asked) == {4}


def test_the_floor(flux):
    with pytest.raises(BatchError, match="out of memory with one cutout at a time"):
        Batches(_Memory(0), doubled, 16)(flux)


def test_other_errors_are_not_answered(flux):
    def broken(scaled):
        raise tf.errors.InvalidArgumentError(None, None, "no")

    with pytest.raises(tf.errors.InvalidArgumentError):
        Batches(broken, doubled, 16)(flux)


def ticking(seconds_of):
    """A clock that a network advances by what its batches take."""
    now = [0.0]

    def network(images):
        now[0] += seconds_of(len(images))
        return images[:, 0, 0]

    return network, lambda: now[0]


@pytest.mark.parametrize(
    ("seconds_of", "found"),
    [
        (lambda n: 1.0 + 0.001 * n, 2048),  # the call dominates: as many as may be
        (lambda n: 0.1 * n, CPU_BATCH),  # nothing is gained
        (lambda n: max(1.0, n / 64.0), 64),  # filled by 64
    ],
)
def test_a_trial_finds_where_more_gains_nothing(seconds_of, found):
    network, clock = ticking(seconds_of)
    assert find_batch(network, (4, 4, 3), clock) == found


@pytest.mark.parametrize(("held", "found"), [(100, 64), (1, 1)])
def test_a_trial_stops_where_memory_does(held, found):
    assert find_batch(_Memory(held), (4, 4, 3), iter(range(1000)).__next__) == found


def test_a_device_without_room():
    with pytest.raises(BatchError, match="one input of shape"):
        find_batch(_Memory(0), (4, 4, 3))
