"""A mosaic from which nothing comes costs the others nothing, whichever way that is."""

import io
import os
import time

import numpy as np
import pandas as pd
import pytest
from conftest import scan_here, write_field
from drizzled_files import sky_cards, write_hla

from lensweep.catalogs.coverage import area_deg2
from lensweep.catalogs.lens_lists import known_lenses
from lensweep.commands.show import show_plan
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.lenses.recall import measure_recall
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.results.reranking import rerank
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.sky.grid import grid_to_mosaic_pixels, grid_to_sky, scan_grid, sky_to_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.work.scan import run_scan

SHAPE = (220, 260)


def turned_noise(path, seed=6):
    """Noise, turned by 30 degrees, so that it is resampled; its weight is whole."""
    flux = np.random.default_rng(seed).normal(0.0, 0.01, SHAPE).astype(np.float32)
    # Elsewhere on the sky, so that positions in the one do not lie on the other.
    sky = sky_cards(SHAPE, rotation_deg=30.0, crval=(10.0, -20.0))
    return write_hla(path, flux, np.ones(SHAPE, np.float32), sky=sky)


@pytest.fixture
def mosaics(tmp_path):
    """A good mosaic on the scanning grid, and the turned one."""
    good = write_field(tmp_path / "good_drz.fits", seed=3, shape=(220, 320))
    return [good, turned_noise(tmp_path / "turned_drz.fits")]


def test_no_positions_have_a_place_each(tmp_path):
    path = turned_noise(tmp_path / "turned.fits")
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", tmp_path)
    grid = scan_grid(mosaic)
    assert grid.resampled
    nothing = np.empty(0)
    for x, y in (
        grid_to_mosaic_pixels(mosaic, grid, nothing, nothing),
        grid_to_sky(grid, nothing, nothing),
        sky_to_grid(grid, nothing, nothing),
    ):
        assert x.shape == y.shape == (0,)


def everything_after(outcome):
    """What reads a finished run: each must take a mosaic without a candidate."""
    root = outcome.paths.root
    area = area_deg2(run_footprint(root))
    measure_recall(root, known_lenses(), 3.0)
    return area


@pytest.mark.parametrize(
    "options",
    [
        {"min_logit": 1e9},  # no window is a detection
        {"centres": "sources"},  # noise has no sources
        {"centres": "table"},  # of which the turned mosaic holds none
        {"min_valid_fraction": 1.0, "min_logit": 1e9},
    ],
    ids=str,
)
def test_a_resampled_mosaic_without_a_detection(scan, mosaics, tmp_path, options):
    if options.get("centres") == "table":
        good = inspect_mosaic(mosaics[0], HeaderOverrides(), "F814W", "ens", tmp_path)
        ra, dec = grid_to_sky(scan_grid(good), [200.0, 250.0], [100.0, 120.0])
        table = tmp_path / "centres.csv"
        pd.DataFrame({"ra": ra, "dec": dec}).to_csv(table, index=False)
        options = options | {"centres": str(table)}
    outcome = scan(mosaics, tmp_path / "run", **options)
    assert outcome.exit_status == 0
    candidates = pd.read_parquet(outcome.paths.candidates)
    assert "turned_drz" not in set(candidates["mosaic"])
    assert ("good_drz" in set(candidates["mosaic"])) == ("min_logit" not in options)
    assert everything_after(outcome) > 0.0
    # And again: what failed once failed on every repeat.
    assert scan(mosaics, tmp_path / "run", **options).exit_status == 0


def test_a_run_of_which_nothing_is_planned(scan, tmp_path, tiny_bundle):
    path = turned_noise(tmp_path / "turned.fits")
    outcome = scan([path], tmp_path / "run", centres="sources")
    assert outcome.exit_status == 0
    assert outcome.tally.planned == 0
    assert pd.read_parquet(outcome.paths.candidates).empty
    assert pd.read_parquet(outcome.paths.ledger).empty
    config = ScanConfig((str(path),), str(tmp_path / "other"), str(tiny_bundle), centres="sources")
    assert show_plan(config) == 0


def test_other_ranks_of_a_run_without_detections(scan, mosaics, tmp_path, tiny_bundle):
    outcome = scan(mosaics[1:], tmp_path / "run", min_logit=1e9)
    for aggregate in ("median", "rank"):
        assert pd.read_parquet(rerank(outcome.paths.root, aggregate, str(tiny_bundle))).empty


def test_all_shards_of_a_resampled_mosaic_fail(client, tiny_bundle, mosaics, tmp_path):
    """Its pixels are torn off between planning and cutting; the other is done all the same."""
    config = ScanConfig(tuple(map(str, mosaics)), str(tmp_path / "run"), str(tiny_bundle),
                        windows_per_shard=16, screen="off")  # fmt: skip
    bundle, paths = open_run(config)
    whole = mosaics[1].read_bytes()

    class Tears(PlainProgress):
        def stage(self, name, total, done=0, unit="windows"):
            if name == "cutting":
                os.truncate(mosaics[1], 6000)
            return super().stage(name, total, done, unit)

    outcome = run_scan(config, bundle, paths, client, Tears(io.StringIO(), time.monotonic))
    assert outcome.exit_status == 3
    assert set(outcome.failed_mosaics) == {"turned_drz"}
    assert set(pd.read_parquet(outcome.paths.candidates)["mosaic"]) == {"good_drz"}
    mosaics[1].write_bytes(whole)
    mended = scan_here(client, tiny_bundle, mosaics, tmp_path / "run", merge_radius_arcsec=2.5)
    assert mended.exit_status == 0
