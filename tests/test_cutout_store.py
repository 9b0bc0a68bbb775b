import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from lensweep.ground.errors import InputError
from lensweep.scanner.network.noise import NOISE_FIELDS, measure_noise
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, LostCutoutsError, StoreAttributes

SHARD = 32
ATTRIBUTES = StoreAttributes("mosaic", "ab" * 32, "F814W", 0.05, "CTYPE1 = 'RA---TAN'", SHARD)


def cutouts(n, seed=0):
    rng = np.random.default_rng(seed)
    flux = rng.normal(size=(n, 100, 100)).astype(np.float32)
    flux[:, :3] = np.nan
    doubles = rng.uniform(0.0, 80.0, size=(4, n))
    corners = rng.integers(-50, 5000, size=(2, n)).astype(np.int32)
    valid = rng.random(n).astype(np.float32)
    return Cutouts(flux, valid, *doubles, *corners)


def part(whole, start, stop):
    values = (getattr(whole, f.name)[start:stop] for f in dataclasses.fields(whole))
    return Cutouts(*values)


def same(first, second):
    for field in dataclasses.fields(Cutouts):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def filled(tmp_path):
    """A store of two whole shards and a short last one, with what was written."""
    path, whole = tmp_path / "store", cutouts(2 * SHARD + 5)
    cutout_store.create(path, len(whole), ATTRIBUTES)
    for start in range(0, len(whole), SHARD):
        cutout_store.write_shard(path, start, part(whole, start, start + SHARD))
    return path, whole


def test_round_trip(filled):
    path, whole = filled
    same(cutout_store.read(path), whole)
    same(cutout_store.read(path, 30, 40), part(whole, 30, 40))
    np.testing.assert_array_equal(cutout_store.read_column(path, "x0", 60, 69), whole.x0[60:69])
    assert cutout_store.read_attributes(path) == (ATTRIBUTES, len(whole))


def test_single_cutouts_of_several_stores_come_in_the_order_asked_for(filled, tmp_path):
    path, whole = filled
    other, more = tmp_path / "another", cutouts(SHARD, seed=1)
    cutout_store.create(other, SHARD, ATTRIBUTES)
    cutout_store.write_shard(other, 0, more)
    places = [(path, 66), (other, 3), (path, 2), (path, 66), (other, 0)]
    found = cutout_store.gather(places)
    assert len(found) == 5
    for number, (store, row) in enumerate(places):
        same(part(found, number, number + 1), part(whole if store == path else more, row, row + 1))


@pytest.mark.parametrize(
    ("start", "n"),
    [
        (0, SHARD - 1),  # short of a shard
        (1, SHARD),  # not on an edge
        (0, 2 * SHARD),  # two at once
        (2 * SHARD, SHARD),  # longer than the short last one
        (2 * SHARD, 4),
    ],
)
def test_misaligned_shards_are_refused(tmp_path, start, n):
    path = tmp_path / "store"
    cutout_store.create(path, 2 * SHARD + 5, ATTRIBUTES)
    with pytest.raises(ValueError, match=f"windows {start}:{start + n} .* shard of {SHARD}"):
        cutout_store.write_shard(path, start, cutouts(n))
    assert np.isnan(cutout_store.read_column(path, "valid_fraction")).all()


def test_unwritten_windows_have_no_data(filled, tmp_path):
    path = tmp_path / "half"
    cutout_store.create(path, 2 * SHARD, ATTRIBUTES)
    cutout_store.write_shard(path, SHARD, cutouts(SHARD))
    first = cutout_store.read(path, 0, SHARD)
    assert np.isnan(first.flux).all()
    assert np.isnan(first.ra_deg).all()
    assert (first.x0 == -1).all()


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("chunk", "damage"),
    [
        ("flux/c/0/0/0", Path.unlink),
        ("flux/c/0/0/0", lambda path: path.write_bytes(b"")),
        ("flux/c/0/0/0", lambda path: os.truncate(path, 1000)),
        ("flux/c/0/0/0", _zero),
        ("valid_fraction/c/0", Path.unlink),
        ("valid_fraction/c/0", lambda path: path.write_bytes(b"")),
        ("valid_fraction/c/0", _zero),  # no data, but there are pixels
        ("ra_deg/c/0", Path.unlink),
        ("noise/c/0/0", Path.unlink),
    ],
)
def test_what_was_written_and_is_lost_is_no_empty_window(filled, chunk, damage):
    path, whole = filled
    damage(path / chunk)
    with pytest.raises(LostCutoutsError, match="windows 0 to 31 were written, but are lost"):
        cutout_store.read_written(path, 0, SHARD)
    same(cutout_store.read_written(path, SHARD, 2 * SHARD)[0], part(whole, SHARD, 2 * SHARD))


def without_noise(path):
    """Make a store what version 1 was."""
    zarr.open_group(path, mode="r+").attrs["version"] = 1
    shutil.rmtree(path / "noise")


def test_what_is_measured_lies_beside_the_pixels(filled):
    path, whole = filled
    _, noise = cutout_store.read_written(path, SHARD, 2 * SHARD)
    expected = measure_noise(part(whole, SHARD, 2 * SHARD).flux)
    for name in NOISE_FIELDS:
        np.testing.assert_array_equal(getattr(noise, name), getattr(expected, name))
    column = cutout_store.read_column(path, "noise")[SHARD : 2 * SHARD, 2]
    np.testing.assert_array_equal(column, expected.peak_sn)
    assert zarr.open(path, mode="r")["noise"].attrs["columns"] == ["sky", "sigma", "peak_sn"]


def test_a_store_of_version_1_is_read_and_continued(filled):
    path, whole = filled
    expected = cutout_store.read_written(path, 0, SHARD)[1]
    without_noise(path)
    assert cutout_store.read_attributes(path) == (ATTRIBUTES, len(whole))
    assert not cutout_store.create(path, len(whole), ATTRIBUTES)
    found, noise = cutout_store.read_written(path, 0, SHARD)
    same(found, part(whole, 0, SHARD))
    for name in NOISE_FIELDS:
        np.testing.assert_array_equal(getattr(noise, name), getattr(expected, name))
    cutout_store.write_shard(path, SHARD, cutouts(SHARD, seed=1))
    same(cutout_store.read_written(path, SHARD, 2 * SHARD)[0], cutouts(SHARD, seed=1))
    assert not (path / "noise").exists()


def test_windows_without_data_are_not_lost(tmp_path):
    blank = cutouts(SHARD)
    blank.flux[5:9], blank.valid_fraction[5:9] = np.nan, 0.0
    cutout_store.create(tmp_path / "store", SHARD, ATTRIBUTES)
    cutout_store.write_shard(tmp_path / "store", 0, blank)
    same(cutout_store.read_written(tmp_path / "store", 0, SHARD)[0], blank)


def test_a_shard_is_flushed_with_its_names(tmp_path, monkeypatch):
    """What says that it is there comes after, and must not outlive it."""
    path, flushed = tmp_path / "store", set()
    fsync = os.fsync

    def noting(opened):
        flushed.add(Path(f"/dev/fd/{opened}").resolve())
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noting)
    cutout_store.create(path, 2 * SHARD, ATTRIBUTES)
    made = {path.with_name(".store.partial") / file.relative_to(path) for file in path.rglob("*")}
    assert made <= flushed
    cutout_store.write_shard(path, SHARD, cutouts(SHARD))
    written = {file for file in path.rglob("*") if "c" in file.parts}
    files = {file for file in written if file.is_file()}
    assert len(files) == 9
    assert written - files <= flushed
    # Each was flushed under the name that it had while it was filled.
    assert {file.parent for file in files} <= {aside.parent for aside in flushed}
    asides = {aside for aside in flushed if aside.suffix == ".partial"}
    assert len([aside for aside in asides if "c" in aside.parts]) == len(files)


def test_a_shard_is_one_file(filled):
    path, whole = filled
    files = [file for file in (path / "flux" / "c").rglob("*") if file.is_file()]
    assert len(files) == 3
    written = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    cutout_store.write_shard(path, 0, part(whole, 0, SHARD))
    changed = {file for file, time in written.items() if file.stat().st_mtime_ns != time}
    # Another writer's windows are in none of the files that were touched.
    assert {file.relative_to(path).parts[2] for file in changed} == {"0"}


def test_opens_with_plain_zarr(filled):
    path, whole = filled
    group = zarr.open(path, mode="r")
    assert group["flux"].shape == (len(whole), 100, 100)
    assert group["flux"].shards == (SHARD, 100, 100)
    assert group["flux"].metadata.dimension_names == ("window", "y", "x")
    assert group.attrs["band"] == "F814W"
    np.testing.assert_array_equal(group["flux"][40], whole.flux[40])


def test_opens_with_xarray(filled):
    path, whole = filled
    data = xarray.open_zarr(path, consolidated=False)
    assert data["flux"].dims == ("window", "y", "x")
    assert data["ra_deg"].dims == ("window",)
    assert data["flux"].attrs["units"] == "electron/s"
    np.testing.assert_array_equal(data["flux"].isel(window=3).to_numpy(), whole.flux[3])


def test_creating_again_keeps_what_is_there(filled):
    path, whole = filled
    cutout_store.create(path, len(whole), ATTRIBUTES)
    same(cutout_store.read(path), whole)


@pytest.mark.parametrize(
    ("n_windows", "changed"),
    [
        (70, {}),
        (69, {"mosaic_sha256": "cd" * 32}),  # the mosaic's file was replaced
        (69, {"windows_per_shard": 64}),
    ],
)
def test_another_set_of_windows_is_refused(filled, n_windows, changed):
    path, whole = filled
    other = dataclasses.replace(ATTRIBUTES, **changed)
    with pytest.raises(InputError, match="another set of windows"):
        cutout_store.create(path, n_windows, other)
    same(cutout_store.read(path), whole)


def test_shards_that_no_chunk_divides(tmp_path):
    attributes, whole = dataclasses.replace(ATTRIBUTES, windows_per_shard=10), cutouts(10)
    cutout_store.create(tmp_path / "store", 10, attributes)
    cutout_store.write_shard(tmp_path / "store", 0, whole)
    same(cutout_store.read(tmp_path / "store"), whole)


def test_no_store(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        cutout_store.read_attributes(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"format": "other"}, "format 'other', expected 'lensweep-cutouts'"),
        ({"version": 99}, "version 99.*reads version 1 and 2"),
    ],
)
def test_foreign_stores_are_refused(filled, attributes, message):
    path, _ = filled
    zarr.open_group(path, mode="r+").attrs.update(attributes)
    with pytest.raises(InputError, match=message):
        cutout_store.read_attributes(path)
