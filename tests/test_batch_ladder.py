import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from lensweep.scanner.network.batch_size import BatchError, Batches
from lensweep.scanner.network.find_batch import BUDGET_S, MAX_BATCH, find_batch
from lensweep.scanner.network.looks import empty_looks


class _Memory:  # a device that holds so many cutouts
    def __init__(self, cutouts):
        self.cutouts, self.asked = cutouts, []

    def __call__(self, looks):
        self.asked.append(len(looks))
        if len(looks) > self.cutouts:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return looks.flux.mean(axis=1)


def some_looks(n, seed=2):
    looks = empty_looks(n, 4)
    looks.flux[:] = np.random.default_rng(seed).normal(size=(n, 4, 4))
    return looks


@pytest.fixture
def looks():
    return some_looks(21)


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (64, [16, 16]),  # enough: the last batch is padded
        (8, [16, 8, 8, 8]),  # halved once, and begun anew
        (5, [16, 8, 4, 4, 4, 4, 4, 4]),
        (1, [16, 8, 4, 2, *[1] * 21]),
    ],
)
def test_halved_until_it_fits(looks, held, asked):
    device = _Memory(held)
    found = Batches(device, 16)(looks)
    np.testing.assert_allclose(found, looks.flux.mean(axis=1), rtol=1e-5)
    assert device.asked == asked


def test_memory_that_runs_short_in_the_middle_of_a_shard(looks):
    device = _Memory(16)
    batches = Batches(device, 16)
    before = batches(looks)
    device.cutouts = 7
    np.testing.assert_allclose(batches(looks), before, rtol=1e-6)
    assert batches.size == 4
    # What was learned is kept.
    device.asked.clear()
    batches(looks)
    assert set(device.asked) == {4}


def test_the_floor(looks):
    with pytest.raises(BatchError, match="out of memory with one cutout at a time"):
        Batches(_Memory(0), 16)(looks)


def test_other_errors_are_not_answered(looks):
    def broken(looks):
        raise tf.errors.InvalidArgumentError(None, None, "no")

    with pytest.raises(tf.errors.InvalidArgumentError):
        Batches(broken, 16)(looks)


class _Held(_Memory):  # a device that computes when it is let
    def __init__(self, cutouts=64):
        super().__init__(cutouts)
        self.begun, self.let = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, looks):
        self.begun.release()
        assert self.let.acquire(timeout=30.0)
        return super().__call__(looks)


def waiting_for(batches, n_rows):
    """Until that many rows are neither computed nor made ready."""
    while sum(request.left for request in list(batches._waiting)) < n_rows:
        assert not threading.Event().wait(0.01)


def test_what_waits_while_the_device_computes_shares_a_batch():
    """Three shards that leave five cutouts each cost two batches, not three."""
    device = _Held()
    batches, several = Batches(device, 16), [some_looks(5, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batches, several[0])
        assert device.begun.acquire(timeout=30.0)  # its batch is computed
        second = pool.submit(batches, several[1])
        while batches._waiting[-1].looks is not several[1] or batches._waiting[-1].left:
            assert not threading.Event().wait(0.01)  # and this one's is made ready
        others = [pool.submit(batches, looks) for looks in several[2:]]
        waiting_for(batches, 10)
        for _ in range(3):
            device.let.release()
        found = [future.result(timeout=30.0) for future in (first, second, *others)]
    for looks, values in zip(several, found, strict=True):
        np.testing.assert_allclose(values, looks.flux.mean(axis=1), rtol=1e-5)
    assert device.asked == [16, 16, 16]


@pytest.mark.parametrize("held", [64, 5])  # with memory enough, and with too little for a batch
def test_many_threads_get_what_one_would(held):
    several = [some_looks(n, n) for n in (1, 40, 7, 64, 21, 16, 3, 90)]
    batches = Batches(_Memory(held), 16)
    with ThreadPoolExecutor(len(several)) as pool:
        found = list(pool.map(batches, several, timeout=60.0))
    for looks, values in zip(several, found, strict=True):
        np.testing.assert_allclose(values, looks.flux.mean(axis=1), rtol=1e-5)
    assert batches._waiting == []


def test_an_error_reaches_every_thread_whose_cutouts_were_in_the_batch():
    device = _Held(0)
    batches = Batches(device, 1)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(batches, some_looks(2, seed)) for seed in range(3)]
        for _ in range(9):
            device.let.release()
        for future in futures:
            with pytest.raises(BatchError):
                future.result(timeout=30.0)


def test_an_error_of_any_kind_leaves_nobody_waiting():
    class Failing(_Held):
        def __call__(self, looks):
            found = super().__call__(looks)
            if len(self.asked) == 2:
                raise ValueError("no")
            return found

    device = Failing()
    batches = Batches(device, 16)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(batches, some_looks(20, seed)) for seed in range(4)]
        for _ in range(8):
            device.let.release()
        errors = [future.exception(timeout=30.0) for future in futures]
    assert any(isinstance(error, ValueError) for error in errors)


class _Ticking(_Memory):
    """A device, and a clock that its batches advance; the first of a size chooses algorithms."""

    def __init__(self, seconds_of, first_s=0.0, held=MAX_BATCH):
        super().__init__(held)
        self.now, self.seconds_of, self.first_s = 0.0, seconds_of, first_s

    def __call__(self, looks):
        new = len(looks) not in self.asked
        found = super().__call__(looks)
        self.now += self.seconds_of(len(looks)) + new * self.first_s
        return found


@pytest.mark.parametrize(
    ("device", "found", "sizes"),
    [
        # The call dominates: as many as may be.
        (_Ticking(lambda n: 0.1 + 0.0001 * n), 512, [512, 256]),
        # A smaller one is as fast: memory that is there is used.
        (_Ticking(lambda n: 0.0001 * n), 512, [512, 256]),
        # Memory ends it.
        (_Ticking(lambda n: 0.0001 * n, held=100), 64, [512, 256, 128, 64, 32]),
        (_Ticking(lambda n: 0.0001 * n, held=1), 1, [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]),
        # Every size takes long to choose its algorithms: no time for a second.
        (_Ticking(lambda n: 0.0001 * n, first_s=BUDGET_S + 1.0), 512, [512]),
    ],
)  # fmt: skip
def test_a_trial_takes_what_memory_allows(device, found, sizes):
    assert find_batch(device, 4, lambda: device.now) == found
    assert list(dict.fromkeys(device.asked)) == sizes


def test_one_slow_call_is_not_a_slow_size():
    """What else the machine does must not halve the batch."""
    slow = iter([0.1, 9.0, 0.1, 0.1, *[0.1] * 99])
    device = _Ticking(lambda n: next(slow) * n / 512)
    assert find_batch(device, 4, lambda: device.now) == 512


def test_half_of_a_batch_that_is_faster():
    device = _Ticking(lambda n: 1e-5 * n * (1 + (n > 256)))
    assert find_batch(device, 4, lambda: device.now) == 256


def test_a_device_without_room():
    with pytest.raises(BatchError, match="out of memory with one cutout"):
        find_batch(_Memory(0), 4)
