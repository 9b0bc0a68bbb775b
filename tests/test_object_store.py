"""Runs in an object store: a real server on loopback that speaks S3."""

import gzip
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from conftest import scan_here
from dask_nodes import wait_until

import lensweep
from lensweep.ground.errors import InputError
from lensweep.ground.files import StoreError, local_copy, place, whole_file
from lensweep.scanner.lenses.recall import measure_recall
from lensweep.scanner.results.reranking import rerank
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.status import read_status

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'lensweep[s3]'")
NAME = "field_f814w_drz"


def tables(root):
    paths, found = RunPaths.at(str(root)), []
    for path in (paths.candidates, paths.ledger):
        with path.open("rb") as file:
            found.append(pd.read_parquet(file))
    return found


def assert_same(root, expected):
    for one, other in zip(tables(root), tables(expected), strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.fixture
def local_run(scan, field, tmp_path):
    return scan([field], tmp_path / "local").paths.root


def test_a_run_in_a_bucket_is_the_run_in_a_folder(scan, field, store, local_run):
    outcome = scan([field], f"{store}/run")
    assert outcome.exit_status == 0
    assert_same(f"{store}/run", local_run)
    for name in ("candidates.png", "coverage.fits", "run.json"):
        assert (outcome.paths.root / name).stat().st_size > 0
    pd.testing.assert_frame_equal(
        lensweep.read_candidates(f"{store}/run"), lensweep.read_candidates(local_run)
    )


def test_a_run_in_a_bucket_is_read_like_any_other(scan, field, store, local_run, tiny_bundle):
    root = scan([field], f"{store}/run").paths.root
    assert read_status(root).finished
    assert read_status(root).tally == read_status(local_run).tally
    again = rerank(root, "median", str(tiny_bundle))
    with again.open("rb") as file:
        assert len(pd.read_parquet(file)) == len(lensweep.read_candidates(root))
    candidates = lensweep.read_candidates(local_run).head(3)
    known = pd.DataFrame(
        {"catalogue": "mine", "name": ["a", "b", "c"], "known_ra_deg": candidates["ra_deg"],
         "known_dec_deg": candidates["dec_deg"], "grade": None, "grade_scheme": None}
    )  # fmt: skip
    known = known.reindex(columns=sorted({*known.columns, *_known_columns()}))
    found, expected = (measure_recall(where, known, 3.0) for where in (root, local_run))
    assert found.summary["n_observed"].tolist() == [3]
    pd.testing.assert_frame_equal(found.lenses, expected.lenses)


def _known_columns():
    from lensweep.catalogs.lens_schemas import KNOWN

    return KNOWN.names


def test_what_is_missing_is_done_again(scan, field, store, local_run):
    paths = scan([field], f"{store}/run").paths
    for lost in (paths.score_marker(NAME, 2), paths.cut_marker(NAME, 4), paths.candidates):
        lost.unlink()
    paths.score_marker(NAME, 4).unlink()
    assert not read_status(paths.root).finished
    scan([field], f"{store}/run")
    assert_same(paths.root, local_run)


def test_a_killed_command_continues_in_its_bucket(field, store, tiny_bundle, client, tmp_path):
    options = {"stride": 25, "windows_per_shard": 16}
    expected = scan_here(client, tiny_bundle, [field], tmp_path / "expected", **options).paths.root
    paths = RunPaths.at(f"{store}/run")
    command = [
        sys.executable, "-m", "lensweep", "scan", str(field), "--out", f"{store}/run",
        "--config", str(_toml(tmp_path)), "--ensemble", str(tiny_bundle), "--stride", "25",
    ]  # fmt: skip
    first = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(paths.score_markers(NAME)) >= 2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not paths.candidates.exists()
    kept = {marker.name: marker.stat().st_mtime for marker in paths.score_markers(NAME)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert {name: (paths.markers(NAME) / name).stat().st_mtime for name in kept} == kept
    assert_same(paths.root, expected)
    assert "much-ado" not in ended.stdout + ended.stderr


def _toml(folder):
    path = folder / "scan.toml"
    path.write_text(
        'windows_per_shard = 16\nmerge_radius_arcsec = 10.0\nscreen = "off"\nworkers = 1\n'
    )
    return path


def test_an_upload_that_fails_leaves_what_was_there(store):
    path = place(f"{store}/table")
    with whole_file(path) as aside:
        aside.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with local_copy(path) as copy:
        assert copy.read_text() == "old"


def test_a_compressed_mosaic_has_nowhere_to_be_unpacked(scan, field, store):
    packed = field.with_name(field.name + ".gz")
    packed.write_bytes(gzip.compress(field.read_bytes()))
    with pytest.raises(InputError, match=r"compressed, and s3://.* gunzip it"):
        scan([packed], f"{store}/run")
    assert not place(f"{store}/run").exists()


def test_another_run_in_the_same_place_is_refused(scan, field, store):
    scan([field], f"{store}/run")
    with pytest.raises(InputError, match=r"holds another run \(stride was 50, now 40\)"):
        scan([field], f"{store}/run", stride=40)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("s3://no-such-bucket-here/run", "cannot be written to"),
        ("nostore://bucket/run", "nostore"),
    ],
)
def test_a_place_that_is_not_there_is_refused(scan, field, store, out, message):
    with pytest.raises((InputError, StoreError), match=message):
        scan([field], out)


def test_a_submitted_run_needs_a_folder(field, store):
    command = [sys.executable, "-m", "lensweep", "submit", "--cluster", "slurm", str(field),
               "--out", f"{store}/run"]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "a submitted scan keeps its scripts" in ended.stderr
