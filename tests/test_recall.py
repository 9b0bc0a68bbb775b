import math
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from drizzled_files import sky_cards

from lensweep.catalogs.crossmatch import MatchError
from lensweep.catalogs.known_lenses import lensflow92
from lensweep.catalogs.lens_lists import known_lenses
from lensweep.catalogs.lens_schemas import RECALL
from lensweep.catalogs.lensflow_grades import TWO_LEVEL_SCHEME
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.lens_report import show_recall
from lensweep.scanner.lenses.recall import binomial_interval, measure_recall, summarise_recall
from lensweep.scanner.run import score_store
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import read_plan, read_windows
from lensweep.scanner.sky.grid import grid_to_sky, sky_to_grid

NAME = "cosmos_f814w_drz"
SHAPE = (300, 400)
# Where LensFlow 1 lies; the columns up to 150 hold no data.
LENS_X, LENS_Y = 220.0, 140.0


@pytest.fixture(autouse=True)
def no_fetched_grades(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def run(client, measured_bundle, tmp_path_factory):
    """A run on a small mosaic at LensFlow 1."""
    folder = tmp_path_factory.mktemp("recall")
    lens = lensflow92().iloc[0]
    centre = (lens["ra_deg"] + 20.5 * 0.05 / 3600 / math.cos(math.radians(lens["dec_deg"])),
              lens["dec_deg"] + 9.5 * 0.05 / 3600)  # fmt: skip
    mosaic = write_field(folder / f"{NAME}.fits", 4, SHAPE, sky=sky_cards(SHAPE, crval=centre))
    return scan_here(client, measured_bundle, [mosaic], folder / "run").paths.root


def listed(run, *pixels):
    """A list of known lenses at pixels of the mosaic, as a file."""
    ra, dec = grid_to_sky(read_plan(run, NAME).grid, *np.array(pixels, float).T)
    path = run.parent / "mine.csv"
    grades = [*("AB" * len(ra))][: len(ra)]
    pd.DataFrame({"name": [f"L{i}" for i in range(len(ra))], "ra_deg": ra, "dec_deg": dec,
                  "grade": grades}).to_csv(path, index=False)  # fmt: skip
    return path


def test_the_lens_in_the_footprint_is_followed_and_91_are_no_misses(run):
    recall = measure_recall(run, known_lenses(), 3.0)
    assert len(recall.lenses) == 100 + 92 + 65
    assert recall.lenses.columns.tolist() == RECALL.names
    seen = recall.lenses[recall.lenses["observed"]]
    assert seen["known_name"].tolist() == ["LensFlow 1"]
    row = seen.iloc[0]
    grid = read_plan(run, NAME).grid
    x, y = sky_to_grid(grid, row["known_ra_deg"], row["known_dec_deg"])
    assert (float(x), float(y)) == pytest.approx((LENS_X, LENS_Y), abs=0.1)
    # The best of the windows that hold it, told from the stores alone.
    logits, _, _ = score_store.read(RunPaths(run).scores(NAME))
    corners = read_windows(run, NAME).corners
    holds = ((corners <= (x, y)) & (corners + 100 > (x, y))).all(axis=1)
    assert holds.sum() == 4
    mean = np.where(holds, logits.mean(axis=1), -np.inf)
    assert row["window"] == np.nanargmax(mean)
    assert row["logit_mean"] == pytest.approx(np.nanmax(mean), rel=1e-6)
    assert row["window_rank"] == 1 + np.nansum(logits.mean(axis=1) > row["logit_mean"])
    centre = corners[row["window"]] + 49.5
    assert row["offset_arcsec"] == pytest.approx(0.05 * np.hypot(*(centre - (x, y))), abs=0.01)
    assert row["grade_scheme"] == "lenscat confident/probable, not LensFlow's A/B/C"


def test_counts_and_interval(run):
    recall = measure_recall(run, known_lenses(), 3.0)
    of = recall.summary.set_index(["catalogue", "grade"])
    assert of.loc[("LensFlow", "all"), ["n_listed", "n_not_observed", "n_observed"]].tolist() == [
        92, 91, 1,
    ]  # fmt: skip
    assert of.loc[("CASTLES", "all"), "n_observed"] == 0
    assert math.isnan(of.loc[("CASTLES", "all"), "recall"])
    # No one-grade row is called A, B or C where the published grades are not in hand.
    grades = set(recall.summary.query("catalogue == 'LensFlow'")["grade"])
    assert grades == {"all", "confident", "probable"}


def test_candidate_rank_and_top(run):
    candidates = pd.read_parquet(RunPaths(run).candidates)
    last = candidates.iloc[-1]
    assert last["rank"] > 1
    known = listed(run, (last["x_pix"], last["y_pix"]), (10.0, 10.0))
    recall = measure_recall(run, known_lenses([known]), 0.5)
    mine = recall.lenses[recall.lenses["catalogue"] == "mine"]
    assert mine["observed"].tolist() == [True, False]  # the second lies where no data are
    assert mine["is_candidate"].tolist() == [True, False]
    first = mine.iloc[0]
    assert (first["rank"], first["candidate_id"]) == (last["rank"], last["candidate_id"])
    assert first["separation_arcsec"] < 0.01
    of_one = measure_recall(run, known_lenses([known]), 0.5, top=1).lenses
    assert not of_one["is_candidate"].any()


def test_a_candidate_beyond_the_radius_does_not_count(run):
    candidates = pd.read_parquet(RunPaths(run).candidates)
    first = candidates.iloc[0]
    known = listed(run, (first["x_pix"] - 20.0, first["y_pix"]))  # 1 arcsec
    for radius, found in ((0.9, False), (1.1, True)):
        lenses = measure_recall(run, known_lenses([known]), radius).lenses
        assert lenses["is_candidate"].iloc[-1] == found


def test_each_lens_has_a_radius_of_its_own(run):
    """3 arcsec where a list says nothing of its positions: LensFlow, and this one."""
    candidates = pd.read_parquet(RunPaths(run).candidates)
    first = candidates.iloc[0]
    for offset, found in ((50.0, True), (70.0, False)):  # 2.5 and 3.5 arcsec
        known = listed(run, (first["x_pix"] - offset, first["y_pix"]))
        lenses = measure_recall(run, known_lenses([known]), None, top=1).lenses
        assert lenses["is_candidate"].iloc[-1] == found


def test_the_control_is_what_random_positions_would_be_called(run):
    """Of the candidates' circles, so large a share lies in the footprint."""
    recall = measure_recall(run, known_lenses(), 1.0)
    candidates = pd.read_parquet(RunPaths(run).candidates)
    at_most = len(candidates) * math.pi / 3600.0**2 / recall.area_deg2
    assert 0.2 * at_most < recall.by_chance <= 1.1 * at_most
    wide = measure_recall(run, known_lenses(), 60.0)
    assert wide.by_chance == 1.0


def test_only_candidates_of_a_depth_count(run):
    candidates = pd.read_parquet(RunPaths(run).candidates)
    last = candidates.iloc[-1]
    known = known_lenses([listed(run, (last["x_pix"], last["y_pix"]))])
    depth = last["false_per_deg2"]
    for limit, found in ((depth, True), (0.99 * depth, False)):
        lenses = measure_recall(run, known, 0.5, false_per_deg2=limit).lenses
        assert lenses["is_candidate"].iloc[-1] == found


def test_summary_of_invented_rows():
    rows = pd.DataFrame({
        "catalogue": "mine", "grade": ["A"] * 10 + [None], "grade_scheme": ["x"] * 10 + [None],
        "observed": [True] * 9 + [False, True], "is_candidate": [True] * 8 + [False] * 3,
    })  # fmt: skip
    summary = summarise_recall(rows).set_index("grade")
    assert summary.loc["A", ["n_listed", "n_observed", "n_candidates"]].tolist() == [10, 9, 8]
    assert summary.loc["all", "n_observed"] == 10
    assert summary.loc["A", "recall"] == pytest.approx(8 / 9)


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [
        (8, 9, 0.5650, 0.9801),  # (p + z^2/2n ± z sqrt(pq/n + z^2/4n^2)) / (1 + z^2/n), by hand
        (0, 5, 0.0, 0.4345),
        (5, 5, 0.5655, 1.0),
    ],
)
def test_wilson_interval(found, of, low, high):
    assert binomial_interval(found, of) == pytest.approx((low, high), abs=1e-3)


def test_command_writes_the_table_and_says_what_it_is(run, capsys, tmp_path):
    show_recall(run, [], 3.0, None, tmp_path / "r.parquet")
    written = pq.read_table(tmp_path / "r.parquet")
    assert written.schema.remove_metadata().equals(RECALL.remove_metadata())
    assert written.schema.field("separation_arcsec").metadata[b"unit"] == b"arcsec"
    assert written.schema.metadata[b"lensweep.match_radius_arcsec"] == b"3.0"
    assert written.num_rows == 257
    shown = capsys.readouterr().out
    assert "order 18 (0.81 arcsec)" in shown
    assert "LensFlow 1" in shown


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"radius_arcsec": 0.0}, MatchError, "radius 0"),
        ({"radius_arcsec": 36000.0}, MatchError, "radius 36000"),  # ten degrees
        ({"radius_arcsec": 3.0, "top": 0}, InputError, "top = 0"),
        ({"radius_arcsec": 3.0, "false_per_deg2": float("nan")}, InputError, "per_deg2 = nan"),
    ],
)
def test_unusable_options_are_refused(run, options, error, message):
    with pytest.raises(error, match=message):
        measure_recall(run, known_lenses(), **options)


def test_a_run_without_catalogue_or_none_at_all(tmp_path):
    with pytest.raises(InputError, match="no run in this folder"):
        measure_recall(tmp_path, known_lenses(), 3.0)


def test_a_lens_that_was_screened_is_shown_without_a_score(run, capsys, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    arrays = score_store.open_arrays(RunPaths(copied).scores(NAME), "r+")
    arrays["member_logits"][:] = np.nan
    recall = show_recall(copied, [], 3.0, None, tmp_path / "r.parquet")
    (row,) = recall.lenses[recall.lenses["observed"]].itertuples()
    assert row.known_name == "LensFlow 1"
    assert pd.isna(row.window_rank)
    (shown,) = (line for line in capsys.readouterr().out.splitlines() if "LensFlow 1 " in line)
    assert "nan" not in shown.lower()
    assert f"{NAME} {row.window}" in shown


def test_the_catalogue_says_whose_grades_it_has(run):
    metadata = pq.read_schema(RunPaths(run).candidates).metadata
    assert metadata[b"lensweep.lensflow_grades"] == TWO_LEVEL_SCHEME.encode()
