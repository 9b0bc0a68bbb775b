"""The finder that the outlook's ideas are measured against: a small residual network."""

from typing import Any

from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.residual import convolve, residual
from lensweep.training.published.network_finder import NetworkFinder

CHANNELS = (16, 32, 64, 128)


class SmallNetwork(NetworkFinder):
    """One residual block a stage, each stage after the first at half the size.

    Parameters
    ----------
    epochs : int
    batch_size : int
    learning_rate : float
        Adam's.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        epochs: int = 12,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """The untrained network."""
        images = keras.Input(shape)
        return keras.Model(images, log_odds(images), name="small")

    def optimizer(self, n_steps: int, learning_rate: float) -> Any:
        """Adam, whose rate falls to nothing."""
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, n_steps))


def log_odds(x: keras.KerasTensor) -> keras.KerasTensor:
    """The layers of the network, from images to one number."""
    x = convolve(x, CHANNELS[0], 5, 2)
    for stage, channels in enumerate(CHANNELS):
        x = residual(x, channels, 1 if stage == 0 else 2)
    return keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x))
