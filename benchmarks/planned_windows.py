"""Memory of the process that holds command, Dask client and scheduler, by windows planned.

    python benchmarks/planned_windows.py [SHARDS]

Plans 10^5 windows (one mosaic) and 10^7 (a hundred), with a network of one layer, in shards of the
usual 512, and measures until SHARDS (60) shards are scored; to score all of 10^7 would take 400 GB
of cutouts. Worker processes are not counted: they hold one shard, whatever the survey.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from stub import save_stub, write_config, write_noise

# 317 x 317 windows at stride 1.
SIDE_PX = 416


def main(shards: int) -> None:
    """Print a line per size."""
    print("windows planned  mosaics  MB after planning  MB at its peak  shards scored")
    for mosaics in (1, 100):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), mosaics, shards)


def measure(folder: Path, mosaics: int, shards: int) -> None:
    """Plan, score some shards, stop."""
    noise = write_noise(folder / "noise.fits", SIDE_PX)
    names = [folder / f"mosaic_{number:03d}.fits" for number in range(mosaics)]
    for name in names:
        name.symlink_to(noise)
    config = write_config(
        folder / "scan.toml", mosaics=[str(name) for name in names], stride=1, workers=1,
        out=str(folder / "run"), ensemble=str(save_stub(folder / "stub")),
    )  # fmt: skip
    command = [sys.executable, "-m", "lensweep", "scan", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    this, planned, peak, scored = psutil.Process(process.pid), 0, 0, 0
    while process.poll() is None and scored < shards:
        memory = this.memory_info().rss
        scored = len(list((folder / "run" / "done").glob("*/*.score.json")))
        if scored and not planned:
            planned = memory
        peak = max(peak, memory)
        time.sleep(0.1)
    process.terminate()  # an interrupt is ignored where a shell has started this aside
    process.wait()
    windows = mosaics * (SIDE_PX - 99) ** 2
    print(f"{windows:15,}  {mosaics:7}  {planned / 1e6:17.0f}  {peak / 1e6:14.0f}  {scored:13}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
