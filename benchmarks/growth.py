"""What a window costs as a scan grows, a decade at a time.

    python benchmarks/growth.py [WINDOWS] [FOLDER]

Scans noise at WINDOWS (100,000) places with a network of one layer, so that only what the scanner
itself does is counted: reading, cutting, the stretch, the stores and Dask. The cutouts need 40 kB a
window in FOLDER (a temporary one). Of the first thousand windows, which include the start of the
workers, nothing is told.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from contest import machine
from resident import run
from stub import save_stub, write_config, write_noise

from lensweep.scanner.sky.scale import CUTOUT_SIZE

WINDOWS_PER_SHARD = 512
FIRST = 1000


def main(n_windows: int, place: str | None) -> None:
    """Scan, print a line per decade."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        side_px = CUTOUT_SIZE + math.isqrt(n_windows - 1)
        mosaic = write_noise(folder / "noise.fits", side_px)
        config = write_config(
            folder / "scan.toml", mosaics=[str(mosaic)], stride=1, out=str(folder / "run"),
            windows_per_shard=WINDOWS_PER_SHARD, ensemble=str(save_stub(folder / "stub")),
            screen="off",
        )  # fmt: skip
        ran = run([sys.executable, "-m", "lensweep", "scan", "--config", str(config)])
        if ran.status:
            sys.exit(f"lensweep scan ended with status {ran.status}")
        markers = (folder / "run" / "done").glob("*/*.score.json")
        ended = np.sort([marker.stat().st_mtime for marker in markers])
    print(f"\n{machine()}\n")
    print("| windows | ms per window |\n|---|---|")
    edges = [FIRST * 10**power for power in range(int(math.log10(n_windows / FIRST)) + 1)]
    for first, last in zip(edges, [*edges[1:], n_windows], strict=True):
        # The shard in which each of them lies; the last one of all may be short.
        begin, end = (min(at // WINDOWS_PER_SHARD, len(ended) - 2) for at in (first, last))
        if end > begin:
            took = (ended[end] - ended[begin]) / ((end - begin) * WINDOWS_PER_SHARD)
            print(f"| {first:,} to {last:,} | {1e3 * took:.3f} |")
    print(f"\nall processes: {ran.proportional_bytes / 1e9:.2f} GB at the peak, "
          f"{ran.seconds:,.0f} s")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000,
         sys.argv[2] if len(sys.argv) > 2 else None)  # fmt: skip
