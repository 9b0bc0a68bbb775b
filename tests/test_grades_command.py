import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import scan_here, write_field
from drizzled_files import sky_cards
from scipy import stats

from catalogs.grades import LensFlowGrades, store_grades
from catalogs.known_lenses import lensflow92
from catalogs.tables import TableError
from scanner.cutouts import cut_windows
from scanner.ensemble import check_bundle, sigmoid
from scanner.errors import InputError
from scanner.grade_table import CONTROL, grade_order
from scanner.grading import member_logits
from scanner.inference import Ensemble
from scanner.lens_fields import mosaic_fields, stored_fields
from scanner.mosaics import HeaderOverrides, inspect_mosaic
from scanner.plan import read_plan
from scanner.show_grades import report_grades

SHAPE = (240, 260)
PLANTED = 20
NOTHING_STATED = HeaderOverrides(None, None, None)


@pytest.fixture(autouse=True)
def no_fetched_grades(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LENSWEEP_DATA", str(tmp_path_factory.mktemp("data")))


def plant_ring(path):
    """A galaxy in the middle of a mosaic, with a ring of 1.1 arcsec about it."""
    with fits.open(path, mode="update") as hdus:
        y, x = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None] - 1) / 2
        radius = np.hypot(x, y)
        galaxy = 2.0 * np.exp(-radius / 6.0) + 0.3 * np.exp(-((radius - 22.0) ** 2) / 18.0)
        hdus["SCI"].data += galaxy.astype(np.float32)
    return path


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory):
    """Twenty mosaics of 13 x 12 arcsec in COSMOS, each about one of the first LensFlow systems.

    Two of them overlap: the last one lies 2 arcsec beside the first, without data on its left.
    """
    folder = tmp_path_factory.mktemp("cosmos")
    paths = []
    for number, lens in lensflow92().head(PLANTED).iterrows():
        sky = sky_cards(SHAPE, crval=(lens["ra_deg"], lens["dec_deg"]))
        path = folder / f"cosmos{number:02d}_f814w_drz.fits"
        paths.append(str(plant_ring(write_field(path, number, SHAPE, blank_columns=0, sky=sky))))
    first = lensflow92().iloc[0]
    crval = (first["ra_deg"] + 2 / 3600, first["dec_deg"])
    beside = folder / "beside_f814w_drz.fits"
    sky = sky_cards(SHAPE, crval=crval)
    return [str(write_field(beside, 99, SHAPE, 150, sky=sky)), *paths]


def report(mosaics, tiny_bundle, out, graded="LensFlow", n_control=60, stored=None):
    return report_grades(
        mosaics, stored, graded, str(tiny_bundle), NOTHING_STATED, 0.5, n_control, 7, out
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out") / "grades"


@pytest.fixture(scope="module")
def made(mosaics, tiny_bundle, out):
    """A report on the 92 with the grading that is shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSWEEP_DATA", str(out.parent))
        return report(mosaics, tiny_bundle, out)


def test_twenty_planted_are_scored_and_72_are_listed_as_not_covered(made, out):
    lenses = made.scores.lenses
    assert len(lenses) == 92
    assert lenses["covered"].tolist() == [True] * PLANTED + [False] * 72
    # Of two mosaics at the first the one with more data.
    assert lenses["mosaic"].iloc[0] == "cosmos00_f814w_drz"
    shown = (out / "grades.md").read_text()
    assert "Not covered: 72" in shown
    assert shown.count("outside of the fields") == 72
    assert "20 of 92 listed lenses covered; 60 random windows" in shown
    assert (out / "grades.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_those_of_the_window_centred_on_each(made, mosaics, tiny_bundle, tmp_path):
    # LensFlow 3 lies at the reference pixel: the middle of 260 x 240, windows being of 100.
    mosaic = inspect_mosaic(mosaics[3], NOTHING_STATED, "F814W", "tiny", tmp_path)
    field = mosaic_fields([mosaics[3]], NOTHING_STATED, "F814W", "tiny", tmp_path)[0]
    flux, _ = cut_windows(mosaic, field.grid, np.array([[80, 70]], np.int32))
    logits = Ensemble(check_bundle(str(tiny_bundle))).logits(flux)
    row = made.scores.lenses.iloc[2]
    assert row["logit_ensemble"] == pytest.approx(logits.mean(), rel=1e-5)
    members = sigmoid(logits.astype(float))[0]
    for scorer in ("tiny", "ensemble"):
        assert row[f"p_{scorer}"] == pytest.approx(members.mean(), rel=1e-5)
        assert row[f"std_{scorer}"] == pytest.approx(members.std(ddof=1), rel=1e-4)


def test_table_has_the_numbers_of_the_rows(made, out):
    lenses, summary = made.scores.lenses, made.summary.set_index(["scorer", "grade"])
    assert made.scheme == "lenscat confident/probable, not LensFlow's A/B/C"
    assert set(summary.index.get_level_values("grade")) == {"confident", "probable", CONTROL}
    assert summary["thesis_mean"].isna().all()
    for grade in ("confident", "probable"):
        of = lenses[(lenses["grade"] == grade) & lenses["covered"]]["p_ensemble"]
        row = summary.loc[("ensemble", grade)]
        assert row["n_listed"] == {"confident": 14, "probable": 78}[grade]
        assert row["n_scored"] == len(of) == {"confident": 2, "probable": 18}[grade]
        assert row["n_found"] == (of >= 0.5).sum()
        found = [row["mean"], row["std"], row["median"]]
        assert found == pytest.approx([of.mean(), of.std(), of.median()])
        assert row["mean_low"] <= row["mean"] <= row["mean_high"]
    sky = made.scores.control["p_ensemble"]
    assert summary.loc[("ensemble", CONTROL), "mean"] == pytest.approx(sky.mean())
    assert summary.loc[("ensemble", CONTROL), "n_scored"] == len(sky) == 60
    graded = lenses[lenses["covered"]]
    rho = stats.spearmanr(graded["logit_ensemble"], graded["grade"] == "confident").statistic
    assert made.correlations.set_index("scorer").loc["ensemble", "spearman"] == pytest.approx(rho)
    written = pq.read_table(out / "grades.parquet")
    assert set(written["grade_scheme"].to_pylist()) == {made.scheme}
    assert json.loads(written.schema.metadata[b"lensweep.spearman"])[0]["n"] == PLANTED


def test_fetched_grades_are_used_with_the_thesis_beside(mosaics, tiny_bundle, tmp_path, capsys):
    # Invented letters, for this test only.
    invented = {number: "ABC"[number % 3] for number in range(1, 93)}
    store_grades(LensFlowGrades(invented, "a test", "2026-01-02T03:04:05"))
    made = report(mosaics, tiny_bundle, tmp_path / "grades")
    assert made.scheme == "LensFlow A/B/C (a test, fetched 2026-01-02)"
    grades = [row["grade"] for _, row in made.summary.iterrows() if row["scorer"] == "tiny"]
    assert grades == ["A", "B", "C", CONTROL]
    shown = capsys.readouterr().out
    assert "confident" not in shown
    assert (tmp_path / "grades" / "grades.md").read_text().strip() in shown


def test_random_windows_are_seeded_and_hold_no_lens(made, mosaics, tiny_bundle, tmp_path):
    one = made.scores.control
    two = report(mosaics, tiny_bundle, tmp_path / "b").scores.control
    pd.testing.assert_frame_equal(one, two)
    # Even to a network of random weights a ring is not empty sky.
    lenses = made.scores.lenses["logit_tiny"].dropna()
    assert stats.mannwhitneyu(lenses, one["logit_tiny"]).pvalue < 1e-3
    # The lens is at column 129.5, row 119.5 of every mosaic but the one beside the first.
    on = one[one["mosaic"] != "beside_f814w_drz"]
    held = on["x0"].between(31, 128) & on["y0"].between(21, 118)
    assert len(on) > 10
    assert not held.any()
    assert (one["valid_fraction"] >= 0.5).all()


def test_a_run_gives_the_scores_that_its_mosaic_gives(client, tiny_bundle, tmp_path):
    lens = lensflow92().iloc[0]
    # 7 pixels left of the middle, so that no window of the run is centred on it.
    crval = (lens["ra_deg"] - 7 * 0.05 / 3600 / math.cos(math.radians(lens["dec_deg"])),
             lens["dec_deg"])  # fmt: skip
    mosaic = write_field(tmp_path / "one_f814w_drz.fits", 3, (300, 400), 170,
                         sky=sky_cards((300, 400), crval=crval))  # fmt: skip
    run = scan_here(client, tiny_bundle, [mosaic], tmp_path / "run").paths
    from_run = report([], tiny_bundle, tmp_path / "a", stored=run.root, n_control=5)
    from_mosaic = report([str(mosaic)], tiny_bundle, tmp_path / "b", n_control=5)
    columns = ["logit_tiny", "p_tiny", "valid_fraction", "covered"]
    pd.testing.assert_frame_equal(
        from_run.scores.lenses[columns], from_mosaic.scores.lenses[columns]
    )
    assert from_run.scores.lenses["covered"].sum() == 1
    assert 0.5 < from_run.scores.lenses["valid_fraction"].iloc[0] < 1.0
    (of_store,) = stored_fields(run.cutouts("one_f814w_drz"))
    assert of_store.grid.shape == read_plan(run.root, "one_f814w_drz").grid.shape
    # Pixels beyond every stored window are invalid, wherever a window is asked for.
    flux, fraction = of_store.cut(np.array([[-90, -90], [350, 250], [9999, 0]], np.int32))
    assert np.isfinite(flux).sum(axis=(1, 2)).tolist() == [0, 2500, 0]
    assert fraction[1] == pytest.approx(0.25)


def test_any_graded_list_will_do(mosaics, tiny_bundle, tmp_path):
    frame = lensflow92().head(3)[["ra_deg", "dec_deg"]].assign(grade=["B", "A", ""])
    frame.to_csv(tmp_path / "mine.csv", index=False)
    made = report(mosaics, tiny_bundle, tmp_path / "out", str(tmp_path / "mine.csv"), n_control=0)
    assert made.scheme == "mine.csv, column grade"
    assert made.scores.lenses["covered"].tolist() == [True] * 3
    table = made.summary[made.summary["scorer"] == "ensemble"]
    assert table[["grade", "n_listed", "n_scored"]].to_numpy().tolist() == [
        ["A", 1, 1], ["B", 1, 1], [CONTROL, 0, 0],
    ]  # fmt: skip
    assert math.isnan(made.correlations["spearman"].iloc[0])


@pytest.mark.parametrize(
    ("grades", "order"),
    [
        (["C", "A", "A"], ("A", "C")),
        (["probable", "confident"], ("confident", "probable")),
        (["sure", "maybe"], ("maybe", "sure")),  # of no known scale: alphabetical
    ],
)
def test_order_of_grades(grades, order):
    assert grade_order(grades) == order


def test_what_cannot_be_graded_is_refused(mosaics, tiny_bundle, tmp_path):
    far = tmp_path / "far.csv"
    far.write_text("ra_deg,dec_deg,grade\n10,10,A\n")
    ungraded = tmp_path / "ungraded.csv"
    ungraded.write_text("ra_deg,dec_deg\n150,2\n")
    with pytest.raises(InputError, match="none of the 1 listed lenses"):
        report(mosaics[:2], tiny_bundle, tmp_path / "out", str(far))
    with pytest.raises(InputError, match="no grades"):
        report(mosaics[:2], tiny_bundle, tmp_path / "out", str(ungraded))
    with pytest.raises(TableError, match="unknown file ending"):
        report(mosaics[:2], tiny_bundle, tmp_path / "out", "lensflow")
    with pytest.raises(InputError, match="one source of pixels"):
        report([], tiny_bundle, tmp_path / "out")
    with pytest.raises(InputError, match="one source of pixels"):
        report(mosaics, tiny_bundle, tmp_path / "out", stored=tmp_path)
    with pytest.raises(InputError, match="neither a run nor a cutout store"):
        report([], tiny_bundle, tmp_path / "out", stored=tmp_path)


def test_members_of_several_trunks_are_told_apart(tiny_bundle):
    import dataclasses

    from scanner.ensemble import Trunk

    description = dataclasses.replace(
        check_bundle(str(tiny_bundle)).description,
        trunks=(Trunk("xception", ("a", "b")), Trunk("resnet50v2", ("c",))),
    )
    logits = np.array([[0.0, 2.0, -3.0]], np.float32)
    found = member_logits(description, logits)
    np.testing.assert_allclose(found["xception"][0], [0.0, 2.0])
    np.testing.assert_allclose(found["resnet50v2"][0], [-3.0])
    np.testing.assert_allclose(found["ensemble"], logits)
