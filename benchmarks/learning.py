"""What grades teach: candidates of one run graded with errors, other runs ranked before and after.

    python benchmarks/learning.py ENSEMBLE GRADED TRUTH.csv OTHER TRUTH.csv [TRUTH.csv ...]

GRADED and OTHER are finished runs of the ensemble on simulated fields, with their truth tables
(`training.simulation.field.make_field`). One grade in ten is wrong; five draws of which.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import nearest
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import Bundle, check_bundle, read_heads
from lensweep.training.learning.kept_features import features_of
from lensweep.training.learning.learn import mean_view
from lensweep.training.learning.step import Axes, choose_strength, fit_step, hold_out

WRONG, DRAWS, SIZES, FALSE = 0.1, 5, (30, None), (0, 1, 3, 5, 10)
# Half a lens' extent: a candidate this near is of that lens.
SAME_ARCSEC = 1.5
Values = NDArray[np.float64]


def main(ensemble: str, graded: str, truth: str, other: str, *truths: str) -> None:
    """Print a line for every draw."""
    bundle = check_bundle(ensemble)
    features, logits, is_lens = read_run(bundle, Path(graded), truth)
    elsewhere, before, lenses = read_run(bundle, Path(other), *truths)
    axes = Axes.of(features)
    print(
        "grades  draw  taken  log loss        ROC AUC         lenses found before "
        f"{', '.join(map(str, FALSE))} false ones elsewhere"
    )
    for size in SIZES:
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            chosen = rng.permutation(len(is_lens))[:size]
            labels = is_lens[chosen] ^ (rng.random(len(chosen)) < WRONG)
            fitted_to = features[chosen], logits[chosen], labels
            held_out = hold_out(axes, *fitted_to, draw)
            step = fit_step(axes, *fitted_to, choose_strength(axes, *fitted_to, draw))
            after = before + elsewhere @ step.weights + step.bias
            found = [
                f"{found_before(lenses, before, n)} -> {found_before(lenses, after, n)}"
                for n in FALSE
            ]
            print(
                f"{len(chosen):6d}  {draw:4d}  {held_out.better!s:5s}  "
                f"{held_out.log_loss_before:.3f} -> {held_out.log_loss:.3f}  "
                f"{held_out.roc_auc_before:.3f} -> {held_out.roc_auc:.3f}  {', '.join(found)}"
            )


def read_run(bundle: Bundle, root: Path, *truths: str) -> tuple[Values, Values, NDArray[np.bool_]]:
    """What the mean head sees of a run's candidates, their logits, and which are lenses."""
    table = pd.read_parquet(root / "candidates.parquet").sort_values("rank")
    windows = pd.MultiIndex.from_frame(table[["mosaic", "window"]])
    looks = features_of(root, bundle, windows, PlainProgress(sys.stderr, time.monotonic))
    truth = pd.concat([pd.read_csv(path) for path in truths])
    index, _, _ = nearest(table["ra_deg"], table["dec_deg"], truth["ra_deg"], truth["dec_deg"],
                          SAME_ARCSEC)  # fmt: skip
    is_lens = np.isin(np.arange(len(table)), index)
    print(f"{root.name}: {len(table)} candidates, {is_lens.sum()} of {len(truth)} lenses")
    return *mean_view(bundle, read_heads(bundle), looks), is_lens


def found_before(is_lens: NDArray[np.bool_], logits: Values, n_false: int) -> int:
    """Lenses that rank before so many false candidates and one more."""
    ordered = is_lens[np.argsort(-logits)]
    return int(ordered[np.cumsum(~ordered) <= n_false].sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
