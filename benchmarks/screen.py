"""Which real lenses a bundle's screen would lose.

    python benchmarks/screen.py BUNDLE FOLDER

FOLDER holds real stamps and their manifest, as `benchmarks/real_stamps.py` reads them. What the
screen loses of labelled cutouts, `lensweep vet` tells.
"""

import sys
from pathlib import Path

import pandas as pd
from real_stamps import NOT_COUNTED, score_with_manifest

from lensweep.scanner.network.bundle_store import Bundle, check_bundle


def lost_stamps(bundle: Bundle, real: Path) -> int:
    """Print real lenses that the ensemble finds and the screen would not let it see; how many."""
    stamps = pd.read_csv(real / "MANIFEST.csv")
    stamps = stamps[stamps["filter"] == "F814W"].reset_index(drop=True)
    scores = score_with_manifest(real, stamps, bundle.folder)
    assert bundle.description.screen is not None
    counted = (stamps["label"] == "lens") & ~stamps["object"].str.startswith(NOT_COUNTED)
    found = counted & (scores["logit_mean"] > bundle.description.thresholds["fpr_0.01"])
    lost = stamps["object"][found & (scores["screen_logit"] < bundle.description.screen.threshold)]
    print(f"\nreal lenses: {found.sum()} of {counted.sum()} found by the ensemble, of which the "
          f"screen loses {len(lost)}{': ' if len(lost) else ''}{', '.join(lost)}")  # fmt: skip
    others = stamps["label"] == "nonlens"
    passed = others & (scores["screen_logit"] >= bundle.description.screen.threshold)
    print(f"real galaxies that are no lenses: {passed.sum()} of {others.sum()} pass the screen")
    return len(lost)


if __name__ == "__main__":
    lost_stamps(check_bundle(sys.argv[1]), Path(sys.argv[2]))
