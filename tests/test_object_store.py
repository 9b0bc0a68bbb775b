"""Runs in an object store: a real server on loopback that speaks S3."""

import gzip

import pandas as pd
import pytest
from conftest import new_bucket, scan_here
from dask_nodes import wait_until
from forked_programs import Forked

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


@pytest.fixture(scope="module")
def stored_run(object_server, client, tiny_bundle, one_field):
    """A scan of `one_field` in a bucket, to be read only: the folder's is `finished_run`."""
    with pytest.MonkeyPatch.context() as patch:
        bucket = new_bucket(object_server, patch, "stored")
        yield scan_here(client, tiny_bundle, [one_field], f"{bucket}/run").paths.root


def test_a_run_in_a_bucket_is_the_run_in_a_folder(stored_run, finished_run):
    assert_same(str(stored_run), finished_run)
    for name in ("candidates.png", "coverage.fits", "run.json"):
        assert (stored_run / name).stat().st_size > 0
    pd.testing.assert_frame_equal(
        lensweep.read_candidates(str(stored_run)), lensweep.read_candidates(finished_run)
    )


def test_a_run_in_a_bucket_is_read_like_any_other(stored_run, finished_run, tiny_bundle):
    assert read_status(stored_run).finished
    assert read_status(stored_run).tally == read_status(finished_run).tally
    again = rerank(stored_run, "median", str(tiny_bundle))
    with again.open("rb") as file:
        assert len(pd.read_parquet(file)) == len(lensweep.read_candidates(stored_run))
    candidates = lensweep.read_candidates(finished_run).head(3)
    known = pd.DataFrame(
        {"catalogue": "mine", "name": ["a", "b", "c"], "known_ra_deg": candidates["ra_deg"],
         "known_dec_deg": candidates["dec_deg"], "grade": None, "grade_scheme": None}
    )  # fmt: skip
    known = known.reindex(columns=sorted({*known.columns, *_known_columns()}))
    found, expected = (measure_recall(where, known, 3.0) for where in (stored_run, finished_run))
    assert found.summary["n_observed"].tolist() == [3]
    pd.testing.assert_frame_equal(found.lenses, expected.lenses)


def _known_columns():
    from lensweep.catalogs.lens_schemas import KNOWN

    return KNOWN.names


def test_what_is_missing_is_done_again(scan, one_field, store, stored_run, finished_run):
    import s3fs

    s3fs.S3FileSystem().copy(f"{stored_run}/", f"{store}/run/", recursive=True)
    paths = RunPaths.at(f"{store}/run")
    assert read_status(paths.root).finished
    for lost in (paths.score_marker(NAME, 2), paths.cut_marker(NAME, 4), paths.candidates):
        lost.unlink()
    paths.score_marker(NAME, 4).unlink()
    assert not read_status(paths.root).finished
    assert scan([one_field], f"{store}/run").exit_status == 0
    assert_same(paths.root, finished_run)


def test_a_killed_command_continues_in_its_bucket(
    field, store, estimator_bundle, client, command, tmp_path
):
    options = {"windows_per_shard": 8}
    expected = tmp_path / "expected"
    scan_here(client, estimator_bundle, [field], expected, **options)
    paths = RunPaths.at(f"{store}/run")
    asked = ["scan", field, "--out", f"{store}/run", "--config", _toml(tmp_path),
             "--ensemble", estimator_bundle]  # fmt: skip
    first = Forked("lensweep", *asked, log=tmp_path / "log")

    def is_begun():
        return len(paths.score_markers(NAME)) >= 2 or first.poll() is not None

    # Each look is a request to a server that others wait for.
    wait_until(is_begun, every_s=0.3)
    first.kill_session()
    assert not paths.candidates.exists(), first.said()
    kept = {marker.name: marker.stat().st_mtime for marker in paths.score_markers(NAME)}
    status, said = command(*asked)
    assert status == 0, said
    assert {name: (paths.markers(NAME) / name).stat().st_mtime for name in kept} == kept
    assert_same(paths.root, expected)
    assert "much-ado" not in said + first.said()


def _toml(folder):
    path = folder / "scan.toml"
    path.write_text(
        'windows_per_shard = 8\nmerge_radius_arcsec = 10.0\nscreen = "off"\nworkers = 1\n'
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


def test_another_run_in_the_same_place_is_refused(scan, one_field, stored_run):
    with pytest.raises(InputError, match=r"holds another run \(stride was 50, now 40\)"):
        scan([one_field], str(stored_run), stride=40)


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


def test_a_submitted_run_needs_a_folder(field, store, command):
    status, said = command("submit", "--cluster", "slurm", field, "--out", f"{store}/run")
    assert status == 2
    assert "a submitted scan keeps its scripts" in said
