"""Batches of cutouts, straight from the stores: what a training step sees."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.stretch import Stretch, in_noise_units
from lensweep.training.data.augment import AUGMENTATIONS, draw_turns
from lensweep.training.data.examples import Examples, read_flux

BATCH = 64
# The stretch takes a millisecond a cutout; two threads keep ahead of any network on two cores.
WORKERS, AHEAD = 2, 8

# What the network is given, and labels.
Batch = tuple[Any, NDArray[np.float32]]


class Stream:
    """Epochs over labelled cutouts, each in a new order and augmented anew.

    Batch number i is always the same, so that a stopped training continues exactly.

    Parameters
    ----------
    sets : sequence of Examples
    seed : int
    augmentation : str
        One of `lensweep.training.data.augment.AUGMENTATIONS`.
    rows : ndarray of int, optional
        Which cutouts, counted through all sets; all by default.
    size : int
        Cutouts in a batch.
    unstretched : bool
        Whether a device turns and stretches them (`lensweep.training.fit.on_device`).
    """

    def __init__(
        self,
        sets: Sequence[Examples],
        seed: int,
        augmentation: str,
        rows: NDArray[np.int64] | None = None,
        size: int = BATCH,
        unstretched: bool = False,
    ) -> None:
        self._sets, self._seed = list(sets), seed
        self._augmentation, self.size, self._unstretched = augmentation, size, unstretched
        self._labels = np.concatenate([one.labels for one in sets]).astype(np.float32)
        self._starts = np.cumsum([0, *(len(one) for one in sets)])
        self._rows = np.arange(len(self._labels)) if rows is None else rows
        self._stretch = Stretch()

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches; what is left over differs from epoch to epoch."""
        return max(1, len(self._rows) // self.size)

    def batch(self, number: int) -> Batch:
        """One batch, counted from the start of the training.

        Returns
        -------
        images : ndarray, shape (n, 100, 100, 3), float32
            Or what `lensweep.training.fit.on_device` makes them of.
        labels : ndarray, shape (n, 1), float32
        """
        rows = self.rows_of(number)
        rng = np.random.default_rng([self._seed, 31, number])
        flux = self._read(rows)
        if self._unstretched:
            return self._parts(flux, rng), self.labels_of(rows)
        return self._stretch(AUGMENTATIONS[self._augmentation](flux, rng)), self.labels_of(rows)

    def _parts(self, flux: NDArray[np.float32], rng: np.random.Generator) -> tuple[Any, ...]:
        """Cutouts in units of their noise, quarter turns and flips."""
        if self._augmentation == "turns":
            return (in_noise_units(flux)[0], *draw_turns(len(flux), rng))
        scaled, _ = in_noise_units(AUGMENTATIONS[self._augmentation](flux, rng))
        return scaled, np.zeros(len(flux), np.int32), np.zeros(len(flux), np.bool_)

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """The cutouts of one batch, counted through all sets, in ascending order."""
        epoch, index = divmod(number, self.batches_per_epoch)
        order = np.random.default_rng([self._seed, 30, epoch]).permutation(self._rows)
        return np.sort(order[index * self.size : (index + 1) * self.size])

    def labels_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """1 for lenses, shape (n, 1)."""
        return self._labels[rows, None]

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """Batches first:stop, prepared ahead of their use."""
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            for number in range(first, stop):
                waiting.append(pool.submit(self.batch, number))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for one, start, stop in zip(self._sets, self._starts, self._starts[1:], strict=False):
            here = rows[(rows >= start) & (rows < stop)] - start
            if len(here):
                parts.append(read_flux(one.store, here))
        return np.concatenate(parts)
