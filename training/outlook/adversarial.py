"""A generative adversarial network: cutouts that it makes, and its discriminator as a finder.

Goodfellow et al. (2014) with the convolutions of Radford, Metz & Chintala (2016); the discriminator
tells lenses from others too (Odena, Olah & Shlens 2017), so that a label says what is to be made.
At half the resolution, 48 x 48 pixels of 0.1 arcsec, which two cores train in minutes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.training.data.augment import turn_at_random
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.residual import MOMENTUM
from lensweep.training.outlook.small_network import SmallNetwork
from lensweep.training.published.stamps import faint

SIDE, BINNED, NOISE_UNITS = 48, 2, 64
# Adam as Radford, Metz & Chintala use it.
RATE, BETA_1 = 2e-4, 0.5


def binned(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle of cutouts in pixels twice as wide, stretched: shape (n, 48, 48, 1)."""
    margin = (scaled.shape[1] - BINNED * SIDE) // 2
    middle = scaled[:, margin : margin + BINNED * SIDE, margin : margin + BINNED * SIDE]
    parts = middle.reshape(-1, SIDE, BINNED, SIDE, BINNED)
    # Noise adds up in quadrature.
    return faint(parts.sum(axis=(2, 4)) / np.float32(BINNED))


class BinnedNetwork(SmallNetwork):
    """The small network at half the resolution: what the others here are measured against."""

    def images(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `binned`."""
        return binned(scaled)


class AdversarialNetwork(BinnedNetwork):
    """A discriminator as a finder; `generate` makes cutouts."""

    def __init__(
        self,
        epochs: int = 12,
        batch_size: int = 64,
        learning_rate: float = RATE,
        random_state: Any = None,
    ) -> None:
        super().__init__(epochs, batch_size, learning_rate, random_state)

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        seed = self._seed()
        keras.utils.set_random_seed(seed)
        generator, judge = build_generator(), build_discriminator()
        self.losses_ = _compete(generator, judge, binned(self.scaled(flux)), labels, self, seed)
        finder = keras.Model(judge.input, judge.get_layer("is_lens").output)
        self.networks_, self.numbers_ = {"network": finder, "generator": generator}, {}

    def generate(self, labels: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
        """Make cutouts, as `binned` has them, of lenses and others.

        Parameters
        ----------
        labels : ndarray of bool, shape (n,)
        seed : int
        """
        given = _given(labels, np.random.default_rng([seed, 60]))
        return np.asarray(self.networks_["generator"].predict(given, verbose=0))


class GeneratedTraining(BinnedNetwork):
    """The small network, trained on as many generated cutouts as given ones, beside them."""

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        seed = self._seed()
        source = AdversarialNetwork(self.epochs, self.batch_size, random_state=seed)
        source.fit(flux, labels)
        images = np.concatenate([binned(self.scaled(flux)), source.generate(labels, seed)])
        keras.utils.set_random_seed(seed)
        network = self.build(images.shape[1:])
        size = min(self.batch_size, len(labels))
        steps = self.epochs * (len(labels) // size)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        network.compile(self.optimizer(steps, self.learning_rate), loss, jit_compile=False)
        network.optimizer.build(network.trainable_variables)
        rng = np.random.default_rng([seed, 61])
        targets = np.tile(labels, 2).astype(np.float32)
        self.losses_ = []
        for _ in range(steps):
            rows = rng.choice(len(images), size, replace=False)
            shown = turn_at_random(images[rows, ..., 0], rng)[..., None]
            self.losses_.append(float(np.asarray(network.train_on_batch(shown, targets[rows]))))
        self.networks_, self.numbers_ = {"network": network}, {}


def build_generator() -> keras.Model:
    """From noise and a label, shape (n, 65), to images, shape (n, 48, 48, 1)."""
    given = keras.Input((NOISE_UNITS + 1,))
    x = keras.layers.Dense(6 * 6 * 64, use_bias=False)(given)
    x = keras.layers.Reshape((6, 6, 64))(x)
    for maps in (64, 32, 16):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=MOMENTUM)(x))
        x = keras.layers.Conv2DTranspose(maps, 4, 2, "same", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=MOMENTUM)(x))
    return keras.Model(given, keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(x))


def build_discriminator() -> keras.Model:
    """From images to two log-odds: that they are real, and that they show a lens."""
    images = x = keras.Input((SIDE, SIDE, 1))
    for maps in (24, 48, 96):
        x = keras.layers.Conv2D(maps, 4, 2, "same")(x)
        x = keras.layers.Dropout(0.2)(keras.layers.LeakyReLU(negative_slope=0.2)(x))
    x = keras.layers.Flatten()(x)
    outputs = [keras.layers.Dense(1, name=name)(x) for name in ("is_real", "is_lens")]
    return keras.Model(images, outputs)


def _given(labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal((len(labels), NOISE_UNITS))
    return np.column_stack([noise, 2.0 * labels - 1.0]).astype(np.float32)


def _compete(
    generator: keras.Model, judge: keras.Model, images: NDArray[np.float32],
    labels: NDArray[np.bool_], settings: SmallNetwork, seed: int,
) -> list[float]:  # fmt: skip
    """Train both in turns; the discriminator's mean loss of every pass."""
    tf = import_tensorflow()
    cross = keras.losses.BinaryCrossentropy(from_logits=True)
    rate = settings.learning_rate
    of_judge, of_generator = (keras.optimizers.Adam(rate, BETA_1) for _ in range(2))
    # Variables that are made in the first step have it traced twice.
    of_judge.build(judge.trainable_variables)
    of_generator.build(generator.trainable_variables)

    def both(real: Any, is_lens: Any, given: Any) -> Any:
        told = tf.cast(given[:, -1:] > 0.0, tf.float32)
        with tf.GradientTape() as tape:
            made = generator(given, training=True)
            real_odds, real_lens = judge(real, training=True)
            made_odds, _ = judge(made, training=True)
            # Labels a little short of sure keep it from outrunning the generator.
            loss = cross(0.9 * tf.ones_like(real_odds), real_odds) + cross(is_lens, real_lens)
            loss += cross(tf.zeros_like(made_odds), made_odds)
        own = judge.trainable_variables
        of_judge.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        with tf.GradientTape() as tape:
            odds, lens = judge(generator(given, training=True), training=True)
            fooled = cross(tf.ones_like(odds), odds) + cross(told, lens)
        own = generator.trainable_variables
        of_generator.apply_gradients(zip(tape.gradient(fooled, own), own, strict=True))
        return loss

    step = tf.function(both, jit_compile=False)
    rng, means = np.random.default_rng([seed, 62]), []
    size = min(settings.batch_size, len(labels))
    for _ in range(settings.epochs):
        losses, order = [], rng.permutation(len(labels))
        for first in range(0, len(order) - size + 1, size):
            rows = order[first : first + size]
            shown = turn_at_random(images[rows, ..., 0], rng)[..., None]
            is_lens = labels[rows, None].astype(np.float32)
            given = _given(rng.random(size) < 0.5, rng)
            losses.append(float(step(shown, is_lens, given)))
        means.append(float(np.mean(losses)))
    return means
