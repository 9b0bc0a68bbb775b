"""Hard negatives from fields of 400 pixels, with the tiny bundle."""

import io
import time

import numpy as np
import pandas as pd
import pytest

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.training.data.examples import open_examples
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.data.mining import APART_ARCSEC, mine, open_mining
from lensweep.training.data.requests import MiningConfig

N = 4


def mine_here(bundle, out, client, **changes):
    given = {"n": N, "seed": 5, "fields": 2, "size_px": 400} | changes
    config = MiningConfig(str(bundle), **given)
    bundle = open_mining(config, out)
    return mine(config, bundle, out, client, PlainProgress(io.StringIO(), time.monotonic))


@pytest.fixture(scope="module")
def mined(tiny_bundle, client, tmp_path_factory):
    out = tmp_path_factory.mktemp("mined") / "set"
    return out, mine_here(tiny_bundle, out, client)


def test_the_highest_scored_windows_are_kept(mined):
    out, plan = mined
    run = RunPaths(out / "scan")
    names = ["empty5_f814w_drz", "empty6_f814w_drz"]
    means = {name: score_store.read(run.scores(name))[0].mean(axis=1) for name in names}
    assert plan["logit_mean"].iloc[0] == max(np.nanmax(mean) for mean in means.values())
    assert (np.diff(plan["logit_mean"]) <= 0).all()
    assert plan["window"].tolist() != list(range(N))
    for row, flux in zip(plan.itertuples(), cutout_store.read_column(out / "cutouts.zarr", "flux"),
                         strict=True):  # fmt: skip
        assert means[row.mosaic][row.window] == row.logit_mean
        scanned = cutout_store.read_column(run.cutouts(row.mosaic), "flux")[row.window]
        np.testing.assert_array_equal(flux, scanned)


def test_no_two_share_a_pixel(mined):
    out, plan = mined
    cutouts = cutout_store.read(out / "cutouts.zarr")
    corners = np.stack([cutouts.x0, cutouts.y0], axis=1)
    for _, rows in plan.groupby("mosaic"):
        steps = np.abs(corners[rows.index][:, None] - corners[rows.index][None])
        apart = np.hypot(*np.moveaxis(steps, 2, 0)) * 0.05 + 99 * np.eye(len(rows))
        assert apart.min() > APART_ARCSEC - 0.1


def test_what_is_kept_can_be_adapted_on(mined):
    out, _ = mined
    examples = open_examples(out, both_classes=False)
    assert len(examples) == N
    assert not examples.labels.any()
    assert set(examples.truth["kind"]) == {"mined"}
    assert len(set(examples.objects)) == N


def test_a_finished_round_is_not_repeated_and_another_is_refused(mined, tiny_bundle, client):
    out, plan = mined
    before = {path: path.stat().st_mtime_ns for path in (out / "scan").rglob("*")}
    pd.testing.assert_frame_equal(mine_here(tiny_bundle, out, client), plan)
    assert {path: path.stat().st_mtime_ns for path in (out / "scan").rglob("*")} == before
    assert len(read_truth(out)) == N
    with pytest.raises(InputError, match="another data set \\(seed was 5, now 6"):
        mine_here(tiny_bundle, out, client, seed=6)


def test_fields_hold_only_so_many(tiny_bundle, client, tmp_path):
    plan = mine_here(tiny_bundle, tmp_path / "set", client, n=1000, fields=1)
    assert 1 <= len(plan) < 9


@pytest.mark.parametrize("changes", [{"n": 0}, {"fields": 0}, {"size_px": 100}])
def test_nothing_to_mine_is_refused(changes):
    with pytest.raises(InputError, match="must be at least"):
        MiningConfig("any", **({"n": 1, "seed": 1} | changes))
