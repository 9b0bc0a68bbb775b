import dataclasses
import json
import math

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import scan_here, write_field
from drizzled_files import sky_cards, write_hla
from scipy import stats

from lensweep.catalogs.known_lenses import lensflow92
from lensweep.catalogs.lensflow_grades import LensFlowGrades, store_grades
from lensweep.catalogs.tables import TableError
from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.cutouts_at import mosaic_fields, stored_fields
from lensweep.scanner.lenses.grade_report import report_grades
from lensweep.scanner.lenses.grade_table import CONTROL, grade_order
from lensweep.scanner.lenses.grades_request import GradesConfig
from lensweep.scanner.network.bundle_store import check_bundle, save_bundle
from lensweep.scanner.network.ensemble import Description, Trunk, sigmoid
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.simulation.confusers import scatter_field_galaxies
from lensweep.training.simulation.exposures import NOISE_BLUR_PX, READ_NOISE, SKY_RATE
from lensweep.training.simulation.field_population import CROWDED
from lensweep.training.simulation.lenses import draw_arcs, draw_lens
from lensweep.training.simulation.light import draw_galaxy_light
from lensweep.training.simulation.observation import Observation, record, signal_to_noise
from lensweep.training.simulation.psf import draw_psf
from lensweep.training.simulation.scene import Scene
from lensweep.training.simulation.seen import MIN_MAGNIFICATION, MIN_SIGNAL_TO_NOISE

SHAPE = (240, 260)
PLANTED = 20


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
    config = GradesConfig(
        tuple(mosaics), None if stored is None else str(stored), None, graded, str(tiny_bundle),
        n_control=n_control, seed=7,
    )  # fmt: skip
    return report_grades(config, HeaderOverrides(), out)


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
    mosaic = inspect_mosaic(mosaics[3], HeaderOverrides(), "F814W", "tiny", tmp_path)
    field = mosaic_fields([mosaics[3]], HeaderOverrides(), "F814W", "tiny", tmp_path)[0]
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
    assert "Table 5-2 of the thesis" in shown


def test_published_numbers_stand_under_their_own_list_only(made, mosaics, tiny_bundle, tmp_path):
    lens = made.scores.lenses.iloc[0]
    own = tmp_path / "own.csv"
    own.write_text(f"ra,dec,grade\n{lens['known_ra_deg']},{lens['known_dec_deg']},A\n")
    report(mosaics, tiny_bundle, tmp_path / "grades", str(own), n_control=0)
    shown = (tmp_path / "grades" / "grades.md").read_text()
    assert "thesis" not in shown.split("* ensemble_sha256")[1]


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


def test_random_windows_are_spread_over_all_fields_and_avoid_every_known_lens(
    mosaics, tiny_bundle, tmp_path
):
    # One listed lens; the other 91 and whatever else is known are no random sky either.
    lensflow92().tail(89).head(1)[["ra_deg", "dec_deg"]].assign(grade="A").to_csv(
        tmp_path / "one.csv", index=False
    )
    made = report(mosaics, tiny_bundle, tmp_path / "out", str(tmp_path / "one.csv"), n_control=63)
    control = made.scores.control
    assert len(control) == 63
    # 63 windows leave one field in twenty without any.
    assert control["mosaic"].nunique() >= 17
    on = control[control["mosaic"] != "beside_f814w_drz"]
    assert not (on["x0"].between(31, 128) & on["y0"].between(21, 118)).any()


def test_a_run_with_a_mosaic_of_which_nothing_is_cut(client, tiny_bundle, mosaics, tmp_path):
    run = scan_here(client, tiny_bundle, mosaics[1:2], tmp_path / "run").paths
    whole = run.cutouts("cosmos00_f814w_drz")
    attributes, n_windows = cutout_store.read_attributes(whole)
    empty = dataclasses.replace(attributes, mosaic="aaa")
    cutout_store.create(run.cutouts("aaa"), n_windows, empty)
    assert [field.name for field in stored_fields(run.root)] == ["cosmos00_f814w_drz"]
    with pytest.raises(InputError, match="not one window"):
        stored_fields(run.cutouts("aaa"))


def test_lenscat_is_a_graded_list(mosaics, tiny_bundle, tmp_path, monkeypatch):
    lens = lensflow92().iloc[3]
    data = tmp_path / "lenscat" / "data"
    data.mkdir(parents=True)
    (tmp_path / "lenscat" / "__init__.py").write_text("raise RuntimeError")
    (data / "catalog.csv").write_text(
        "name,RA [deg],DEC [deg],zlens,type,grading,ref\n"
        f"a,{lens['ra_deg']},{lens['dec_deg']},-,galaxy,confident,x\nb,10,10,-,galaxy,probable,x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = report(mosaics[4:5], tiny_bundle, tmp_path / "out", "lenscat", n_control=0)
    assert made.scheme == "lenscat confident/probable"
    assert made.scores.lenses["covered"].tolist() == [True, False]


@pytest.fixture(scope="module")
def two_backbones(tmp_path_factory):
    """A bundle of one Xception for three folds, and of a ResNet for each of two."""
    rng, trunks, heads = np.random.default_rng(8), {}, {}
    members = {"xception": 3, "resnet50-fold0": 1, "resnet50-fold1": 1}
    for number, (name, n) in enumerate(members.items()):
        keras.utils.set_random_seed(number)
        images = keras.Input((100, 100, 3))
        maps = keras.layers.Conv2D(6, 5, strides=5, activation="relu")(images)
        trunks[name] = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
        heads[name] = rng.normal(0, 20, (6, n)).astype("f4"), rng.normal(0, 1, n).astype("f4")
    description = Description(
        name="two", stretch=Stretch(), band="F814W", pixel_scale_arcsec=0.05, cutout_size=100,
        trunks=(Trunk("xception", ("x0", "x1", "x2")), Trunk("resnet50-fold0", ("r0",)),
                Trunk("resnet50-fold1", ("r1",))),
        thresholds={"fpr_0.3": 0.0}, metrics={},
        training={},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("two") / "two"
    save_bundle(folder, description, trunks, heads)
    return folder


def test_the_table_has_a_row_per_backbone_however_many_trunks_it_has(
    two_backbones, mosaics, tmp_path
):
    made = report(mosaics[1:4], two_backbones, tmp_path / "out", n_control=5)
    assert made.scores.scorers == ("xception", "resnet50", "ensemble")
    field = mosaic_fields([mosaics[3]], HeaderOverrides(), "F814W", "two", tmp_path)[0]
    flux, _ = field.cut(np.array([[80, 70]], np.int32))
    values = sigmoid(Ensemble(check_bundle(str(two_backbones))).logits(flux).astype(float))[0]
    row = made.scores.lenses.iloc[2]
    for scorer, own in (("xception", values[:3]), ("resnet50", values[3:]), ("ensemble", values)):
        found = row[[f"p_{scorer}", f"std_{scorer}"]].to_numpy(float)
        assert found == pytest.approx([own.mean(), own.std(ddof=1)], rel=1e-4)
    rows = made.summary.groupby("scorer", sort=False)["grade"].agg(list)
    assert rows.to_dict() == {name: ["confident", "probable", CONTROL]
                              for name in ("xception", "resnet50", "ensemble")}  # fmt: skip
    page = (tmp_path / "out" / "grades.md").read_text()
    assert "| resnet50 | probable |" in page
    assert "fold" not in page.split("Not covered")[0]


def draw_lens_field(path, number, lens, psf):
    """A mosaic of 25 arcsec with galaxies as in COSMOS, and a lens of the training's population."""
    rng, side = np.random.default_rng([11, number]), 500
    light, middle = np.zeros((side, side)), (side - 1) / 2
    scatter_field_galaxies(Scene(light, 0.0, 0.0, psf, rng), CROWDED.galaxies_per_arcsec2)
    # As deep as COSMOS.
    observation = Observation(2028.0, 4, SKY_RATE, READ_NOISE, NOISE_BLUR_PX, 0.0)
    while True:
        drawn, arcs, host = draw_lens(rng, False), np.zeros_like(light), np.zeros_like(light)
        draw_galaxy_light(host, middle, middle, drawn.host, psf)
        magnification, _ = draw_arcs(arcs, middle, middle, drawn, psf, rng)
        seen, _ = signal_to_noise(arcs, light + host + arcs, observation)
        if magnification >= MIN_MAGNIFICATION and seen >= MIN_SIGNAL_TO_NOISE:
            break
    flux = record(light + host + arcs, observation, rng).astype(np.float32)
    sky = sky_cards(flux.shape, crval=(lens["ra_deg"], lens["dec_deg"]))
    return str(write_hla(path, flux, np.full(flux.shape, 2028.0, np.float32), sky))


def test_lenses_planted_at_twenty_of_the_92_are_found_by_the_shipped_ensemble(tmp_path):
    planted = lensflow92().iloc[::4].head(PLANTED)
    psf = draw_psf(np.random.default_rng(10))
    fields = [
        draw_lens_field(tmp_path / f"cosmos{number:02d}_f814w_drz.fits", number, lens, psf)
        for number, lens in planted.iterrows()
    ]
    made = report(fields, "xception-7fold", tmp_path / "out", n_control=100)
    lenses, control = made.scores.lenses, made.scores.control
    assert np.flatnonzero(lenses["covered"]).tolist() == planted.index.tolist()
    assert made.summary.query("scorer == 'xception'")["n_found"].iloc[:2].sum() >= 16
    assert (lenses["p_ensemble"] >= 0.5).sum() >= 16
    assert len(control) == 100
    assert (control["p_ensemble"] >= 0.5).mean() <= 0.25
    assert control["p_ensemble"].median() < 0.1
    shown = (tmp_path / "out" / "grades.md").read_text()
    assert "20 of 92 listed lenses covered; 100 random windows" in shown
    assert "Not covered: 72" in shown
