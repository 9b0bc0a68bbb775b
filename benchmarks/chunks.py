"""One shard of cutouts through Zarr's own codecs, and as the scanner writes and reads it.

    python benchmarks/chunks.py [ROUNDS]

Both write the same files and flush them; the ways take turns for ROUNDS (15).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contest import machine
from numpy.typing import NDArray

from lensweep.ground.files import flush
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.chunks import file_name, read_chunks, write_chunks
from lensweep.scanner.run.cutout_store import StoreAttributes, open_arrays
from lensweep.scanner.sky.scale import CUTOUT_SIZE

WINDOWS = 512


def main(rounds: int) -> None:
    """Print the median of either way, and their ratio."""
    rng = np.random.default_rng(2018)
    flux = rng.normal(size=(WINDOWS, CUTOUT_SIZE, CUTOUT_SIZE)).astype(np.float32)
    print(f"\n{machine()}\n\n| a shard of {WINDOWS} cutouts | Zarr's codecs, ms | ours, ms | × |\n"
          "|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        stores = [_store(Path(scratch) / name) for name in ("codecs", "ours")]
        theirs, ours = (_times_of(store, flux, rounds) for store in stores)
        ways = {"written and flushed": (theirs[0], ours[1]), "read": (theirs[2], ours[3])}
        for what, (codecs, own) in ways.items():
            print(f"| {what} | {1e3 * codecs:.1f} | {1e3 * own:.1f} | {codecs / own:.1f} |")


def _store(path: Path) -> Path:
    cutout_store.create(path, WINDOWS, StoreAttributes("noise", "", "F814W", 0.05, "", WINDOWS))
    return path


def _times_of(store: Path, flux: NDArray[np.float32], rounds: int) -> list[float]:
    """Median seconds of each of four jobs, which take turns."""
    array = open_arrays(store, "r+")["flux"]
    jobs: list[Callable[[], Any]] = [
        lambda: _write_by_zarr(store, array, flux),
        lambda: write_chunks(store, 0, {"flux": array}, {"flux": flux}),
        lambda: np.asarray(array[:]),
        lambda: read_chunks(store, 0, {"flux": array}, WINDOWS),
    ]
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(rounds):
        for job, taken in zip(jobs, times, strict=True):
            begin = time.perf_counter()
            job()
            taken.append(time.perf_counter() - begin)
    return [statistics.median(taken) for taken in times]


def _write_by_zarr(store: Path, array: Any, flux: NDArray[np.float32]) -> None:
    array[:] = flux
    flush({store / file_name(0, "flux", array)})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
