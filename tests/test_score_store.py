import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.run import score_store

SHARD, MEMBERS = 8, ["a", "b", "c"]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "scores"
    assert score_store.create(path, 2 * SHARD + 3, SHARD, "ab" * 32, MEMBERS)
    return path


def shard(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype("f4"), *rng.normal(size=(4, n)).astype("f4")


def test_round_trip_and_what_is_not_written(store):
    logits, dx, dy, peak_sn, screen_logit = shard(SHARD)
    peak_sn[3] = np.nan
    score_store.write_shard(store, SHARD, logits, dx, dy, peak_sn, screen_logit)
    found = score_store.read(store)
    assert [part.dtype for part in found] == [np.float32] * 3
    assert np.isnan(found[0][:SHARD]).all()
    assert np.isnan(found[0][2 * SHARD :]).all()
    found = score_store.read(store, SHARD, 2 * SHARD)
    for part, written in zip(found, (logits, dx, dy), strict=True):
        np.testing.assert_array_equal(part, written)
    found = score_store.read_screening(store, SHARD, 2 * SHARD)
    for part, written in zip(found, (peak_sn, screen_logit), strict=True):
        np.testing.assert_array_equal(part, written)
    assert np.flatnonzero(score_store.read_seen(store)).tolist() == [8, 9, 10, 12, 13, 14, 15]


@pytest.mark.parametrize(
    ("start", "n"),
    [
        (0, SHARD - 1),  # short of a shard
        (4, SHARD),  # not on an edge
        (0, 2 * SHARD),  # two at once
        (2 * SHARD, SHARD),  # longer than the short last one
    ],
)
def test_misaligned_shards_are_refused(store, start, n):
    with pytest.raises(ValueError, match=f"windows {start}:{start + n} .* shard of {SHARD}"):
        score_store.write_shard(store, start, *shard(n))
    assert np.isnan(score_store.read(store)[0]).all()


def test_shards_share_no_file(store):
    """Each is written, and no file of another is touched."""
    for start, n in ((0, SHARD), (SHARD, SHARD), (2 * SHARD, 3)):
        before = {f: f.stat().st_mtime_ns for f in store.rglob("*") if f.is_file()}
        score_store.write_shard(store, start, *shard(n))
        assert {f: f.stat().st_mtime_ns for f in before} == before
    files = [f for f in store.rglob("*") if f.is_file() and f.name != "zarr.json"]
    assert len(files) == 3 * 5


def test_creating_again_keeps_what_is_there(store):
    score_store.write_shard(store, 0, *shard(SHARD))
    assert not score_store.create(store, 2 * SHARD + 3, SHARD, "ab" * 32, MEMBERS)
    assert np.isfinite(score_store.read(store, 0, SHARD)[0]).all()


def test_scores_of_another_ensemble_are_refused(store):
    with pytest.raises(InputError, match=r"scores of ensemble abab.*, not of cdcd"):
        score_store.create(store, 2 * SHARD + 3, SHARD, "cd" * 32, MEMBERS)


def test_scores_of_another_version_are_refused(store):
    attributes = store / "zarr.json"
    attributes.write_text(attributes.read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(InputError, match="version 1, but this lensweep writes version 2"):
        score_store.create(store, 2 * SHARD + 3, SHARD, "ab" * 32, MEMBERS)
