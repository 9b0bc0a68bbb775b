"""Whether keeping the trunk's kernels in half precision changes any rank.

    python benchmarks/half_precision.py WORKDIR [N]

WORKDIR is that of `lensweep train`. Scores N cutouts (2,000) of its test set with the bundle, and
again with the trunk as it was before its kernels were rounded.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.networks import load_network
from lensweep.scanner.run import cutout_store
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.fit.metrics import measure


def main(workdir: Path, n_cutouts: int) -> None:
    """Print how far the two sets of scores agree."""
    config = json.loads((workdir / "config.json").read_text())
    bundle = check_bundle(str(workdir / config["name"]))
    store = workdir / "test" / "cutouts.zarr"
    flux = np.asarray(cutout_store.read_column(store, "flux", 0, n_cutouts), np.float32)
    labels = read_truth(workdir / "test")["is_lens"].to_numpy(bool)[: len(flux)]
    half = Ensemble(bundle, precision="full").first_look(flux).mean(axis=1)

    name = bundle.description.trunks[0].name
    trunk = load_network(Path(bundle.folder), name)
    trunk.load_weights(workdir / "trunks" / f"{name}.unrounded.weights.h5")
    features = trunk.predict(bundle.description.stretch(flux), batch_size=64, verbose=0)
    with np.load(Path(bundle.folder) / "heads.npz") as heads:
        logits = features @ heads[f"{name}.weights"] + heads[f"{name}.biases"]
    full = logits.mean(axis=1)

    top = min(100, len(full))
    shared = len(set(np.argsort(-full)[:top]) & set(np.argsort(-half)[:top]))
    print(f"{len(flux)} cutouts: Spearman {spearmanr(full, half).statistic:.6f}, "
          f"largest difference {np.abs(full - half).max():.4f} in the mean logit, "
          f"{shared} of the top {top} shared, ROC AUC {measure(full, labels).roc_auc:.5f} in full "
          f"and {measure(half, labels).roc_auc:.5f} in half precision")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
