"""Hard negatives: what a bundle takes for lenses on simulated fields that hold none.

The fields hold what the sky holds, at its rates: what is mined is what a scan will show.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client

from lensweep.catalogs.candidates import merge_overlaps
from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.work.dispatch import spread
from lensweep.scanner.work.scan import run_scan
from lensweep.training.data import labelled_set as labelled_store
from lensweep.training.data.requests import MiningConfig
from lensweep.training.simulation.field import make_known_field
from lensweep.training.simulation.field_population import SKY
from lensweep.training.simulation.simulate import VERSION

# A window's diagonal, so that no two windows of the set share a pixel.
APART_ARCSEC = 7.1


def open_mining(config: MiningConfig, out: Path) -> Bundle:
    """Check a request, and begin or continue its folder; needs no cluster.

    Raises
    ------
    InputError
        If the bundle or the folder cannot be used.
    """
    bundle = check_bundle(config.ensemble)
    asked = dataclasses.asdict(config) | {
        "kind": "mined", "ensemble": bundle.sha256, "simulation": VERSION,
    }  # fmt: skip
    labelled_store.claim(out, asked)
    return bundle


def mine(
    config: MiningConfig, bundle: Bundle, out: Path, client: Client, progress: Progress
) -> pd.DataFrame:
    """Make a labelled set of the windows that a bundle scores highest; a stopped one continues.

    In `out` are `cutouts.zarr`, `truth/` and `plan.parquet`; `fields` and `scan` are for restarts.

    Returns
    -------
    DataFrame
        ``kind`` (mined), ``is_lens`` (False), ``object_id``, ``mosaic``, ``window``,
        ``logit_mean``, highest first; fewer rows than asked for where the fields have no more.

    Raises
    ------
    InputError
        If a field was not scanned, or none was scored.
    """
    path, run = out / "plan.parquet", RunPaths(out / "scan")
    if not path.is_file():
        mosaics = _make_fields(config, out / "fields", client, progress)
        # What a scan would not look at twice is not hard.
        screen = "off" if bundle.description.screen is None else "on"
        asked_of_scan = ScanConfig(
            tuple(map(str, mosaics)), str(run.root), config.ensemble, screen=screen
        )
        with sole_writer(run, progress.note) as hold:
            opened = open_run(asked_of_scan)
            outcome = run_scan(asked_of_scan, *opened, client, progress, hold)
        if outcome.failed_mosaics:
            raise InputError(f"{out}: fields were not scanned: {outcome.failed_mosaics}; repeat")
        labelled_store.write_rows(_hardest(run, mosaics, config.n), path)
    plan = pd.read_parquet(path)
    labelled_store.fill(out, f"mined-{config.seed}", len(plan), make_shard, client, progress,
                        plan=path, run=run)  # fmt: skip
    return plan


def make_shard(start: int, stop: int, plan: Path, run: RunPaths) -> tuple[Cutouts, pd.DataFrame]:
    """The cutouts of some rows of a plan, from the run that scored them; their truth."""
    rows = pd.read_parquet(plan).iloc[start:stop].reset_index(drop=True)
    places = [(run.cutouts(row.mosaic), row.window) for row in rows.itertuples()]
    return cutout_store.gather(places), rows


def _make_fields(config: MiningConfig, folder: Path, client: Client, progress: Progress
                 ) -> list[Path]:  # fmt: skip
    folder.mkdir(exist_ok=True)
    seeds = range(config.seed, config.seed + config.fields)
    paths = [folder / f"empty{seed}_f814w_drz.fits" for seed in seeds]
    stage = progress.stage("fields", len(paths), 0, unit="fields")
    fields = list(zip(paths, seeds, strict=True))
    for _ in spread(client, _make_field, fields, size_px=config.size_px):
        progress.advance(stage, 1)
    return paths


def _make_field(field: tuple[Path, int], size_px: int) -> None:
    path, seed = field
    if not path.is_file():
        make_known_field(path, seed, size_px, n_lenses=0, population=SKY)


def _hardest(run: RunPaths, mosaics: list[Path], n: int) -> pd.DataFrame:
    windows = pd.concat([_scored(run, path.stem) for path in mosaics], ignore_index=True)
    if not len(windows):
        raise InputError(f"{run.root}: not one window was scored; give more or larger fields")
    keep, _ = merge_overlaps(windows["ra_deg"], windows["dec_deg"], windows["logit_mean"],
                             APART_ARCSEC)  # fmt: skip
    rows = windows.iloc[keep[:n]].reset_index(drop=True).drop(columns=["ra_deg", "dec_deg"])
    return rows.assign(kind="mined", is_lens=False, object_id=np.arange(len(rows)))


def _scored(run: RunPaths, mosaic: str) -> pd.DataFrame:
    mean = score_store.read(run.scores(mosaic))[0].mean(axis=1)
    rows = np.flatnonzero(np.isfinite(mean))
    columns = {name: cutout_store.read_column(run.cutouts(mosaic), name)[rows]
               for name in ("ra_deg", "dec_deg")}  # fmt: skip
    return pd.DataFrame({"mosaic": mosaic, "window": rows, "logit_mean": mean[rows]} | columns)
