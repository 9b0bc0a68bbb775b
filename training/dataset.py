"""A simulated data set on disk: a cutout store, and the truth beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client, as_completed

from scanner import cutout_store
from scanner.cutout_store import Cutouts, StoreAttributes
from scanner.progress import Progress
from training.simulate import CUTOUT_SIZE, LENS_KINDS, plan_kinds, simulate

SHARD = 512


def make_dataset(
    folder: Path, n_cutouts: int, seed: int, client: Client, progress: Progress
) -> None:
    """Simulate a data set on a cluster; what is there already is kept.

    Parameters
    ----------
    folder : Path
        Receives `cutouts.zarr` and `truth/<shard>.parquet`.
    n_cutouts : int
    seed : int
    client : distributed.Client
    progress : Progress
    """
    attributes = StoreAttributes(
        f"simulated-{seed}", "", "F814W", 0.05, grid_wcs="", windows_per_shard=SHARD
    )
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    cutout_store.create(folder / "cutouts.zarr", n_cutouts, attributes)
    missing = [
        start for start in range(0, n_cutouts, SHARD) if not _truth_path(folder, start).is_file()
    ]
    done = n_cutouts - sum(min(SHARD, n_cutouts - start) for start in missing)
    stage = progress.stage("drawing", n_cutouts, done, unit="cutouts")
    futures = client.map(
        _simulate_shard, missing, folder=folder, n_cutouts=n_cutouts, seed=seed, pure=False
    )
    for future in as_completed(futures):
        progress.advance(stage, future.result())


def read_truth(folder: Path) -> pd.DataFrame:
    """Read the truth of a data set: one row per cutout, in order.

    Returns
    -------
    DataFrame
        `kind`, `is_lens` and the parameters of `simulate.Labelled.truth`.
    """
    paths = sorted((folder / "truth").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def _truth_path(folder: Path, start: int) -> Path:
    return folder / "truth" / f"{start:08d}.parquet"


def _simulate_shard(start: int, folder: Path, n_cutouts: int, seed: int) -> int:
    kinds = plan_kinds(n_cutouts, seed)[start : start + SHARD]
    drawn = list(simulate(kinds, seed, start))
    flux = np.stack([cutout.flux for cutout in drawn])
    nowhere = np.full(len(drawn), np.nan)
    corner = np.zeros(len(drawn), np.int32)
    valid = np.isfinite(flux).sum(axis=(1, 2)) / CUTOUT_SIZE**2
    cutouts = Cutouts(
        flux, valid.astype(np.float32), nowhere, nowhere, nowhere, nowhere, corner, corner
    )
    cutout_store.write_shard(folder / "cutouts.zarr", start, cutouts)
    truth = pd.DataFrame(
        {"kind": cutout.kind, "is_lens": cutout.kind in LENS_KINDS, **cutout.truth}
        for cutout in drawn
    )
    partial = _truth_path(folder, start).with_suffix(".partial")
    truth.to_parquet(partial)
    partial.replace(_truth_path(folder, start))
    return len(drawn)
