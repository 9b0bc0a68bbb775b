"""Files torn after what says that they are there: a power cut, a disk that fails."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import scan_here, write_field

from lensweep.ground.errors import InputError
from lensweep.ground.files import file_lengths, place
from lensweep.scanner.results.finished_run import read_facts
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.records import DamagedError, read_record, sum_of_parts, write_record
from lensweep.scanner.run.status import read_status

NAME = "field_f814w_drz"


@pytest.fixture(scope="module")
def finished(client, tiny_bundle, tmp_path_factory):
    """A finished run in seven shards, and what repeats it in another folder."""
    folder = tmp_path_factory.mktemp("finished")
    # Some windows are valid in part.
    field = write_field(folder / f"{NAME}.fits", seed=3, blank_columns=130)

    def repeat(out):
        return scan_here(client, tiny_bundle, [field], out)

    return repeat(folder / "run").paths, repeat


@pytest.fixture
def paths(finished, tmp_path):
    """A copy, to be spoilt."""
    return RunPaths(shutil.copytree(finished[0].root, tmp_path / "run"))


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    path.write_bytes(b"")


def zeroed(path):
    """As long as before: the file's length reached the disk, what is in it did not."""
    path.write_bytes(bytes(path.stat().st_size))


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def assert_as_before(paths, finished):
    for name in ("candidates.parquet", "ledger.parquet"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(p.root / name) for p in (paths, finished)))
    for store in ("cutouts.zarr", "scores.zarr"):
        for file in (finished.root / store).rglob("*"):
            if file.is_file():
                same = paths.root / file.relative_to(finished.root)
                assert same.read_bytes() == file.read_bytes()
    assert read_status(paths.root).finished


# Which of the files, and the shard that is done again for it.
SHARD_FILES = [
    "cutouts.zarr/{}/flux/c/2/0/0",
    "cutouts.zarr/{}/ra_deg/c/2",
    "scores.zarr/{}/member_logits/c/2/0",
    "scores.zarr/{}/peak_sn/c/2",
    "done/{}/000002.cut.json",
    "done/{}/000002.score.json",
]


@pytest.mark.parametrize("file", SHARD_FILES)
@pytest.mark.parametrize("damage", [cut_short, emptied, os.unlink])
def test_a_torn_shard_alone_is_done_again(finished, paths, file, damage):
    if damage is os.unlink and file.startswith("done"):
        pytest.skip("a shard without a marker is one that is not done yet")
    before = {marker.name: marker.stat().st_mtime_ns for marker in paths.score_markers(NAME)}
    damage(paths.root / file.format(NAME))
    assert finished[1](paths.root).exit_status == 0
    assert_as_before(paths, finished[0])
    after = {marker.name: marker.stat().st_mtime_ns for marker in paths.score_markers(NAME)}
    assert {name for name in after if after[name] != before[name]} == {"000002.score.json"}


@pytest.mark.parametrize("file", SHARD_FILES[2:])
@pytest.mark.parametrize("damage", [zeroed, one_bit])
def test_what_is_as_long_as_it_was_is_told_by_its_sum(finished, paths, file, damage):
    damage(paths.root / file.format(NAME))
    assert finished[1](paths.root).exit_status == 0
    assert_as_before(paths, finished[0])


def test_pixels_are_checked_before_they_are_scored(finished, paths):
    one_bit(paths.cutouts(NAME) / "flux" / "c" / "2" / "0" / "0")
    paths.score_marker(NAME, 2).unlink()
    assert finished[1](paths.root).exit_status == 0
    assert_as_before(paths, finished[0])


def test_pixels_are_checked_before_they_tell_what_was_seen(finished, paths):
    """A shard with windows partly valid, whose pixels the coverage map is made from."""
    fraction = cutout_store.read_column(paths.cutouts(NAME), "valid_fraction")
    shard = int(np.flatnonzero((fraction > 0.5) & (fraction < 1.0))[0]) // 16
    one_bit(paths.cutouts(NAME) / "flux" / "c" / str(shard) / "0" / "0")
    paths.coverage.unlink()
    assert finished[1](paths.root).exit_status == 0
    assert_as_before(paths, finished[0])


@pytest.mark.parametrize(
    "file",
    [
        "run.json",
        "run-copy.json",
        "plan/{}.json",
        "plan/{}.npz",
        "ledger.parquet",
        "candidates.parquet",
        "coverage.fits",
        "cutouts.zarr/zarr.json",
        "cutouts.zarr/{}/zarr.json",
        "cutouts.zarr/{}/flux/zarr.json",
        "scores.zarr/{}/zarr.json",
        "scores.zarr/{}/peak_sn/zarr.json",
    ],
)
@pytest.mark.parametrize("damage", [cut_short, zeroed])
def test_other_files_are_made_again_and_no_shard_is(finished, paths, file, damage):
    before = {marker.name: marker.stat().st_mtime_ns for marker in paths.score_markers(NAME)}
    damage(paths.root / file.format(NAME))
    assert finished[1](paths.root).exit_status == 0
    assert_as_before(paths, finished[0])
    after = {marker.name: marker.stat().st_mtime_ns for marker in paths.score_markers(NAME)}
    assert after == before


def test_both_records_of_what_was_asked_are_gone(finished, paths):
    for path in (paths.run, paths.run_copy):
        zeroed(path)
    with pytest.raises(InputError, match=r"run\.json and run-copy\.json are damaged"):
        finished[1](paths.root)


def test_whoever_reads_a_damaged_file_says_so(paths):
    cut_short(paths.plan(NAME))
    with pytest.raises(InputError, match=rf"{NAME}\.json: is damaged; repeat the scan"):
        read_status(paths.root)
    cut_short(paths.candidates)
    with pytest.raises(InputError, match=r"candidates\.parquet is damaged; repeat its scan"):
        read_facts(paths.root)


def test_a_record(tmp_path):
    path, values = tmp_path / "a.json", {"b": [1, 2.5], "a": "ä"}
    write_record(path, values)
    assert read_record(path) == values
    for text in ("", "[]", "null", path.read_text().replace("2.5", "2.6")):
        path.write_text(text)
        with pytest.raises(DamagedError):
            read_record(path)
    # As earlier versions wrote them.
    path.write_text('{"a": 1}')
    assert read_record(path) == {"a": 1}


def test_the_sum_of_parts_is_that_of_the_whole():
    # RFC 3720, B.4: 32 bytes of zeros.
    assert sum_of_parts([bytes(32)]) == (32, 0x8A9136AA)
    parts = [b"123", np.arange(3.0).data.cast("B"), b""]
    assert sum_of_parts(parts) == sum_of_parts([b"".join(bytes(part) for part in parts)])


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_lengths_of_the_files_of_a_folder(tmp_path, where, request):
    root = place(f"{tmp_path if where == 'folder' else request.getfixturevalue('store')}/a")
    for name, content in (("x/c/0", b"123"), ("x/zarr.json", b"{}")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert file_lengths(root) == {"x/c/0": 3, "x/zarr.json": 2}
    assert file_lengths(root / "nothing") == {}
