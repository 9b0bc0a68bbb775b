import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import scan_here
from drizzled_files import add_star

from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.bundle_store import check_bundle, save_bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.network.networks import load_frozen, load_network
from lensweep.scanner.network.stretch import sky_and_noise
from lensweep.scanner.run import score_store
from lensweep.scanner.run.cutout_store import LostCutoutsError
from lensweep.scanner.work.tasks import cut_shard, ensemble_once, score_shard

NAME = "field_f814w_drz"


@pytest.mark.parametrize(
    ("stars", "offset"),
    [
        ([(49.5, 49.5, 50.0)], (0.0, 0.0)),
        ([(60.0, 40.0, 50.0)], (10.5, -9.5)),
        # One at the corner, four times as bright: its own window will have it at its centre.
        ([(55.0, 52.0, 50.0), (3.0, 95.0, 200.0)], (5.5, 2.5)),
    ],
)
@pytest.mark.parametrize("sky", [0.0, 0.3, -0.05])  # drizzled mosaics may keep theirs
def test_the_brightest_peak_near_the_centre(stars, offset, sky):
    flux = np.random.default_rng(3).normal(0.0, 0.01, (1, 100, 100)).astype(np.float32)
    for x, y, total in stars:
        add_star(flux[0], x, y, total, 1.5)
    flux[0, :5] = np.nan
    flux += np.float32(sky)
    dx, dy = brightest_peak(flux, sky_and_noise(flux)[0])
    assert (dx[0], dy[0]) == pytest.approx(offset, abs=1.0)


def test_no_cutouts_have_no_peaks():
    dx, dy = brightest_peak(np.empty((0, 100, 100), np.float32), np.empty(0, np.float32))
    assert dx.shape == dy.shape == (0,)


def test_a_sky_that_cannot_be_measured_is_none():
    flux = np.zeros((1, 100, 100), np.float32)
    flux[0, 30, 70] = 1.0
    dx, dy = brightest_peak(flux, np.array([np.nan], np.float32))
    assert (dx[0], dy[0]) == pytest.approx((20.5, -19.5), abs=2.0)


def test_a_shard_done_again_is_the_same(scan, field, tmp_path, tiny_bundle):
    paths = scan([field], tmp_path / "run").paths
    before = score_store.read(paths.scores(NAME))
    bundle = check_bundle(str(tiny_bundle))
    assert cut_shard(str(paths.root), NAME, 2) == 16
    score_shard(str(paths.root), NAME, 2, Scoring(bundle.folder, bundle.sha256, screen="off"), 0.5)
    for a, b in zip(before, score_store.read(paths.scores(NAME)), strict=True):
        np.testing.assert_array_equal(a, b)


def damaged(paths, shard):
    """A shard whose pixels were on their way to the disk when the power went."""
    paths.score_marker(NAME, shard).unlink()
    (paths.cutouts(NAME) / "flux" / "c" / str(shard) / "0" / "0").write_bytes(b"")


def test_cutouts_that_are_lost_are_not_scored(scan, field, tmp_path, tiny_bundle):
    paths = scan([field], tmp_path / "run").paths
    damaged(paths, 2)
    bundle = check_bundle(str(tiny_bundle))
    with pytest.raises(LostCutoutsError, match="windows 32 to 47 were written, but are lost"):
        score_shard(str(paths.root), NAME, 2, Scoring(bundle.folder, bundle.sha256), 0.5)
    assert not paths.score_marker(NAME, 2).exists()
    assert not paths.cut_marker(NAME, 2).exists()


def test_a_run_cuts_again_what_is_lost(scan, field, tmp_path):
    paths = scan([field], tmp_path / "run").paths
    before = score_store.read(paths.scores(NAME))
    damaged(paths, 2)
    damaged(paths, 3)
    assert scan([field], tmp_path / "run").exit_status == 0
    for a, b in zip(before, score_store.read(paths.scores(NAME)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_that_runs_out_under_a_scan(scan, field, tmp_path, monkeypatch):
    """A device that holds five cutouts at once: slower, and the same scores."""
    expected = scan([field], tmp_path / "expected").paths
    asked = []

    def load_on_small_device(*arguments):
        network = load_frozen(*arguments)

        def limited(looks):
            asked.append(len(looks))
            if len(looks) > 5:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return network(looks)

        return limited

    monkeypatch.setattr("lensweep.scanner.network.inference.load_frozen", load_on_small_device)
    ensemble_once.cache_clear()
    try:
        outcome = scan([field], tmp_path / "run")
    finally:
        ensemble_once.cache_clear()
    assert outcome.exit_status == 0
    assert asked[:3] == [16, 8, 4]
    assert set(asked[3:]) == {4}
    for a, b in zip(*(score_store.read(p.scores(NAME)) for p in (outcome.paths, expected)),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_scores_that_are_no_numbers_fail_their_shard(client, tiny_bundle, field, tmp_path):
    """They must not pass for windows that were looked at."""
    bundle = check_bundle(str(tiny_bundle))
    with np.load(tiny_bundle / "heads.npz") as heads:
        arrays = {"tiny": (heads["tiny.weights"] * np.nan, heads["tiny.biases"])}
    other = tmp_path / "other"
    description = dataclasses.replace(bundle.description, name="broken")
    save_bundle(other, description, {"tiny": load_network(tiny_bundle, "tiny")}, arrays)
    outcome = scan_here(client, other, [field], tmp_path / "run")
    assert outcome.exit_status == 3
    assert outcome.tally.scored == 0
    assert outcome.tally.failed > 90
    reasons = pd.read_parquet(outcome.paths.ledger)["reason"].dropna()
    assert reasons.str.startswith("ScoreError: mosaic field_f814w_drz").any()
