"""Training a ensemble: features once and a head per fold, against a training of every fold.

    python benchmarks/train.py [BUNDLE] [N_CUTOUTS] [EPOCHS]

N_CUTOUTS (128) noise cutouts through the trunk of BUNDLE (xception-7fold). What a fold of the usual
way takes is measured on one epoch of one fold, and multiplied by EPOCHS (30) and the folds: its
epochs are alike.
"""

import sys
import time
from pathlib import Path

import numpy as np
from contest import machine

from lensweep.deploy.accelerator import import_tensorflow
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.networks import load_network

BATCH, HEAD_BATCH = 32, 256


def main(name: str, n_cutouts: int, epochs: int) -> None:
    """Train in both ways, print what they take."""
    import_tensorflow()
    import keras

    bundle = check_bundle(name)
    trunk = load_network(Path(bundle.folder), bundle.description.trunks[0].name)
    folds = len(bundle.description.trunks[0].members)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1.0, 1.0, (n_cutouts, *trunk.input_shape[1:])).astype(np.float32)
    labels = rng.integers(0, 2, n_cutouts).astype(np.float32)

    def head() -> keras.Model:
        layers = keras.layers
        return keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(1)])

    def compiled(model: keras.Model) -> keras.Model:
        model.compile("adamw", keras.losses.BinaryCrossentropy(from_logits=True))
        return model

    trunk.predict(images[:BATCH], BATCH, verbose=0)
    begin = time.perf_counter()
    features = trunk.predict(images, BATCH, verbose=0)
    computed = time.perf_counter()
    for _ in range(folds):
        compiled(head()).fit(features, labels, HEAD_BATCH, epochs, verbose=0)
    trained = time.perf_counter()
    whole = compiled(keras.Sequential([trunk, head()]))
    whole.fit(images[:BATCH], labels[:BATCH], BATCH, 1, verbose=0)
    first = time.perf_counter()
    whole.fit(images, labels, BATCH, 1, verbose=0)
    usual = (time.perf_counter() - first) * epochs * folds
    ours = trained - begin
    print(f"\n{machine()}\n")
    print(f"{n_cutouts} cutouts, {folds} folds, {epochs} epochs\n")
    print("| way | trunk | heads | all | × |\n|---|---|---|---|---|")
    print(f"| features once, a head per fold | {computed - begin:,.1f} s | "
          f"{trained - computed:,.1f} s | {ours:,.1f} s | {usual / ours:.0f} |")  # fmt: skip
    print(f"| every fold through the frozen trunk | | | {usual:,.0f} s | 1 |")


if __name__ == "__main__":
    words = (*sys.argv[1:], *("xception-7fold", "128", "30")[len(sys.argv) - 1 :])
    main(words[0], int(words[1]), int(words[2]))
