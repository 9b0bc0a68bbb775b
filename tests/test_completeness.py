"""Lenses painted on the mosaics of a finished run: which it would have found."""

import io
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from conftest import scan_here, write_field

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.run import cutout_store
from lensweep.scanner.work.tasks import load_ensemble
from lensweep.training.evaluation.completeness import measure_completeness, open_completeness
from lensweep.training.evaluation.completeness_report import draw_completeness, show_completeness

PAINTED = {"n": 6, "seed": 4, "drawn_hosts": 1.0}


@pytest.fixture(scope="module")
def run(client, second_look_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("completeness")
    mosaic = write_field(folder / "field_drz.fits", 3, (500, 900))
    options = {"screen": "auto", "merge_radius_arcsec": 2.5}
    outcome = scan_here(client, second_look_bundle, [mosaic], folder / "run", **options)
    return outcome.paths.root


def measure_here(run, bundle, out, client, **changes):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    measurement = open_completeness(run, str(bundle), out, **(PAINTED | changes))
    return measure_completeness(measurement, client, progress)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("measured") / "out"


@pytest.fixture(scope="module")
def found(run, second_look_bundle, client, out):
    return measure_here(run, second_look_bundle, out, client)


def test_painted_lenses_are_judged_as_the_run_judged(found, run, second_look_bundle, out):
    assert len(found.lenses) == 6
    bundle = check_bundle(str(second_look_bundle))
    ensemble = load_ensemble(Scoring(bundle.folder, bundle.sha256))
    verdicts = ensemble.judge(cutout_store.read(out / "cutouts.zarr").flux)
    expected = np.where(verdicts.scored, verdicts.logits.mean(axis=1), -np.inf)
    np.testing.assert_array_equal(found.cutouts["logit_mean"], expected)
    assert not verdicts.scored.all()


def test_depths_are_those_of_the_catalogue(found, run):
    candidates = pd.read_parquet(run / "candidates.parquet")
    assert set(found.depths) == {"catalogue", "first_10"}
    assert found.depths["first_10"] == candidates["logit_mean"][9]
    assert found.depths["catalogue"] <= candidates["logit_mean"].min()


def test_shares_count_what_reaches_a_depth(found):
    lensed = found.shares[found.shares["by"] == "signal_to_noise"]
    assert lensed["n"].sum() == 6
    for depth, least in found.depths.items():
        reached = (found.lenses["logit_mean"] >= least).sum()
        assert round((lensed[depth] * lensed["n"]).sum()) == reached
        assert lensed[f"{depth}_low"].le(lensed[depth]).all()


def test_a_finished_measurement_repeats_nothing(found, run, second_look_bundle, out, client):
    shards = [*out.glob("truth/*"), *out.glob("scores.zarr/c/**/*")]
    before = [path.stat().st_mtime_ns for path in shards]
    again = measure_here(run, second_look_bundle, out, client)
    assert [path.stat().st_mtime_ns for path in shards] == before
    pd.testing.assert_frame_equal(again.shares, found.shares)
    kept = pd.read_parquet(out / "completeness.parquet")
    pd.testing.assert_frame_equal(kept, found.shares)


def test_it_is_shown(found, out, capsys):
    show_completeness(found, out)
    said = capsys.readouterr().out
    assert "6 lenses at " in said
    assert "no lens painted" in said
    assert (out / "completeness.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_and_nothing_can_be_drawn(found, share, tmp_path):
    shares = found.shares.assign(
        catalogue=share, catalogue_low=np.abs(share - 1e-17), catalogue_high=share - 1e-17
    )
    draw_completeness(shares, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").is_file()


def test_only_grids_are_measured(client, second_look_bundle, tmp_path):
    mosaic = write_field(tmp_path / "field_drz.fits", 3, (300, 300), 0)
    coarse = scan_here(client, second_look_bundle, [mosaic], tmp_path / "run", stride=60)
    with pytest.raises(InputError, match="stride = 60; completeness is for grids of stride 50"):
        measure_here(coarse.paths.root, second_look_bundle, tmp_path / "out", client)


def test_unfit_runs_are_refused(run, second_look_bundle, client, tmp_path):
    with pytest.raises(InputError, match="but the run was scored by"):
        measure_here(run, "xception-7fold", tmp_path / "a", client)
    with pytest.raises(InputError, match="finish its scan first"):
        measure_here(tmp_path, second_look_bundle, tmp_path / "b", client)
    unplanned = shutil.copytree(run, tmp_path / "unplanned", ignore=lambda *_: {"plan"})
    with pytest.raises(InputError, match="not one of its mosaics was scanned"):
        measure_here(unplanned, second_look_bundle, tmp_path / "c", client)
    with pytest.raises(InputError, match="holds another data set"):
        measure_here(run, second_look_bundle, tmp_path / "d", client, n=2)
        measure_here(run, second_look_bundle, tmp_path / "d", client, n=3)
