"""Score every real F814W stamp of a folder with a manifest, and print the table of docs/results.md.

    python benchmarks/real_stamps.py FOLDER [ENSEMBLE]

FOLDER holds MANIFEST.csv with file, object, filter, label and pixel_scale_arcsec. What a header
does not say is taken from the manifest; headers that do say are believed.
"""

import sys
from pathlib import Path

import pandas as pd

import lensweep
from lensweep.scanner.lenses.recall import binomial_interval
from lensweep.scanner.network.bundle_store import check_bundle

# Faint or invisible in F814W by the account of those who found them with JWST: shown, not counted.
NOT_COUNTED = ("COSJ",)


def main(folder: Path, ensemble: str) -> None:
    """Print one row per object, and how many of each label pass."""
    stamps = pd.read_csv(folder / "MANIFEST.csv")
    stamps = stamps[stamps["filter"] == "F814W"].reset_index(drop=True)
    scores = score_with_manifest(folder, stamps, ensemble)
    table = stamps[["object", "label", "pixel_scale_arcsec"]].join(scores)
    cuts = check_bundle(ensemble).description.thresholds
    print(f"Thresholds on the mean logit: {cuts['fpr_0.01']:+.2f} passes 1 % of the simulated "
          f"non-lenses, {cuts['fpr_0.001']:+.2f} passes 0.1 %.\n")  # fmt: skip
    print("| object | label | valid | p_mean | p_std | mean logit | above 1 % | above 0.1 % |")
    print("|---|---|---|---|---|---|---|---|")
    for row in table.sort_values("logit_mean", ascending=False).itertuples():
        passes = (
            "yes" if row.logit_mean > cuts[key] else "no" for key in ("fpr_0.01", "fpr_0.001")
        )
        print(
            f"| {row.object} | {row.label} | {row.valid_fraction:.2f} | {row.p_mean:.3f} | "
            f"{row.p_std:.3f} | {row.logit_mean:+.2f} | {' | '.join(passes)} |"
        )
    counted = table[~table["object"].str.startswith(NOT_COUNTED)]
    print()
    for label, rows in counted.groupby("label"):
        above = (rows["logit_mean"] > cuts["fpr_0.01"]).sum()
        low, high = binomial_interval(above, len(rows))
        print(f"{label}: {above} of {len(rows)} above the 1 % threshold, {low:.0%} to {high:.0%}")


def score_with_manifest(folder: Path, stamps: pd.DataFrame, ensemble: str) -> pd.DataFrame:
    """Scores in the manifest's order; flags only for images that are refused without them."""
    paths = [str(folder / file) for file in stamps["file"]]
    scores = lensweep.score(paths, ensemble)
    refused = stamps[scores["message"].notna()]
    for scale, rows in refused.groupby("pixel_scale_arcsec"):
        again = lensweep.score(
            [paths[index] for index in rows.index], ensemble,
            band="F814W", pixel_scale_arcsec=scale, units="electrons/s",
        )  # fmt: skip
        scores.loc[rows.index] = again.set_index(rows.index)
    if scores["message"].notna().any():
        sys.exit("\n".join(scores["message"].dropna()))
    return scores


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "xception-7fold")
