"""A simulated data set on disk: a cutout store, and the truth beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client, as_completed

from lensweep.ground.files import whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.simulate import CUTOUT_SIZE, LENS_KINDS, plan_kinds, simulate

SHARD = 512


def make_dataset(
    folder: Path,
    n_cutouts: int,
    seed: int,
    client: Client,
    progress: Progress,
    hard_weight: int = 1,
    lens_fraction: float = 0.5,
    psf: Psf | None = None,
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
    hard_weight : int
        How much more frequent hard confusers are than others.
    lens_fraction : float
    psf : Psf, optional
        In place of the seed's drawn ones.
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
        _simulate_shard, missing, folder=folder, n_cutouts=n_cutouts, seed=seed,
        hard_weight=hard_weight, lens_fraction=lens_fraction, psf=psf, pure=False,
    )  # fmt: skip
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


def _simulate_shard(
    start: int, folder: Path, n_cutouts: int, seed: int, hard_weight: int, lens_fraction: float,
    psf: Psf | None,
) -> int:  # fmt: skip
    kinds = plan_kinds(n_cutouts, seed, lens_fraction, hard_weight)[start : start + SHARD]
    drawn = list(simulate(kinds, seed, start, None if psf is None else (psf,)))
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
    with whole_file(_truth_path(folder, start)) as aside:
        truth.to_parquet(aside)
    return len(drawn)
