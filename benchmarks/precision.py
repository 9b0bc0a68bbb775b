"""Whether this machine's reduced precision keeps a bundle's ranks; what it finds is its default.

    python benchmarks/precision.py BUNDLE DATASET...

A DATASET is a folder with `cutouts.zarr` and `truth/`, as `lensweep train` leaves them. The
figures are recorded in the bundle's manifest, where `precision = auto` reads them, and the first
cutouts become its reference, on which devices of other precisions show that they agree.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from lensweep.scanner.network.bundle_store import check_bundle, record_precision
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.fit.precision import check_precision, make_reference


def main(folder: Path, datasets: list[Path]) -> None:
    """Check, record, print."""
    labels = [read_truth(dataset)["is_lens"].to_numpy(bool) for dataset in datasets]
    stores = [dataset / "cutouts.zarr" for dataset in datasets]
    found = check_precision(check_bundle(str(folder)), stores, np.concatenate(labels))
    if found is None:
        sys.exit("this machine has no reduced precision: nothing is recorded")
    reduced, check = found
    record_precision(folder, reduced, check)
    bundle = make_reference(folder, stores[0])
    print(f"{reduced}: {json.dumps(dataclasses.asdict(check))}")
    print("by default from now on" if check.passed else "not good enough: float32 stays")
    print(f"{folder}: manifest SHA-256 is now {bundle.sha256}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]])
