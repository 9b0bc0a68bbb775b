"""What it costs to look for damage when a finished run is repeated: python benchmarks/checks.py"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.cutout_store import StoreAttributes
from lensweep.scanner.run.damage import unmark_damaged
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import Plan
from lensweep.scanner.run.records import sum_of_parts, write_record
from lensweep.scanner.sky.grid import ScanGrid
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.scale import CUTOUT_SIZE

SHARDS, WINDOWS = 2000, 512
NAME = "mosaic"


def main() -> None:
    """Make a run of a million windows, whose files have their lengths and no content; check it."""
    with tempfile.TemporaryDirectory() as folder:
        paths, plan = RunPaths(Path(folder)), make_plan()
        cutout_store.create(
            paths.cutouts(NAME), plan.n_windows, StoreAttributes(NAME, "", "F814W", 0.05, "", 512)
        )
        score_store.create(paths.scores(NAME), plan.n_windows, WINDOWS, "", ["a"] * 7)
        for shard in range(SHARDS):
            fill(paths, shard)
        begin = time.process_time()
        assert not unmark_damaged(paths, plan)
        print(f"{plan.n_windows:,} windows, {SHARDS:,} shards: lengths and markers checked in "
              f"{time.process_time() - begin:.1f} s of one core")  # fmt: skip
    pixels = np.random.default_rng(0).bytes(WINDOWS * CUTOUT_SIZE**2 * 4)
    begin = time.process_time()
    sum_of_parts([pixels])
    print(f"the sum of a shard's pixels, {len(pixels) / 1e6:.0f} MB: "
          f"{1e3 * (time.process_time() - begin):.0f} ms")  # fmt: skip


def fill(paths: RunPaths, shard: int) -> None:
    """Files of the right lengths, which take no room, and the markers that say so."""
    rows = {"flux": 40000, "valid_fraction": 4, "ra_deg": 8, "dec_deg": 8, "x_pix": 8, "y_pix": 8,
            "x0": 4, "y0": 4}  # fmt: skip
    scores = {"member_logits": 28, **dict.fromkeys(score_store.COLUMNS, 4)}
    for store, columns, marker in (
        (paths.cutouts(NAME), rows, paths.cut_marker(NAME, shard)),
        (paths.scores(NAME), scores, paths.score_marker(NAME, shard)),
    ):
        files = {}
        for name, n_bytes in columns.items():
            deeper = {"flux": "/0/0", "member_logits": "/0"}.get(name, "")
            file = f"{name}/c/{shard}{deeper}"
            (store / file).parent.mkdir(parents=True, exist_ok=True)
            with (store / file).open("wb") as stream:
                stream.truncate(n_bytes * WINDOWS)
            files[file] = (n_bytes * WINDOWS, 0)
        write_record(marker, {"windows": WINDOWS, "files": files})


def make_plan() -> Plan:
    """A plan of one mosaic, of which only the numbers matter."""
    fields: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Mosaic)), "")
    mosaic = Mosaic(**fields | {"name": NAME})
    return Plan(mosaic, ScanGrid((1, 1), "", False), SHARDS * WINDOWS, WINDOWS)


if __name__ == "__main__":
    main()
