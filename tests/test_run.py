import io
import os
import shutil
import time

import dask
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray
import zarr
from conftest import write_field
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from drizzled_files import CRVAL, add_star, sky_cards, write_hla

from lensweep.catalogs.schemas import CANDIDATES, LEDGER
from lensweep.deploy.cluster import open_client
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.work.dispatch import IN_FLIGHT_PER_WORKER
from lensweep.scanner.work.scan import ClusterLostError, run_scan
from lensweep.scanner.work.stages import IMPORTS


def sums(ledger):
    return ledger["state"].value_counts().to_dict()


def test_a_scan_accounts_for_every_window(scan, field, tmp_path):
    outcome = scan([field], tmp_path / "run")
    assert outcome.exit_status == 0
    tally = outcome.tally
    assert tally.planned == tally.scored + tally.masked == 112
    ledger = pd.read_parquet(outcome.paths.ledger)
    assert pq.read_schema(outcome.paths.ledger).equals(LEDGER)
    assert sums(ledger) == {"scored": tally.scored, "masked": tally.masked}
    logits, _, _ = score_store.read(outcome.paths.scores("field_f814w_drz"))
    scored = (ledger["state"] == "scored").to_numpy()
    np.testing.assert_array_equal(np.isfinite(logits).all(axis=1), scored)
    # Windows wholly or mostly in the strip of 150 columns without weight, and no others.
    np.testing.assert_array_equal(scored, ledger["x0"] >= 100)
    assert ledger.loc[~scored, "reason"].isin(["no data"]).sum() == 2 * 8
    assert outcome.paths.contact_sheet.is_file()


def test_catalogue_is_ranked_and_described(scan, field, tmp_path, tiny_bundle):
    outcome = scan([field], tmp_path / "run", lens_density=40.0, merge_radius_arcsec=2.5)
    table = pq.read_table(outcome.paths.candidates)
    assert table.schema.remove_metadata().equals(CANDIDATES.remove_metadata())
    for column in table.schema:
        assert set(column.metadata) == {b"unit", b"ucd", b"description"}
    assert table["rank"].to_pylist() == list(range(1, len(table) + 1))
    logits = table["logit_mean"].to_numpy()
    assert len(logits) > 10
    assert (np.diff(logits) <= 0).all()
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["lensweep.ensemble"] == "tiny-3fold"
    assert metadata["lensweep.members"] == "3"
    assert metadata["lensweep.lens_density_per_deg2"] == "40.0"
    assert field.name in metadata["lensweep.run"]


def test_stores_open_with_zarr_and_xarray(scan, field, tmp_path):
    outcome = scan([field], tmp_path / "run")
    for name, arrays in (("cutouts.zarr", "flux"), ("scores.zarr", "member_logits")):
        root = zarr.open(outcome.paths.root / name, mode="r")
        assert isinstance(root, zarr.Group)
        assert list(root.group_keys()) == ["field_f814w_drz"]
        assert arrays in root["field_f814w_drz"]
    data = xarray.open_zarr(outcome.paths.cutouts("field_f814w_drz"), consolidated=False)
    assert dict(data["flux"].sizes) == {"window": 112, "y": 100, "x": 100}
    scores = xarray.open_zarr(outcome.paths.scores("field_f814w_drz"), consolidated=False)
    assert scores["member_logits"].dims == ("window", "member")


@pytest.fixture
def overlapping(tmp_path):
    """One bright star in two overlapping mosaics; the second is three times as noisy."""
    paths = []
    for name, noise, shift in (("deep_drz", 0.01, 0), ("shallow_drz", 0.03, 150)):
        flux = np.random.default_rng(8).normal(0.0, noise, (300, 500)).astype(np.float32)
        add_star(flux, 300 - shift, 150, 400.0, 2.0)
        sky = sky_cards(flux.shape)
        sky["CRVAL1"], sky["CRVAL2"] = CRVAL
        sky["CRPIX1"] = 251.0 - shift
        paths.append(write_hla(tmp_path / f"{name}.fits", flux, sky=sky))
    return paths


def test_overlapping_mosaics_give_one_candidate(scan, overlapping, tmp_path):
    apart = [scan([path], tmp_path / path.stem, merge_radius_arcsec=2.5) for path in overlapping]
    at_star = []
    for outcome in apart:
        table = pd.read_parquet(outcome.paths.candidates)
        # 300 px right of the first pixel is 49.5 px right of the reference, and east is left.
        dx = (table["ra_deg"] - CRVAL[0]) * np.cos(np.radians(CRVAL[1])) * 3600 / 0.05 + 50
        dy = (table["dec_deg"] - CRVAL[1]) * 3600 / 0.05
        at_star.append(table[np.hypot(dx, dy) < 5])
        assert len(at_star[-1]) == 1
    both = scan(overlapping, tmp_path / "both", merge_radius_arcsec=2.5)
    together = pd.read_parquet(both.paths.candidates)
    best = max(at_star, key=lambda table: table["logit_mean"].iloc[0]).iloc[0]
    same = together[
        np.hypot(together["ra_deg"] - best["ra_deg"], together["dec_deg"] - best["dec_deg"])
        < 2.0 / 3600
    ]
    assert len(same) == 1
    assert same["mosaic"].iloc[0] == best["mosaic"]
    assert same["logit_mean"].iloc[0] == best["logit_mean"]
    assert same["n_windows"].iloc[0] > best["n_windows"]


def test_one_bad_mosaic_does_not_stop_the_others(scan, field, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"no FITS at all")
    outcome = scan([field, bad], tmp_path / "run")
    assert outcome.exit_status == 3
    assert "neither FITS" in outcome.failed_mosaics["bad"]
    assert outcome.tally.scored == 96
    # Mended, the same command completes it, and nothing that was done is done again.
    chunk = outcome.paths.cutouts("field_f814w_drz") / "x0" / "c" / "0"
    before = chunk.stat().st_mtime_ns
    bad.unlink()
    write_field(bad, seed=4)
    mended = scan([field, bad], tmp_path / "run")
    assert mended.exit_status == 0
    assert mended.tally.planned == 224
    assert chunk.stat().st_mtime_ns == before
    assert not outcome.paths.mosaic_failure("bad").exists()


def test_damaged_pixels_fail_their_shards_only(scan, client, tiny_bundle, field, tmp_path):
    """The mosaic is cut short between planning and cutting; then it is mended."""
    whole = field.read_bytes()
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(tiny_bundle),
                        windows_per_shard=16, screen="off", merge_radius_arcsec=10.0)  # fmt: skip
    bundle, paths = open_run(config)

    class Shortens(PlainProgress):
        def stage(self, name, total, done=0, unit="windows"):
            if name == "cutting":
                os.truncate(field, 400_000)
            return super().stage(name, total, done, unit)

    log = io.StringIO()
    outcome = run_scan(config, bundle, paths, client, Shortens(log, time.monotonic))
    assert outcome.exit_status == 3
    tally = outcome.tally
    assert tally.failed > 0
    assert tally.planned == tally.scored + tally.masked + tally.failed == 112
    ledger = pd.read_parquet(paths.ledger)
    assert ledger.loc[ledger["state"] == "failed", "reason"].notna().all()
    assert "shard 6 failed" in log.getvalue()
    field.write_bytes(whole)
    assert scan([field], tmp_path / "run").tally.failed == 0
    assert sums(pd.read_parquet(paths.ledger)) == {"scored": 96, "masked": 16}
    assert not paths.shard_failures("field_f814w_drz")


def test_a_planned_mosaic_that_vanishes_stays_in_the_ledger(scan, field, tmp_path):
    other = write_field(tmp_path / "other.fits", seed=4)
    first = scan([field, other], tmp_path / "run")
    first.paths.score_marker("other", 3).unlink()
    other.rename(tmp_path / "elsewhere.fits")
    again = scan([field, other], tmp_path / "run")
    assert again.exit_status == 3
    assert "no such file" in again.failed_mosaics["other"]
    assert again.tally.failed == 16
    assert again.tally.planned == 224


def test_all_mosaics_bad_leaves_nothing_in_the_way(scan, field, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=r"mosaic bad\.fits: neither"):
        scan([bad], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert scan([field], tmp_path / "run").exit_status == 0


def test_what_others_put_beside_a_hopeless_run_stays(client, tiny_bundle, tmp_path):
    empty = tmp_path / "empty.fits"
    empty.write_bytes(b"")
    config = ScanConfig((str(empty),), str(tmp_path / "run"), str(tiny_bundle))
    bundle, paths = open_run(config)
    (paths.root / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mosaic empty\.fits: neither"):
        run_scan(config, bundle, paths, client, PlainProgress(io.StringIO(), time.monotonic))
    assert [path.name for path in paths.root.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("shape", "options", "windows"),
    [
        ((60, 80), {}, 1),  # smaller than a window
        ((300, 300), {"centres": "far"}, 0),  # no position lies on it
        ((300, 300), {"min_logit": 1e9}, 25),  # no detections
        ((300, 300), {"min_valid_fraction": 0.0}, 25),
    ],
)
def test_small_and_empty(scan, tmp_path, shape, options, windows):
    mosaic = write_field(tmp_path / "a.fits", seed=1, shape=shape, blank_columns=0)
    if "centres" in options:
        far = tmp_path / "far.csv"
        far.write_text("ra,dec\n10.0,-40.0\n")
        options = {"centres": str(far)}
    outcome = scan([mosaic], tmp_path / "run", **options)
    assert outcome.tally.planned == windows
    table = pq.read_table(outcome.paths.candidates)
    assert table.schema.remove_metadata().equals(CANDIDATES.remove_metadata())
    assert (len(table) == 0) == (windows != 25 or "min_logit" in options)
    assert outcome.paths.contact_sheet.is_file()
    assert scan([mosaic], tmp_path / "run", **options).tally == outcome.tally


def test_windows_without_data_are_never_scored(scan, field, tmp_path):
    outcome = scan([field], tmp_path / "run", min_valid_fraction=0.0)
    ledger = pd.read_parquet(outcome.paths.ledger)
    assert set(ledger.loc[ledger["state"] == "masked", "reason"]) == {"no data"}
    assert outcome.tally.masked == 16


def test_centres_from_a_table_and_from_sources(scan, field, tmp_path):
    table = tmp_path / "centres.csv"
    table.write_text(f"ra,dec\n{CRVAL[0]},{CRVAL[1]}\n10.0,-40.0\n")
    outcome = scan([field], tmp_path / "table", centres=str(table))
    assert outcome.tally.planned == 1
    row = pd.read_parquet(outcome.paths.candidates).iloc[0]
    assert (row["ra_deg"], row["dec_deg"]) == pytest.approx(CRVAL, abs=1e-9)
    assert scan([field], tmp_path / "sources", centres="sources").tally.scored > 5


def test_shards_under_way_are_bounded(scan, client, field, tmp_path):
    class Watch(SchedulerPlugin):
        def __init__(self):
            self.under_way, self.most, self.ended = set(), 0, 0

        def transition(self, key, start, finish, *args, **kwargs):
            if not str(key).startswith("score_unless_done"):
                return
            if finish in ("memory", "erred", "released", "forgotten"):
                self.ended += key in self.under_way
                self.under_way.discard(key)
            else:
                self.under_way.add(key)
                self.most = max(self.most, len(self.under_way))

    watch = Watch()
    client.cluster.scheduler.add_plugin(watch, name="watch")
    scan([field], tmp_path / "run", windows_per_shard=4)
    client.cluster.scheduler.remove_plugin("watch")
    assert watch.ended == 28
    assert 0 < watch.most <= IN_FLIGHT_PER_WORKER


def test_workers_in_other_processes_and_relative_paths(tiny_bundle, tmp_path, monkeypatch):
    """Workers stand in another folder than the command."""
    import lensweep

    write_field(tmp_path / "field_drz.fits", seed=3)
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with open_client("local", 1, imports=IMPORTS) as client:
        monkeypatch.chdir(tmp_path)
        assert client.submit(os.getcwd).result() != str(tmp_path)
        outcome = lensweep.scan(
            ["field_drz.fits"], "run", ensemble="bundle", screen="off",
            cluster=client.scheduler.address,
        )  # fmt: skip
    assert outcome.tally.scored == 96
    assert len(lensweep.read_candidates("run")) == len(lensweep.read_candidates(tmp_path / "run"))


@pytest.mark.filterwarnings("ignore")  # what Dask says of a scheduler that is gone
def test_a_cluster_that_is_lost(scan, tiny_bundle, field, tmp_path):
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(tiny_bundle),
                        windows_per_shard=16, screen="off")  # fmt: skip
    bundle, paths = open_run(config)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
            protocol="tcp",
        ) as cluster,
        Client(cluster.scheduler_address) as client,
    ):  # fmt: skip

        class Closes(PlainProgress):
            def advance(self, stage, n):
                super().advance(stage, n)
                if n and len(paths.score_markers("field_f814w_drz")) >= 2:
                    cluster.close()

        progress = Closes(io.StringIO(), time.monotonic)
        with pytest.raises(ClusterLostError, match="repeat the command to continue"):
            run_scan(config, bundle, paths, client, progress)
    assert not paths.shard_failures("field_f814w_drz")
    continued = scan([field], tmp_path / "run", merge_radius_arcsec=10.0)
    assert continued.tally.scored == 96


def test_a_run_folder_that_is_used_again_is_planned_again(scan, field, tmp_path):
    """Workers outlive runs: what they remember of a folder must not."""
    first = scan([field], tmp_path / "run")
    shutil.rmtree(first.paths.root)
    assert scan([field], tmp_path / "run", stride=100).tally.planned == 8 * 5
    corners = cutout_store.read_column(first.paths.cutouts("field_f814w_drz"), "x0")
    assert set(np.diff(np.unique(corners))) <= {100, 30}


def test_packed_mosaics_continue(scan, field, tmp_path):
    import gzip

    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(field.read_bytes(), 1))
    outcome = scan([packed], tmp_path / "run")
    assert not outcome.paths.scratch.exists()
    outcome.paths.score_marker("packed", 2).unlink()
    outcome.paths.cut_marker("packed", 2).unlink()
    assert scan([packed], tmp_path / "run").tally == outcome.tally
