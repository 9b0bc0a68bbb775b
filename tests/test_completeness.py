"""Lenses planted in the mosaics of a finished run: which it would have found."""

import io
import json
import shutil
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field

from lensweep.catalogs.coverage import area_deg2
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.results import worth
from lensweep.scanner.results.detections import read_detections
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.results.worth import read_field_scores
from lensweep.scanner.run.plan import read_plan, read_windows
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import sky_to_grid
from lensweep.training.evaluation import completeness, planted_run
from lensweep.training.evaluation.calibrate import calibrate_run
from lensweep.training.evaluation.completeness import find_cuts, measure_completeness
from lensweep.training.evaluation.completeness_report import draw_completeness, show_completeness
from lensweep.training.evaluation.planted_run import open_planting
from lensweep.training.evaluation.planting import Scanned, find_again
from lensweep.training.evaluation.searched_sky import searched_deg2
from lensweep.training.evaluation.shares import completeness_at, weighted_share
from lensweep.training.simulation.simulate import VERSION

NAME = "field_drz"
PAINTED = {"n": 6, "seed": 4, "drawn_hosts": 1.0}


def progress():
    return PlainProgress(io.StringIO(), time.monotonic)


@pytest.fixture(scope="module")
def run(client, second_look_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("completeness")
    mosaic = write_field(folder / f"{NAME}.fits", 3, (500, 900))
    options = {"screen": "auto", "merge_radius_arcsec": 2.5}
    return scan_here(client, second_look_bundle, [mosaic], folder / "run", **options).paths.root


def measure_here(run, bundle, out, client, **changes):
    planting = open_planting(run, str(bundle), out, **(PAINTED | changes))
    return measure_completeness(planting, client, progress())


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("measured") / "out"


@pytest.fixture(scope="module")
def found(run, second_look_bundle, client, out):
    return measure_here(run, second_look_bundle, out, client)


def scanned_of(run):
    plan = read_plan(run, NAME)
    return Scanned(plan.mosaic, plan.grid, read_windows(run, NAME), 0.5, True)


def windows_of(out):
    parts = sorted(out.glob("planted/*.windows.parquet"))
    return pd.concat([pd.read_parquet(one) for one in parts])


def test_lenses_lie_in_the_data(found):
    lenses = found.planted.lenses
    assert lenses["number"].tolist() == [0, 1, 2, 3, 4, 5]
    # Columns up to 150 hold no data.
    assert (lenses["x"] > 150).all()
    assert lenses["signal_to_noise"].min() >= 20.0


def test_every_window_about_a_lens_is_judged_anew(found, run, out):
    windows, scanned = windows_of(out), scanned_of(run)
    centres = scanned.windows.corners + 49.5
    for lens in found.planted.lenses.itertuples():
        own = windows[windows["number"] == lens.number]
        near = np.abs(centres - (lens.x, lens.y)).max(axis=1) <= 75.0
        assert own["window"].tolist() == np.flatnonzero(near).tolist()
        _, valid = cut_windows(scanned.mosaic, scanned.grid, scanned.windows.corners[near])
        # Masked windows stay masked, whatever is painted on them.
        assert own["logit_mean"].isna().to_numpy()[valid < 0.5].all()
    assert windows["logit_mean"].notna().any()


def test_without_its_light_nothing_is_found_that_was_not_there(found, run, out):
    """Windows as the scan left them: the best candidate is the one from before."""
    detections = read_detections(run, read_plan(run, NAME), -np.inf, recentre=True)
    windows = windows_of(out).merge(
        detections[["window", "logit_mean"]], on="window", how="left", suffixes=("_painted", "")
    )
    lenses = found.planted.lenses.drop(columns=["ra_deg", "dec_deg", "logit_mean", "logit_before"])
    scanned = scanned_of(run)
    for number, lens in lenses.groupby("number"):
        own = windows[windows["number"] == number].copy()
        offset = detections.set_index("window").reindex(own["window"])
        # Where the scan had moved its detection to.
        known = offset["ra_deg"].notna().to_numpy()
        x, y = sky_to_grid(scanned.grid, offset["ra_deg"][known], offset["dec_deg"][known])
        own.loc[known, "x"], own.loc[known, "y"] = x, y
        again = find_again(scanned, detections, lens, own, 2.5)
        assert again["logit_mean"].tolist() == again["logit_before"].tolist()


def test_depths_follow_the_calibration(found, run, second_look_bundle):
    assert set(found.depths) == {1.0, 10.0, 100.0, 1000.0}
    assert found.measured_by == "fields without lenses"
    least = list(found.depths.values())
    assert least == sorted(least, reverse=True)


def test_shares_count_what_reaches_a_depth_and_was_not_there_before(found):
    lenses = found.planted.lenses
    galaxies = lenses[lenses["kind"] == "lensed_galaxy"]
    row = found.populations.set_index("population").loc["lensed galaxies, as drawn"]
    for depth, score in found.depths.items():
        net = ((galaxies["logit_mean"] >= score) & (galaxies["logit_before"] < score)).mean()
        assert row[f"found_{depth:g}"] == pytest.approx(net)
    by = found.shares[found.shares["by"] == "theta_e_arcsec"]
    assert by["n"].sum() == len(galaxies)


@pytest.mark.parametrize(("n", "share"), [(900, 0.003), (900, 0.5), (200, 0.01), (100, 0.97)])
def test_intervals_of_unequal_lenses_cover(n, share):
    rng, covered = np.random.default_rng(11), 0
    for _ in range(100):
        weights = rng.lognormal(0.0, 1.0, n)
        _, low, high = weighted_share(rng.random(n) < share, weights)
        covered += low <= share <= high
    assert covered >= 90


def test_an_interval_holds_what_is_not_known_of_the_threshold():
    planted = pd.DataFrame({"logit_mean": np.arange(1000.0), "logit_before": -np.inf})
    weights, cuts = np.ones(1000), np.array([500.0, *np.linspace(300.0, 700.0, 50)])
    share, low, high = completeness_at(planted, weights, cuts)
    assert share == 0.5
    assert (low, high) == pytest.approx((0.31, 0.69), abs=0.03)
    _, low, high = completeness_at(planted, weights, np.full(51, 500.0))
    assert (low, high) == pytest.approx((0.47, 0.53), abs=0.02)
    assert np.isnan(completeness_at(planted, 0.0 * weights, cuts)).all()


def test_a_finished_measurement_repeats_nothing(found, run, second_look_bundle, out, client):
    parts = sorted(out.glob("planted/*"))
    before = [path.stat().st_mtime_ns for path in parts]
    again = measure_here(run, second_look_bundle, out, client)
    assert [path.stat().st_mtime_ns for path in parts] == before
    pd.testing.assert_frame_equal(again.shares, found.shares)
    pd.testing.assert_frame_equal(pd.read_parquet(out / "completeness.parquet"), found.shares)


def test_lenses_of_another_simulation_are_not_added(found, run, second_look_bundle, out, client):
    said = out / "dataset.json"
    kept = said.read_text()
    said.write_text(json.dumps(json.loads(kept) | {"simulation": VERSION - 1}))
    with pytest.raises(InputError, match=rf"simulation was {VERSION - 1}, now {VERSION}"):
        measure_here(run, second_look_bundle, out, client)
    said.write_text(kept)


def test_it_is_shown(found, out, capsys):
    show_completeness(found, out)
    said = capsys.readouterr().out
    assert "lensed galaxies, as Collett (2015)" in said
    assert f"point-spread function in {NAME}: its own, of " in said
    assert (out / "completeness.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_and_nothing_can_be_drawn(found, share, tmp_path):
    ends = {"": share, "_low": np.abs(share - 1e-17), "_high": share - 1e-17}
    changed = {f"found_10{end}": value for end, value in ends.items()}
    draw_completeness(found.shares.assign(**changed), tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").is_file()


def test_a_run_is_calibrated_on_itself(
    found, run, second_look_bundle, out, client, tmp_path, monkeypatch
):
    """Six lenses, where fifty are asked for: the least is lowered to what is there."""
    planting = open_planting(run, str(second_look_bundle), out, **PAINTED)
    with pytest.raises(InputError, match="but it takes 30 and 50"):
        calibrate_run(planting, client, progress(), None)
    copied = shutil.copytree(run, tmp_path / "run")
    assert not (copied / "calibration.parquet").exists()
    monkeypatch.setattr(worth, "LEAST_LENSES", 1)
    monkeypatch.setattr(worth, "LEAST_FALSE", 5)
    before = pd.read_parquet(copied / "candidates.parquet")
    planting = open_planting(copied, str(second_look_bundle), out, **PAINTED)
    scores = calibrate_run(planting, client, progress(), 500.0)
    after = pd.read_parquet(copied / "candidates.parquet")
    assert after["logit_mean"].equals(before["logit_mean"])
    assert not after["p_lens"].equals(before["p_lens"])
    own = scores.calibration("grid")
    np.testing.assert_allclose(
        after["p_lens"], own.probability(after["logit_mean"].to_numpy(float), 500.0)
    )
    metadata = pq.read_schema(copied / "candidates.parquet").metadata
    assert metadata[b"lensweep.lens_density_per_deg2"] == b"500.0"
    assert b"an upper limit" in metadata[b"lensweep.calibration"]
    assert read_field_scores(copied / "calibration.parquet").facts == scores.facts


def test_without_a_calibration_depths_are_of_the_runs_own_candidates(
    run, second_look_bundle, out, monkeypatch
):
    """At most so many of them are false; 1,000 per square degree are none in so small a field."""
    monkeypatch.setattr(completeness, "find_field_scores", lambda *_: None)
    monkeypatch.setattr(completeness, "DEPTHS", (1000.0, 30_000.0))
    cuts, named = find_cuts(open_planting(run, str(second_look_bundle), out, **PAINTED))
    assert named.startswith("the run's own candidates")
    ranked = pd.read_parquet(run / "candidates.parquet")["logit_mean"]
    area = area_deg2(run_footprint(run))
    assert list(cuts) == [30_000.0]
    score, *others = cuts[30_000.0]
    assert score == ranked[round(30_000 * area) - 1]
    # That as many are there is chance: it might be scores beside it too.
    assert min(others) < score < max(others)


def test_the_sky_of_a_run_on_sources_is_that_of_its_mosaics(run, second_look_bundle, out):
    planting = open_planting(run, str(second_look_bundle), out, **PAINTED)
    # Columns up to 150 of 900 hold no data.
    data = 750 * 500 * (0.05 / 3600) ** 2
    on_sources = searched_deg2(run, planting.asked | {"centres": "sources"}, planting.opened)
    assert on_sources == pytest.approx(data, rel=0.02)
    assert searched_deg2(run, planting.asked, planting.opened) <= on_sources
    with pytest.raises(InputError, match=r"lie where mine\.csv says, and how much sky"):
        searched_deg2(run, planting.asked | {"centres": "mine.csv"}, planting.opened)


def test_unfit_runs_are_refused(run, second_look_bundle, client, tmp_path):
    with pytest.raises(InputError, match="but the run was scored by"):
        measure_here(run, "xception-7fold", tmp_path / "a", client)
    with pytest.raises(InputError, match="finish its scan first"):
        measure_here(tmp_path, second_look_bundle, tmp_path / "b", client)
    unplanned = shutil.copytree(run, tmp_path / "unplanned", ignore=lambda *_: {"plan"})
    with pytest.raises(InputError, match="not one of its mosaics was scanned"):
        measure_here(unplanned, second_look_bundle, tmp_path / "c", client)


def test_rounds_hold_lenses_that_lie_apart():
    rows = pd.DataFrame({"mosaic": ["a"] * 4 + ["b"], "x": [0.0, 100.0, 600.0, 50.0, 0.0],
                         "y": 0.0})  # fmt: skip
    assert planted_run._rounds(rows).tolist() == [0, 1, 0, 2, 0]
