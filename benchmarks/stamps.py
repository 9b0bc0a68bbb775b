"""Stamps from one array, against the windows of a scan; then killed and continued.

    python benchmarks/stamps.py [N] [WORKERS] [ENSEMBLE]

A simulated field is scanned with WORKERS (2) processes, without its screen, at a stride that gives
N (20,000) windows with data. Their pixels become one array of NumPy, which is scored by as many, in
shards of as many. Both rates are of the stage of scoring, on processes that have loaded the
ensemble before. Then `lensweep score` does it once more, is killed after a third of the shards, and
is repeated.
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lensweep.deploy.cluster import open_client
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.score_config import ScoreConfig
from lensweep.scanner.sky.stamps import find_stamps
from lensweep.scanner.work.scan import run_scan
from lensweep.scanner.work.stamps import open_scores, plan_stamps, score_stamps, unfinished_at
from lensweep.training.simulation.field import make_field

SIZE_PX = 3000
SAID = ("--pixel-scale", "0.05", "--units", "electrons/s")


class Clock:
    """Progress that keeps how long the stage of scoring took."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._began, self.seconds = 0.0, math.nan

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        """Begin a stage."""
        self._names.append(name)
        self._began = time.perf_counter()
        return len(self._names) - 1

    def advance(self, stage: int, n: int) -> None:
        """Units are done."""
        if self._names[stage] == "scoring":
            self.seconds = time.perf_counter() - self._began

    def note(self, text: str) -> None:
        """Write a line."""
        print(text, file=sys.stderr)


def main(n: int, workers: int, ensemble: str) -> None:
    """Scan, score, kill, continue; print the rates and what came of it."""
    bundle, shard = check_bundle(ensemble), shard_of(n, workers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        field = folder / "hst_99999_01_acs_wfc_f814w_drz.fits"
        make_field(field, 2018, SIZE_PX)
        # A fifth of a field has no data.
        stride = max(1, int(SIZE_PX / math.sqrt(1.3 * n)))
        config = ScanConfig(
            (str(field),), str(folder / "run"), ensemble, stride=stride, screen="off",
            windows_per_shard=shard,
        )  # fmt: skip
        array = folder / "stamps.npy"
        with open_client("local", workers) as client:
            warm_up(field, folder / "warm", config, client)
            clock = Clock()
            opened, paths = open_run(config)
            run_scan(config, opened, paths, client, clock)
            n_stamps, n_scored = write_array(paths, array, n)
            scanned = n_scored / clock.seconds
            clock, out = Clock(), folder / "warm.parquet"
            asked = ScoreConfig(
                (str(array),), str(out), ensemble, pixel_scale_arcsec=0.05, units="electrons/s",
                stamps_per_shard=shard,
            )  # fmt: skip
            where = unfinished_at(out)
            sets = find_stamps(asked.images)
            plans = plan_stamps(asked, sets, bundle)
            where.root.mkdir()
            open_scores(where, asked, plans, bundle)
            table = score_stamps(asked, sets, plans, bundle, where, client, clock)
            scored = n_stamps / clock.seconds
        pq.write_table(table, folder / "whole.parquet")
        print(f"{n_scored:,} windows scanned: {scanned:,.1f} a second with {workers} processes")
        print(f"{n_stamps:,} stamps of one array: {scored:,.1f} a second, {scored / scanned:.2f} "
              "of the scan's rate")  # fmt: skip
        print(killed_and_continued(array, folder, workers, ensemble, shard))


def shard_of(n: int, workers: int) -> int:
    """Stamps to a shard: as usual, or fewer where every process would have but one."""
    return min(512, max(16, n // (8 * workers)))


def warm_up(field: Path, root: Path, config: ScanConfig, client: object) -> None:
    """Let every process load the ensemble."""
    few = ScanConfig(
        config.mosaics, str(root), config.ensemble, stride=100, screen="off", windows_per_shard=16
    )
    opened, paths = open_run(few)
    run_scan(few, opened, paths, client, Clock())  # type: ignore[arg-type]


def write_array(paths: RunPaths, target: Path, n: int) -> tuple[int, int]:
    """Write the pixels of the first windows that were scored; how many, of how many."""
    (name,) = (path.stem for path in paths.plans.glob("*.json"))
    logits, _, _ = score_store.read(paths.scores(name))
    scored = np.flatnonzero(np.isfinite(logits).all(axis=1))
    flux = cutout_store.open_arrays(paths.cutouts(name), "r")["flux"]
    chosen = scored[:n]
    array = np.lib.format.open_memmap(target, "w+", np.float32, (len(chosen), *flux.shape[1:]))
    for first in range(0, len(chosen), 512):
        rows = chosen[first : first + 512]
        array[first : first + len(rows)] = flux[rows[0] : rows[-1] + 1][rows - rows[0]]
    array.flush()
    return len(chosen), len(scored)


def killed_and_continued(array: Path, folder: Path, workers: int, ensemble: str, shard: int) -> str:
    """Kill the command after a third of its shards, and repeat it."""
    out = folder / "scores.parquet"
    command = [sys.executable, "-m", "lensweep", "score", str(array), "--out", str(out), *SAID,
               "--ensemble", ensemble, "--workers", str(workers),
               "--stamps-per-shard", str(shard)]  # fmt: skip
    shards = -(-np.load(array, mmap_mode="r").shape[0] // shard)
    done = unfinished_at(out).root / "done"
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while running.poll() is None and len(list(done.glob("*/*.score.json"))) < max(1, shards // 3):
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = len(list(done.glob("*/*.score.json")))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found, whole = (pq.read_table(path).to_pandas() for path in (out, folder / "whole.parquet"))
    largest = (found["logit_mean"] - whole["logit_mean"]).abs().max()
    return (
        f"killed after {kept} of {shards} shards, and continued: {len(found):,} rows, logits as "
        f"of the whole within {largest:.1g}"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 20_000, int(given[1]) if len(given) > 1 else 2,
        given[2] if len(given) > 2 else "xception-7fold",
    )  # fmt: skip
