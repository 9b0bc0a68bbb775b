"""What a window costs beside its network, and what a second process brings.

    python benchmarks/overhead.py [SHARDS] [ENSEMBLE]

Of a simulated field: with a network of one layer, as a scan and once more in one process without
Dask and without a disk, so that the difference is the cost of scheduler and storage, and likewise
with freed memory given back at once, as Dask has it by default; with ENSEMBLE (the shipped one),
every window and as it comes. Then every window in one process of two threads
and in two of one. A scan is timed between the first and the last of SHARDS (6) markers, so that
starting and loading do not count; masked windows do not count either.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import machine
from stub import save_stub, write_config

from lensweep.deploy.environment import worker_environment
from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import scan_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.windows import grid_windows
from lensweep.training.simulation.field import make_field

# 13,689 windows, 27 shards.
SIDE_PX, STRIDE, WINDOWS_PER_SHARD = 3000, 25, 512
STUB_SHARDS = 24
# distributed.nanny.pre-spawn-environ, and the threshold of glibc that follows from setting it.
DASK_ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**16), "MALLOC_MMAP_THRESHOLD_": str(2**17)}


def main(shards: int, ensemble: str) -> None:
    """Print the milliseconds per window of each, and the ratios."""
    print(f"\n{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mosaic = folder / "field_f814w_drz.fits"
        make_field(mosaic, 1, SIDE_PX)
        stub = str(save_stub(folder / "stub"))
        environment = worker_environment()
        bare = apart(environment, mosaic, stub)
        trimmed = apart(environment | DASK_ALLOCATOR, mosaic, stub)
        alone = scan(folder / "a", mosaic, stub, STUB_SHARDS, screen="off")
        every = scan(folder / "b", mosaic, ensemble, shards, screen="off")
        usual = scan(folder / "c", mosaic, ensemble, STUB_SHARDS)
        one = scan(folder / "d", mosaic, ensemble, shards, threads=2, screen="off")
        two = scan(folder / "e", mosaic, ensemble, shards, workers=2, screen="off")
    spent = alone - bare
    print(f"a network of one layer: {alone:.3f} ms per window, {bare:.3f} ms of it computing;")
    print(f"with Dask's own setting for freed memory: {trimmed:.3f} ms of it computing;")
    print(f"scheduler and storage: {spent:.3f} ms per window, {spent * 512 / 1e3:.3f} s per shard")
    print(f"{ensemble}, every window: {every:.2f} ms, {spent / every:.1%} of it")
    print(f"{ensemble}, as it comes: {usual:.2f} ms, {spent / usual:.1%} of it")
    print(f"two threads: {one:.2f} ms in one process, {two:.2f} ms in two: "
          f"{one / two - 1.0:+.1%} throughput")  # fmt: skip


def apart(environment: dict[str, str], mosaic: Path, ensemble: str) -> float:
    """`in_memory` in a process that starts with this environment."""
    before = dict(os.environ)
    os.environ |= environment
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(in_memory, (mosaic, ensemble))
    finally:
        os.environ.clear()
        os.environ |= before


def in_memory(mosaic: Path, ensemble: str) -> float:
    """Cut and judge shards without a scan; the mean time of a window that has data."""
    inspected = inspect_mosaic(str(mosaic), HeaderOverrides(), "F814W", "stub", mosaic.parent)
    grid, loaded = scan_grid(inspected), Ensemble(check_bundle(ensemble), screen="off")
    corners = grid_windows(grid.shape, STRIDE)[: (STUB_SHARDS + 1) * WINDOWS_PER_SHARD]
    seen, begin = 0, 0.0
    for first in range(0, len(corners), WINDOWS_PER_SHARD):
        flux, valid = cut_windows(inspected, grid, corners[first : first + WINDOWS_PER_SHARD])
        flux = flux[valid >= 0.5]
        noise = measure_noise(flux)
        found = loaded.judge(flux, noise)
        brightest_peak(flux[found.scored], noise.sky[found.scored])
        # As in a scan, the first shard is not counted.
        seen = seen + int((valid >= 0.5).sum()) if begin else 0
        begin = begin or time.perf_counter()
    return 1e3 * (time.perf_counter() - begin) / seen


def scan(
    folder: Path,
    mosaic: Path,
    ensemble: str,
    shards: int,
    workers: int = 1,
    threads: int = 1,
    screen: str = "auto",
) -> float:
    """Scan until so many shards are scored; the mean time of a window that has data."""
    folder.mkdir()
    cluster = write_config(folder / "here.toml", kind="local", workers=workers, threads=threads)
    command = [
        sys.executable, "-m", "lensweep", "scan", str(mosaic), "--stride", str(STRIDE),
        "--ensemble", ensemble, "--cluster", str(cluster), "--out", str(folder / "run"),
        "--screen", screen,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    ended: list[tuple[float, Path]] = []
    # The first shard of every worker is the one that loads the network.
    while process.poll() is None and len(ended) < shards + workers:
        markers = (folder / "run" / "done").glob("*/*.score.json")
        ended = sorted((marker.stat().st_mtime, marker) for marker in markers)
        time.sleep(0.05)
    process.terminate()
    process.wait()
    counted = ended[workers - 1 :]
    outcomes = [json.loads(marker.read_text()) for _, marker in counted[1:]]
    seen = sum(outcome["scored"] + outcome["screened"] for outcome in outcomes)
    return float(1e3 * (counted[-1][0] - counted[0][0]) / seen)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6,
         sys.argv[2] if len(sys.argv) > 2 else "xception-7fold")  # fmt: skip
