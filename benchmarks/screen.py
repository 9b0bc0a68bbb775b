"""What a bundle's screen loses and saves, on labelled cutouts and on real stamps.

    python benchmarks/screen.py BUNDLE DATASET [FOLDER] [--record]

DATASET is a folder with `cutouts.zarr` and `truth/` that neither the screen nor the committee was
trained on, as `lensweep train` leaves in WORKDIR/test; FOLDER one of real stamps with a manifest,
as `benchmarks/real_stamps.py` reads it. With `--record`, the bundle's screen is on by default from
now on if at most 1 % of the lenses that the committee finds with 0.1 % false positives are lost,
and no real lens that it finds with 1 %; else off.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from real_stamps import NOT_COUNTED, score_with_manifest

from lensweep.scanner.lenses.recall import binomial_interval
from lensweep.scanner.network.bundle_store import Bundle, check_bundle, set_screen_default
from lensweep.scanner.network.inference import Ensemble
from lensweep.training.data.examples import KIND, open_examples, read_flux
from lensweep.training.fit.metrics import threshold

RATES = (1e-2, 1e-3)
LARGEST_LOSS = 0.01
_BLOCK = 512


def main(folder: Path, dataset: Path, real: Path | None, record: bool) -> None:
    """Print the tables; record the outcome if that is asked for."""
    bundle = check_bundle(str(folder))
    labels, kinds, committee, passed = judge(bundle, dataset)
    print("| committee's false-positive rate | recall | recall with the screen | of these lost |")
    print("|---|---|---|---|")
    losses = {}
    for rate in RATES:
        found = labels & (committee > threshold(committee[~labels], rate))
        lost = int((found & ~passed).sum())
        losses[rate] = lost / max(1, int(found.sum()))
        low, high = binomial_interval(lost, int(found.sum()))
        print(f"| {rate:g} | {found.sum() / labels.sum():.4f} | "
              f"{(found & passed).sum() / labels.sum():.4f} | {losses[rate]:.2%} "
              f"({low:.2%}-{high:.2%}) |")  # fmt: skip
    print(f"\nOf the {(~labels).sum():,} others {passed[~labels].mean():.1%} pass the screen, of "
          f"the {labels.sum():,} lenses {passed[labels].mean():.1%}.\n")  # fmt: skip
    print("| kind | n | pass the screen |\n|---|---|---|")
    for kind, rows in pd.Series(passed).groupby(kinds):
        print(f"| {kind} | {len(rows):,} | {rows.mean():.3f} |")
    holds = losses[RATES[-1]] <= LARGEST_LOSS
    if real is not None:
        holds &= not lost_stamps(bundle, real)
    if record:
        set_screen_default(folder, holds)
        print(f"\nthe screen is {'on' if holds else 'off'} by default from now on")


def judge(
    bundle: Bundle, dataset: Path
) -> tuple[NDArray[np.bool_], pd.Series, NDArray[np.float32], NDArray[np.bool_]]:
    """Labels, kinds, the committee's mean logits, and which cutouts pass the screen."""
    examples, loaded = open_examples(dataset), Ensemble(bundle, "auto", "on")
    least = loaded.screen_threshold
    assert least is not None
    committee, passed = [], []
    for first in range(0, len(examples), _BLOCK):
        flux = read_flux(examples.store, np.arange(first, min(first + _BLOCK, len(examples))))
        committee.append(loaded.logits(flux).mean(axis=1))
        passed.append(loaded.screen_logits(flux) >= least)
    kinds = examples.truth[KIND].reset_index(drop=True)
    return examples.labels, kinds, np.concatenate(committee), np.concatenate(passed)


def lost_stamps(bundle: Bundle, real: Path) -> int:
    """Print real lenses that the committee finds and the screen would not let it see; how many."""
    stamps = pd.read_csv(real / "MANIFEST.csv")
    stamps = stamps[stamps["filter"] == "F814W"].reset_index(drop=True)
    scores = score_with_manifest(real, stamps, bundle.folder)
    assert bundle.description.screen is not None
    counted = (stamps["label"] == "lens") & ~stamps["object"].str.startswith(NOT_COUNTED)
    found = counted & (scores["logit_mean"] > bundle.description.thresholds["fpr_0.01"])
    lost = stamps["object"][found & (scores["screen_logit"] < bundle.description.screen.threshold)]
    print(f"\nreal lenses: {found.sum()} of {counted.sum()} found by the committee, of which the "
          f"screen loses {len(lost)}{': ' if len(lost) else ''}{', '.join(lost)}")  # fmt: skip
    others = stamps["label"] == "nonlens"
    passed = others & (scores["screen_logit"] >= bundle.description.screen.threshold)
    print(f"real galaxies that are no lenses: {passed.sum()} of {others.sum()} pass the screen")
    return len(lost)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("real", type=Path, nargs="?")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    main(asked.bundle, asked.dataset, asked.real, asked.record)
