"""Which simulated cutouts count as blank, by kind: lenses must not, empty sky should.

    python benchmarks/blank.py [N_CUTOUTS] [DATASET]

N_CUTOUTS (2,000) are simulated, or read from DATASET, a folder with `cutouts.zarr` and `truth/`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.scanner.network.blank import BLANK_SIGNAL_TO_NOISE, peak_signal_to_noise
from lensweep.scanner.run import cutout_store
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.simulation.simulate import plan_kinds, simulate

BLOCK, SEED = 250, 77


def main(n_cutouts: int, dataset: Path | None) -> None:
    """Print the share of every kind that is blank, and its faintest peak."""
    table = simulated(n_cutouts) if dataset is None else stored(dataset, n_cutouts)
    print(f"blank: peak signal-to-noise below {BLANK_SIGNAL_TO_NOISE:g}\n")
    print("| kind | blank | faintest peak | median peak | n |\n|---|---|---|---|---|")
    for kind, rows in table.groupby("kind"):
        peak = rows["peak_sn"]
        print(f"| {kind} | {(peak < BLANK_SIGNAL_TO_NOISE).mean():.4f} | {peak.min():.1f} | "
              f"{peak.median():.0f} | {len(peak)} |")  # fmt: skip


def simulated(n_cutouts: int) -> pd.DataFrame:
    """Kinds and peaks of cutouts drawn for this."""
    drawn = simulate(plan_kinds(n_cutouts, SEED), SEED)
    return pd.DataFrame(
        {"kind": one.kind, "peak_sn": float(peak_signal_to_noise(one.flux[None])[0])}
        for one in drawn
    )


def stored(dataset: Path, n_cutouts: int) -> pd.DataFrame:
    """Kinds and peaks of a data set's first cutouts."""
    kinds, peaks = read_truth(dataset)["kind"].iloc[:n_cutouts], []
    for first in range(0, len(kinds), BLOCK):
        stop = min(first + BLOCK, len(kinds))
        flux = cutout_store.read_column(dataset / "cutouts.zarr", "flux", first, stop)
        peaks.append(peak_signal_to_noise(np.asarray(flux, np.float32)))
    return pd.DataFrame({"kind": kinds, "peak_sn": np.concatenate(peaks)})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000,
         Path(sys.argv[2]) if len(sys.argv) > 2 else None)  # fmt: skip
