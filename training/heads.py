"""Heads: batch normalisation, dropout, dense and softmax on a frozen trunk's features."""

import keras
import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig

BATCH = 256


def train_head(
    features: NDArray[np.float32], labels: NDArray[np.bool_], config: TrainConfig, fold: int
) -> tuple[NDArray[np.float64], float]:
    """Train one member's head.

    The softmax of two is kept as its equal, one logit; batch normalisation is folded into the
    weights afterwards, so that a head is a linear map of the features.

    Parameters
    ----------
    features : ndarray, shape (n, k), float32
    labels : ndarray of bool, shape (n,)
    config : TrainConfig
    fold : int
        Seeds the initialisation and the order of the batches.

    Returns
    -------
    weights : ndarray, shape (k,), float64
    bias : float
    """
    keras.utils.set_random_seed(config.seed + 1000 * (fold + 1))
    normalise = keras.layers.BatchNormalization()
    dense = keras.layers.Dense(1)
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            normalise,
            keras.layers.Dropout(config.dropout),
            dense,
        ]
    )
    steps = config.head_epochs * max(1, len(features) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(config.head_learning_rate, steps)
    head.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-2),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    head.fit(features, labels.astype(np.float32), BATCH, config.head_epochs, verbose=0)
    gamma, beta, mean, variance = (w.astype(np.float64) for w in normalise.get_weights())
    kernel, bias = (w.astype(np.float64) for w in dense.get_weights())
    scale = gamma / np.sqrt(variance + normalise.epsilon)
    return kernel[:, 0] * scale, float(bias[0] + (kernel[:, 0] * (beta - mean * scale)).sum())
