"""LensFlow's network (Pourrahmani, Nayyeri & Cooray 2018), as the thesis' Table 3-1 has it.

A coarse network looks at everything, and a fine one at what it lets pass. How the phases were
trained is known by their names only (FACTS: coarse classification, fine classification): that the
fine one goes on from the coarse one's weights, on the lenses and on the non-lenses which that
scored highest, with a tenth of its learning rate; the optimiser, the rates and the passes are our
choice, and so are the turns and flips.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.published.cascade import cascade, cut_for
from lensweep.training.published.network_finder import NetworkFinder

# Table 3-1: maps of the convolutions (5 x 5, then pooled by 2), and the dense layers.
MAPS, WIDTH_PX, DENSE = (30, 60, 90), 5, (1000, 800, 600)
COARSE, FINE, CUT = "coarse", "fine", "cut"
# Of the coarse phase's learning rate, that of the fine phase.
FINE_RATE = 0.1


class LensFlow(NetworkFinder):
    """Three convolutions with tanh, three dense layers, softmax of two; coarse, then fine.

    Parameters
    ----------
    epochs, fine_epochs : int
        Passes of the two phases.
    batch_size : int
    learning_rate : float
        Adam's, of the coarse phase.
    coarse_recall : float
        Share of the training lenses that the coarse network lets pass.
    fine_share : float
        Share of the other cutouts, those that it scores highest, that train the fine one.
    random_state : int, RandomState or None
    """

    def __init__(
        self,
        epochs: int = 20,
        fine_epochs: int = 10,
        batch_size: int = 64,
        learning_rate: float = 2e-4,
        coarse_recall: float = 0.99,
        fine_share: float = 0.3,
        random_state: Any = None,
    ) -> None:
        self.epochs = epochs
        self.fine_epochs = fine_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.coarse_recall = coarse_recall
        self.fine_share = fine_share
        self.random_state = random_state

    def build(self, shape: tuple[int, int, int]) -> keras.Model:
        """Either network, untrained, (n, height, width, 1) to two log-odds each."""
        images = x = keras.Input(shape)
        for maps in MAPS:
            x = keras.layers.Conv2D(maps, WIDTH_PX, activation="tanh")(x)
            x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Flatten()(x)
        for width in DENSE:
            x = keras.layers.Dense(width, activation="relu")(x)
        return keras.Model(images, keras.layers.Dense(2)(x), name="lensflow")

    def _fit(self, flux: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        seed = self._seed()
        keras.utils.set_random_seed(seed)
        scaled = self.scaled(flux)
        coarse = self.build(self.images(scaled[:1]).shape[1:])
        rate = self.learning_rate
        self.losses_ = self._train(coarse, scaled, labels, self.epochs, seed, rate)
        scores = self._ask(coarse, flux)
        fine = self.build(coarse.input_shape[1:])
        fine.set_weights(coarse.get_weights())
        hard = hardest(scores, labels, self.fine_share)
        self.losses_ += self._train(
            fine, scaled[hard], labels[hard], self.fine_epochs, seed + 1, FINE_RATE * rate
        )
        self.networks_ = {COARSE: coarse, FINE: fine}
        # Of lenses that it has learned the network is surer than of others: where all of them score
        # high, nothing that it calls a lens is refused.
        self.numbers_ = {CUT: min(cut_for(scores[labels], self.coarse_recall), 0.0)}

    def _log_odds(self, flux: NDArray[np.float32]) -> NDArray[np.floating]:
        first, cut = self._ask(self.networks_[COARSE], flux), self.numbers_[CUT]
        passed = first >= cut
        second = self._ask(self.networks_[FINE], flux[passed]) if passed.any() else first[:0]
        return cascade(first, cut, second)


def hardest(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], share: float
) -> NDArray[np.int64]:
    """Rows of all lenses, and of the share of the others that score highest; ascending.

    Parameters
    ----------
    scores : ndarray, shape (n,)
    labels : ndarray of bool, shape (n,)
    share : float
    """
    others = np.flatnonzero(~labels)
    kept = others[np.argsort(-scores[others], kind="stable")[: max(1, int(share * len(others)))]]
    return np.sort(np.concatenate([np.flatnonzero(labels), kept]))
