"""What all networks have in common as estimators: how they are shown cutouts, trained, asked."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from lensweep.scanner.network.stretch import in_noise_units
from lensweep.training.data.augment import turn_at_random
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.stamps import faint

# Cutouts that are shown to a network at once when it is asked.
_BLOCK = 128


class NetworkFinder(ImageFinder):
    """A network that ends in one log-odds of a lens, or in two that go into a softmax.

    The softmax itself is left to the loss, so that scores keep their digits.

    Attributes
    ----------
    networks_ : dict of str to keras.Model
        By name; `network` where there is one.
    numbers_ : dict of str to float
        What else was learned, such as the cut of a cascade.
    losses_ : list of float
        Mean training loss of every pass.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    random_state: Any
    networks_: dict[str, keras.Model]
    numbers_: dict[str, float]
    losses_: list[float]

    @abstractmethod
    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The untrained network on images of a shape: (n, height, width, channels) to (n, 1 or 2).

        Raises
        ------
        InputError
            If pretrained weights cannot be had.
        """

    def optimizer(self, n_steps: int, learning_rate: float) -> Any:
        """What it is trained with, in that many steps."""
        return keras.optimizers.Adam(learning_rate)

    def scaled(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cutouts in units of their noise, of the same shape; 0 where there is no data."""
        scaled = np.empty(flux.shape, np.float32)
        # Some at a time: what lies between takes three times the memory of what it is made of.
        for first in range(0, len(flux), _BLOCK):
            scaled[first : first + _BLOCK] = in_noise_units(flux[first : first + _BLOCK])[0]
        return scaled

    def augmented(
        self, scaled: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Cutouts of a batch, (n, height, width), changed at random as in every pass."""
        return turn_at_random(scaled, rng)

    def images(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network is shown of cutouts in units of their noise: (n, h, w, channels)."""
        return faint(scaled)

    def prepare(self, network: keras.Model, scaled: NDArray[np.float32]) -> None:
        """What a network is told of its training set before it is trained: by default nothing."""

    @property
    def n_parameters_(self) -> int:
        """Of all its networks together."""
        return sum(int(network.count_params()) for network in self.networks_.values())

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        seed = self._seed()
        keras.utils.set_random_seed(seed)
        scaled = self.scaled(flux)
        network = self.build(self.images(scaled[:1]).shape[1:])
        self.prepare(network, scaled)
        self.losses_ = self._train(network, scaled, labels, self.epochs, seed, self.learning_rate)
        self.networks_, self.numbers_ = {"network": network}, {}

    def _log_odds(self, flux: NDArray[np.float32]) -> NDArray[np.floating]:
        return self._ask(self.networks_["network"], flux)

    def _train(
        self,
        network: keras.Model,
        scaled: NDArray[np.float32],
        labels: NDArray[np.bool_],
        epochs: int,
        seed: int,
        learning_rate: float,
    ) -> list[float]:
        """Train in place; the mean loss of every pass."""
        size = min(self.batch_size, len(labels))
        optimizer = self.optimizer(epochs * (len(labels) // size), learning_rate)
        # XLA is several times slower on processors.
        network.compile(optimizer, loss_of(network), jit_compile=False)
        # Variables that are made in the first step have it traced twice.
        optimizer.build(network.trainable_variables)
        targets, means = labels.astype(np.float32), []
        for epoch in range(epochs):
            losses = []
            for number, rows in enumerate(_batches(len(labels), size, seed, epoch)):
                rng = np.random.default_rng([seed, 41, epoch, number])
                images = self.images(self.augmented(scaled[rows], rng))
                losses.append(float(np.asarray(network.train_on_batch(images, targets[rows]))))
            means.append(float(np.mean(losses)))
        return means

    def _ask(self, network: keras.Model, flux: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-odds by one network."""
        parts = []
        for first in range(0, len(flux), _BLOCK):
            scaled = self.scaled(flux[first : first + _BLOCK])
            parts.append(network.predict_on_batch(self.images(scaled)))
        return log_odds_of(np.concatenate(parts))


def loss_of(network: keras.Model) -> Any:
    """Cross-entropy for what a network ends in: one log-odds, or two for a softmax."""
    if network.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def log_odds_of(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-odds of a lens of a network's outputs, shape (n, 1) or (n, 2)."""
    outputs = outputs.astype(np.float64)
    return np.asarray(outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == 2 else 0.0))


def _batches(n: int, size: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Whole batches of a pass, in a new order every time."""
    order = np.random.default_rng([seed, 40, epoch]).permutation(n)
    for first in range(0, n - size + 1, size):
        yield order[first : first + size]
