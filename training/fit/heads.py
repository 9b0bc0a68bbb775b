"""Heads: batch normalisation, dropout, dense and softmax on a frozen trunk's features."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.keras_on_tensorflow import keras

BATCH = 256
EPSILON = 1e-3


@dataclass(frozen=True)
class Head:
    """One member's head: a linear map of the features.

    Attributes
    ----------
    weights : ndarray, shape (k,), float64
    bias : float
    curve : DataFrame
        `epoch`, training `loss`, and on the held-out cutouts `held_out_loss` and `held_out_auc`.
    """

    weights: NDArray[np.float64]
    bias: float
    curve: pd.DataFrame

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-odds of a lens, shape (n,)."""
        return np.asarray(features @ self.weights + self.bias)


def train_head(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    held_out: tuple[NDArray[np.float32], NDArray[np.bool_]],
    config: TrainConfig,
    fold: int,
) -> Head:
    """Train one member's head.

    The softmax of two is kept as its equal, one logit; batch normalisation is folded into the
    weights afterwards, so that a head is a linear map of the features.

    Parameters
    ----------
    features : ndarray, shape (n, k), float32
    labels : ndarray of bool, shape (n,)
    held_out : tuple
        Features and labels of the fold's own part, for the learning curve alone.
    config : TrainConfig
    fold : int
        Seeds the initialisation and the order of the batches.

    Returns
    -------
    Head
    """
    keras.utils.set_random_seed(config.seed + 1000 * (fold + 1))
    variance = features.var(axis=0, dtype=np.float64)
    # Keras' 1e-3 where features vary by 1; those of a random trunk vary a thousand times less.
    epsilon = max(EPSILON * float(variance.mean()), np.finfo(np.float32).tiny)
    normalise = keras.layers.BatchNormalization(epsilon=epsilon)
    dense = keras.layers.Dense(1)
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            normalise,
            keras.layers.Dropout(config.dropout),
            dense,
        ]
    )
    # Its running statistics would need hundreds of batches; a small set has few.
    normalise.moving_mean.assign(features.mean(axis=0, dtype=np.float64))
    normalise.moving_variance.assign(variance)
    steps = config.head_epochs * -(-len(features) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(config.head_learning_rate, steps)
    head.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-2),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    # Variables that are made in the first step have it traced twice.
    head.optimizer.build(head.trainable_variables)
    watch = _Watch(held_out[0], held_out[1])
    head.fit(
        features, labels.astype(np.float32), BATCH, config.head_epochs, verbose=0,
        callbacks=[watch],
    )  # fmt: skip
    weights, bias = _fold_in(normalise, dense)
    return Head(weights, bias, pd.DataFrame(watch.rows))


class _Watch(keras.callbacks.Callback):
    """Measures the held-out part after every epoch."""

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        super().__init__()
        self._features, self._labels = features, labels
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        normalise, _, dense = self.model.layers
        weights, bias = _fold_in(normalise, dense)
        logits = self._features @ weights + bias
        signed = np.where(self._labels, -logits, logits)
        self.rows.append(
            {
                "epoch": epoch + 1.0,
                "loss": float((logs or {})["loss"]),
                "held_out_loss": float(np.logaddexp(0.0, signed).mean()),
                "held_out_auc": float(roc_auc_score(self._labels, logits)),
            }
        )


def _fold_in(
    normalise: keras.layers.BatchNormalization, dense: keras.layers.Dense
) -> tuple[NDArray[np.float64], float]:
    """Batch normalisation and dense layer as one linear map."""
    gamma, beta, mean, variance = (w.astype(np.float64) for w in normalise.get_weights())
    kernel, bias = (w.astype(np.float64) for w in dense.get_weights())
    scale = gamma / np.sqrt(variance + normalise.epsilon)
    return kernel[:, 0] * scale, float(bias[0] + (kernel[:, 0] * (beta - mean * scale)).sum())
