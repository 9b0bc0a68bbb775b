"""What a shard costs beside its network, and what a second process brings.

    python benchmarks/overhead.py [SHARDS] [ENSEMBLE]

Scans noise with a network of one layer, then SHARDS (6) shards with the shipped ensemble: the first
is the time of scheduler, cutting and storage. Then the shipped ensemble in one process of two
threads and in two of one. Times are between the first and the last shard's marker, so that starting
and loading do not count.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stub import save_stub, write_config, write_noise

# 3,481 windows at stride 50 in a mosaic of 3,000 px; 13,689 at 25 are 27 shards.
SIDE_PX, STRIDE, WINDOWS_PER_SHARD = 3000, 25, 512


def main(shards: int, ensemble: str) -> None:
    """Print the seconds per shard of each scan, and the two ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mosaic = write_noise(folder / "noise.fits", SIDE_PX)
        stub = str(save_stub(folder / "stub"))
        alone = seconds_per_shard(folder / "a", mosaic, stub, 24, workers=1)
        shipped = seconds_per_shard(folder / "b", mosaic, ensemble, shards, workers=1)
        print(f"one process: {alone:.3f} s per shard without a network, {shipped:.1f} s with "
              f"{ensemble}: {alone / shipped:.1%}")  # fmt: skip
        one = seconds_per_shard(folder / "c", mosaic, ensemble, shards, workers=1, threads=2)
        two = seconds_per_shard(folder / "d", mosaic, ensemble, shards, workers=2)
        print(f"two threads: {one:.1f} s per shard in one process, {two:.1f} s in two: "
              f"{one / two - 1.0:+.1%} throughput")  # fmt: skip


def seconds_per_shard(
    folder: Path, mosaic: Path, ensemble: str, shards: int, workers: int, threads: int = 1
) -> float:
    """Scan until so many shards are scored; the mean time from one to the next."""
    folder.mkdir()
    cluster = write_config(folder / "here.toml", kind="local", workers=workers, threads=threads)
    command = [
        sys.executable, "-m", "lensweep", "scan", str(mosaic), "--stride", str(STRIDE),
        "--ensemble", ensemble, "--cluster", str(cluster), "--out", str(folder / "run"),
        "--screen", "off",  # noise is blank: it would never see the network
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    ended: list[float] = []
    # The first shard of every worker is the one that loads the network.
    while process.poll() is None and len(ended) < shards + workers:
        markers = (folder / "run" / "done").glob("*/*.score.json")
        ended = sorted(marker.stat().st_mtime for marker in markers)
        time.sleep(0.05)
    process.terminate()
    process.wait()
    counted = ended[workers - 1 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6,
         sys.argv[2] if len(sys.argv) > 2 else "xception-7fold")  # fmt: skip
