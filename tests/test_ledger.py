import dataclasses
import json
import shutil

import pandas as pd
import pytest
from conftest import scan_here, write_field

from lensweep.scanner.run.ledger import (
    LedgerError,
    LostScoresError,
    check,
    shard_ledger,
    write_ledger,
)
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan, read_windows
from lensweep.scanner.run.tally import Tally, tally

NAME = "field_f814w_drz"


@pytest.fixture(scope="module")
def finished(client, tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    field = write_field(folder / f"{NAME}.fits", seed=3)
    return scan_here(client, tiny_bundle, [field], folder / "run").paths.root


@pytest.fixture
def done(finished, tmp_path):
    """A finished run's folder, to be spoilt, and its plan."""
    root = shutil.copytree(finished, tmp_path / "run")
    return RunPaths(root), read_plan(root, NAME)


def test_tallies_add_up():
    total = Tally(10, 4, 1, 2) + Tally(5, 5)
    assert total == Tally(15, 9, 1, 2)
    assert total.waiting == 3


def test_ledger_agrees_with_the_markers(done):
    paths, plan = done
    assert write_ledger(paths.root, [plan], 0.5) == tally(paths.root, NAME) == Tally(112, 96, 16)
    rows = pd.read_parquet(paths.ledger)
    assert rows["window"].tolist() == list(range(112))
    assert (rows["shard"] == rows["window"] // 16).all()


def test_a_shard_without_a_marker_is_an_error(done):
    paths, plan = done
    paths.score_marker(NAME, 2).unlink()
    with pytest.raises(LedgerError, match="shard 2 is neither scored nor failed"):
        windows = read_windows(paths.root, NAME)
        shard_ledger(paths.root, plan, 2, 0.5, windows.corners, (windows.x, windows.y))


def test_a_marker_that_counts_otherwise_is_an_error(done):
    paths, plan = done
    marker = paths.score_marker(NAME, 1)
    marker.write_text(
        json.dumps({"scored": 15, "screened": 0, "masked": 1, "screen_threshold": None})
    )
    before = paths.ledger.read_bytes()
    with pytest.raises(LostScoresError, match=r"shard 1 .* is lost .* its marker says 15"):
        write_ledger(paths.root, [plan], 0.5)
    assert paths.ledger.read_bytes() == before
    assert not marker.exists()


@pytest.mark.parametrize(
    "chunk",
    [
        "scores.zarr/{}/member_logits/c/{}/0",
        "scores.zarr/{}/peak_dx/c/{}",
        "scores.zarr/{}/peak_sn/c/{}",
        "cutouts.zarr/{}/valid_fraction/c/{}",
    ],
)
def test_all_that_is_lost_is_named_and_not_marked_any_more(done, chunk):
    paths, plan = done
    for shard in (2, 4):
        (paths.root / chunk.format(NAME, shard)).write_bytes(b"")
    with pytest.raises(LostScoresError, match=r"shard 2 .* in all: 2"):
        write_ledger(paths.root, [plan], 0.5)
    for shard in range(plan.n_shards):
        assert paths.score_marker(NAME, shard).exists() == (shard not in (2, 4))


def test_sums_that_differ_are_an_error(done):
    paths, plan = done
    rows = pd.read_parquet(paths.ledger)
    with pytest.raises(LedgerError, match="shards' markers"):
        check(rows, plan, Tally(112, 97, 15))


@pytest.mark.parametrize(
    "windows",
    [
        [0, 1, 3],  # one is missing
        [0, 1, 1, 2, 3],  # one is there twice
        [1, 2, 3, 4],
        [],
    ],
)
def test_windows_lost_or_doubled_are_an_error(done, windows):
    _, plan = done
    rows = pd.DataFrame({"window": windows, "state": "scored"})
    with pytest.raises(LedgerError, match="4 windows planned"):
        check(rows, dataclasses.replace(plan, n_windows=4), Tally(4, 4))
