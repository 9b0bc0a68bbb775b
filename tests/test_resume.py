"""A run that is killed at any moment continues, and ends as if nothing had happened."""

import os
import shutil
import time
from functools import partial

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from forked_programs import Forked

from lensweep.ground.errors import InputError
from lensweep.scanner.run import score_store
from lensweep.scanner.run.paths import RunPaths

SEED = 2018
KILLS = ("command", "worker", "group")
NAME = "field_f814w_drz"


@pytest.fixture(scope="module")
def asked(estimator_bundle, tmp_path_factory):
    """Arguments of a scan in 28 shards, all but the folder."""
    folder = tmp_path_factory.mktemp("asked")
    field = write_field(folder / f"{NAME}.fits", seed=3)
    (folder / "scan.toml").write_text(
        f"mosaics = [{str(field)!r}]\nensemble = {str(estimator_bundle)!r}\nworkers = 1\n"
        "windows_per_shard = 4\nmerge_radius_arcsec = 10.0\nscreen = 'off'\n"
    )
    return ["scan", "--config", folder / "scan.toml", "--out"]


@pytest.fixture(scope="module")
def undisturbed(client, asked, estimator_bundle, tmp_path_factory):
    """The same scan within this process."""
    root = tmp_path_factory.mktemp("undisturbed") / "run"
    field = asked[2].with_name(f"{NAME}.fits")
    assert scan_here(client, estimator_bundle, [field], root, windows_per_shard=4).exit_status == 0
    return root


def n_files(root):
    # Files come and go while they are counted.
    return sum(len(files) for _, _, files in os.walk(root))


def kill(kind, command):
    """Kill the command, its worker, or all of it; what was killed."""
    family = command.family()
    worker = command.worker() if kind == "worker" else None
    if worker is not None:
        worker.kill()
        return kind
    if kind == "group":
        command.kill_session()
    else:
        command.kill()
    # Workers end with the command that they belong to.
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    return "group" if kind == "group" else "command"


def assert_same(root, expected):
    for name in ("candidates.parquet", "ledger.parquet"):
        found, wanted = pq.read_table(root / name), pq.read_table(expected / name)
        assert found.replace_schema_metadata().equals(wanted.replace_schema_metadata())
    found, wanted = (score_store.read(RunPaths(r).scores(NAME)) for r in (root, expected))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
    leftovers = [str(path) for path in root.rglob("*.partial")]
    assert not leftovers


def test_ten_kills_leave_no_trace(asked, undisturbed, tmp_path):
    """Moments are drawn in files written, so that they mean the same on any machine."""
    rng = np.random.default_rng(SEED)
    moments = np.sort(rng.uniform(0.0, 0.95, 10)) * n_files(undisturbed)
    kinds = rng.permutation([KILLS[i % 3] for i in range(10)])
    root, log = tmp_path / "run", tmp_path / "log"
    command, kept, killed = Forked("lensweep", *asked, root, log=log), {}, []
    for moment, kind in zip(moments, kinds, strict=True):
        while n_files(root) < moment and command.poll() is None:
            time.sleep(0.05)
        assert command.poll() is None, command.said()
        killed.append(kill(kind, command))
        for marker in RunPaths(root).score_markers(NAME):
            # What is done is never done again.
            assert kept.setdefault(marker.name, marker.stat().st_mtime_ns) == (
                marker.stat().st_mtime_ns
            )
        if killed[-1] != "worker":
            command = Forked("lensweep", *asked, root, log=log)
    assert command.wait() == 0, command.said()
    assert len(killed) == 10
    assert set(killed) == set(KILLS)
    assert kept
    assert_same(root, undisturbed)


def hand(root, *names):
    for name in names:
        (root / name).unlink()


# What a kill can leave at a moment too short to be met by chance: each row undoes or half-writes.
INTERRUPTED = [
    # while run.json was written for the first time
    lambda root: (hand(root, "run.json"), (root / ".run.json.77.partial").write_text("{")),
    # windows written, plan not
    lambda root: hand(root, f"plan/{NAME}.json"),
    # half of the windows
    lambda root: (
        hand(root, f"plan/{NAME}.json", f"plan/{NAME}.npz"),
        (root / f"plan/.{NAME}.npz.partial").write_bytes(b"PK"),
    ),
    # the stores were being made
    lambda root: (
        (root / "cutouts.zarr" / NAME).rename(root / "cutouts.zarr" / f".{NAME}.partial"),
        hand(root, f"cutouts.zarr/.{NAME}.partial/zarr.json"),
    ),
    # cut, not scored
    lambda root: hand(root, f"done/{NAME}/000003.score.json"),
    # neither, with pixels half-written aside
    lambda root: (
        hand(root, f"done/{NAME}/000004.score.json", f"done/{NAME}/000004.cut.json"),
        (root / f"cutouts.zarr/{NAME}/x0/c/4.{'0' * 32}.partial").write_bytes(b"1"),
        (root / f"done/{NAME}/.000004.cut.json.77.partial").write_text("{"),
    ),
    # ranked, not written
    lambda root: (
        hand(root, "candidates.parquet"),
        (root / ".candidates.parquet.partial").write_bytes(b"PAR1"),
    ),
    lambda root: (root / ".ledger.parquet.partial").write_bytes(b"PAR1"),
]


@pytest.mark.parametrize("interrupt", INTERRUPTED)
def test_every_stage_can_be_interrupted(scan, one_field, finished, finished_run, interrupt):
    root = finished.root
    if interrupt is INTERRUPTED[0]:
        for path in root.rglob("*"):
            if path.is_file() and path.name != "run.json":
                path.unlink()
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
    interrupt(root)
    assert scan([one_field], root).exit_status == 0
    assert_same(root, finished_run)


def test_removed_stores_are_made_again(scan, one_field, finished, finished_run):
    """Markers alone must not pass for cutouts."""
    shutil.rmtree(finished.all_cutouts)
    scan([one_field], finished.root)
    assert_same(finished.root, finished_run)


def test_only_what_is_missing_is_done(scan, one_field, finished):
    before = {path.name: path.stat().st_mtime_ns for path in finished.score_markers(NAME)}
    finished.score_marker(NAME, 2).unlink()
    scan([one_field], finished.root)
    after = {path.name: path.stat().st_mtime_ns for path in finished.score_markers(NAME)}
    assert {name for name in after if after[name] != before[name]} == {"000002.score.json"}


def test_what_a_killed_worker_was_writing_is_gone_at_the_end(scan, one_field, finished):
    half = finished.markers(NAME) / ".000002.score.json.77.partial"
    finished.score_marker(NAME, 2).unlink()
    scan([one_field], finished.root, hold=lambda: half.write_text("{"))
    assert not half.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 25}, "stride was 50, now 25"),
        ({"windows_per_shard": 32}, "windows_per_shard was 16, now 32"),
        ({"min_valid_fraction": 0.9}, "min_valid_fraction was 0.5, now 0.9"),
        ({"centres": "sources"}, "centres was grid, now sources"),
    ],
)
def test_another_run_in_the_folder_is_refused(scan, one_field, finished, options, message):
    with pytest.raises(InputError, match=f"holds another run .{message}.*repeat the first command"):
        scan([one_field], finished.root, **options)


def test_a_finished_catalogue_is_not_replaced_unasked(
    client, command, field, measured_bundle, tmp_path
):
    scan = partial(scan_here, client, measured_bundle)
    first = scan([field], tmp_path / "run", merge_radius_arcsec=2.5)
    table = pd.read_parquet(first.paths.candidates)
    written = first.paths.candidates.stat().st_mtime_ns
    other = {"lens_density": 300.0, "merge_radius_arcsec": 4.0}
    message = (
        "lens_density = 10.0, now 300.0, merge_radius_arcsec = 2.5, now 4.0.*"
        f"`lensweep rank {tmp_path}/run --lens-density 300.0 --merge-radius 4.0`.*--rerank"
    )
    with pytest.raises(InputError, match=message):
        scan([field], tmp_path / "run", **other)
    assert first.paths.candidates.stat().st_mtime_ns == written
    # The command to type, and the way to have it replaced, come to the same.
    status, _ = command("rank", tmp_path / "run", "--lens-density", 300.0, "--merge-radius", 4.0,
                        "--ensemble", measured_bundle)  # fmt: skip
    assert status == 0
    beside = pd.read_parquet(first.paths.reranked("mean-lens_density=300-merge_radius_arcsec=4"))
    again = scan([field], tmp_path / "run", rerank=True, **other)
    changed = pd.read_parquet(again.paths.candidates)
    assert len(changed) < len(table)
    assert changed["p_lens"].max() > table["p_lens"].max()
    pd.testing.assert_frame_equal(beside[changed.columns], changed)


@pytest.mark.parametrize("option", [{"min_logit": -3.0}, {"match_radius_arcsec": 1.0}], ids=str)
def test_any_option_of_the_ranking_is_refused(scan, one_field, finished, option):
    with pytest.raises(InputError, match="lensweep rank"):
        scan([one_field], finished.root, **option)


def test_ranking_may_change_before_there_is_a_catalogue(scan, field, tmp_path):
    first = scan([field], tmp_path / "run", merge_radius_arcsec=2.5)
    first.paths.candidates.unlink()
    again = scan([field], tmp_path / "run", merge_radius_arcsec=4.0)
    assert again.paths.candidates.is_file()


def test_a_changed_table_of_centres_is_refused(scan, field, tmp_path):
    table = tmp_path / "centres.csv"
    table.write_text("ra,dec\n150.1163,2.2009\n")
    scan([field], tmp_path / "run", centres=str(table))
    table.write_text("ra,dec\n150.1163,2.2010\n")
    with pytest.raises(InputError, match="centres_sha256"):
        scan([field], tmp_path / "run", centres=str(table))


def test_a_changed_mosaic_is_refused(scan, field, tmp_path):
    scan([field], tmp_path / "run")
    field.unlink()
    write_field(field, seed=9)
    with pytest.raises(InputError, match=r"field_f814w_drz\.fits: has changed since this run"):
        scan([field], tmp_path / "run")


def test_the_same_mosaic_by_another_path(scan, one_field, finished, finished_run, monkeypatch):
    finished.score_marker(NAME, 2).unlink()
    monkeypatch.chdir(one_field.parent)
    assert scan([one_field.name], finished.root).exit_status == 0
    assert_same(finished.root, finished_run)
