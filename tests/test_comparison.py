"""All finders on the same folds: kept, continued, and told in tables."""

import dataclasses
import io
import json
import re
import time
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from matplotlib.image import imread
from toy_stamps import draw_toy, write_toy_set

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.training.comparison.compare import compare
from lensweep.training.comparison.fields import check_counted
from lensweep.training.comparison.finders import FINDERS, chosen_finders
from lensweep.training.comparison.kept import FoldScores
from lensweep.training.comparison.real_stamps import RealStamps, read_real_stamps
from lensweep.training.comparison.report import claim_lines, graded_lines, write_comparison
from lensweep.training.comparison.run import Comparison, open_comparison, run_comparison
from lensweep.training.comparison.settings import OPTIMIZERS, ComparisonSettings
from lensweep.training.comparison.tables import finder_table, thesis_table_5_1, thesis_table_5_2
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.published.gaussian_mixture import MixtureFinder
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.members import write_finder_bundle
from lensweep.training.published.stamps import Stamps, read_stamps
from lensweep.training.published.thesis import OPTIMIZERS as THESIS_OPTIMIZERS

N = 420


def progress():
    return PlainProgress(io.StringIO(), time.monotonic)


def toy_stamps(n=60, size_px=50):
    flux, labels = draw_toy(n, size_px)
    truth = pd.DataFrame({"is_lens": labels, "kind": np.where(labels, "ring", "galaxy")})
    # Two cutouts of each object.
    return Stamps(flux, labels, np.arange(n) // 4 * 2 + np.arange(n) % 2, truth, "toy")


@pytest.fixture(scope="module")
def made_up():
    """Scores that nobody computed: of LensFlow, of a mixture four times as fast, of Xception."""
    rng = np.random.default_rng(3)
    labels = np.arange(N) % 2 == 0
    folds = np.arange(N) // 2 % 7
    stamps = Stamps(np.zeros((N, 1, 1), np.float32), labels, np.arange(N), pd.DataFrame(), "")
    truth = pd.DataFrame(
        {"object": ["SDSSJ1", "SDSSJ2", "COSJ1", "galaxy"],
         "label": ["lens", "lens", "lens", "nonlens"], "grade": ["A", "B", "B", "C"]}
    )  # fmt: skip
    real = RealStamps(np.zeros((4, 1, 1), np.float32), truth)

    def scores(good, fit_s, rate, parameters, n_folds=7):
        return {
            fold: FoldScores(
                rng.normal(good * labels[folds == fold], 1.0), np.array([9.0, -9.0, 9.0, -9.0]),
                fit_s, rate, parameters,
            )
            for fold in range(n_folds)
        }  # fmt: skip

    found = {
        "gaussian-mixture": scores(1.0, 5.0, 400.0, 400),
        "lensflow": scores(3.0, 20.0, 100.0, 17_509_064),
        "xception-frozen": scores(2.0, 40.0, 10.0, 20_900_000),
        "xception-trained": scores(0.2, 60.0, 10.0, 20_900_000, n_folds=2),
        "vgg16-frozen": scores(1.0, 60.0, 5.0, 134_300_000),
    }
    parameters = {name: {"epochs": 3} for name in found} | {"gaussian-mixture": {}}
    return Comparison(stamps, folds, real, found, parameters)


def test_times_are_ratios_to_lensflows(made_up):
    table = finder_table(made_up, {"lensflow": (1200.0, 700.0, 1900.0)}).set_index("finder")
    assert table.loc["gaussian-mixture", ["fit_ratio", "rate_ratio"]].tolist() == [0.25, 4.0]
    assert table.loc["lensflow", ["fit_ratio", "rate_ratio"]].tolist() == [1.0, 1.0]
    counts = table.filter(like="false_per_deg2")
    assert counts.loc["lensflow"].tolist() == [1200.0, 700.0, 1900.0]
    assert counts.loc["gaussian-mixture"].isna().all()
    assert np.isnan(table.loc["gaussian-mixture", "epochs"])
    # Of three lenses one is not counted; of the two one is above.
    assert table.loc["lensflow", ["real_lenses", "n_real_lenses", "n_real_others"]].tolist() == [
        1,
        2,
        1,
    ]
    assert table.loc["xception-trained", ["folds", "n_lenses"]].tolist() == [2, 60]
    assert table["roc_auc"].idxmax() == "lensflow"


def test_real_images_are_counted_by_each_folds_own_score(made_up):
    """A lens that one fold in two finds is half of one, however far the other is from it."""
    scores = dict(list(made_up.scores["lensflow"].items())[:2])
    for fold, real in enumerate(([9.0, -99.0, 9.0, -9.0], [9.0, 9.0, 9.0, -9.0])):
        scores[fold] = dataclasses.replace(scores[fold], real=np.array(real))
    comparison = dataclasses.replace(made_up, scores={"lensflow": scores})
    (row,) = finder_table(comparison, {}).to_dict("records")
    assert (row["real_lenses"], row["n_real_lenses"], row["real_others"]) == (1.5, 2, 0)


def test_table_5_1_has_every_network_and_way(made_up):
    table = thesis_table_5_1(made_up)
    assert len(table) == 18
    xception = table[table["finder"] == "xception-frozen"].iloc[0]
    assert xception["thesis_roc_auc"] == 0.9984
    assert 0.85 < xception["roc_auc"] < 1.0
    assert xception["roc_auc_std"] > 0.0
    assert table[table["finder"] == "vgg19-frozen"]["folds"].item() == 0


def test_few_parameters_are_best_where_all_ranks_say_so(made_up):
    table = thesis_table_5_1(made_up)
    theirs = table[table["middle"] == "frozen"].assign(
        folds=7, parameters=table["thesis_parameters"], roc_auc=table["thesis_roc_auc"]
    )
    # 2 of the 720 orders of six are as far from 0.
    said = "(Kendall's tau) -1.00, p = 0.00, over 6 networks with frozen layers"
    assert any(said in line for line in claim_lines(theirs))


def test_what_the_thesis_concludes_is_confirmed_or_not(made_up):
    lines = claim_lines(thesis_table_5_1(made_up))
    area = r"0\.\d{3} ± 0\.\d{3}"
    assert re.fullmatch(
        rf"\* frozen layers do better than trained ones: Xception yes \({area} against {area}\)",
        lines[0],
    )
    assert re.fullmatch(
        rf"\* ROC AUC of trained layers is below 0.7: Xception yes \({area}\)", lines[1]
    )
    assert lines[2].endswith("cannot be told of 2 with frozen layers")
    assert lines[3].endswith("cannot be told of 1 with trained layers")
    assert len(lines) == 4
    none = Comparison(made_up.stamps, made_up.folds, None, {}, {})
    assert "Nothing" in claim_lines(thesis_table_5_1(none))[0]


def test_table_5_2_is_by_grade(made_up):
    table = thesis_table_5_2(made_up).set_index(["finder", "group"])
    assert table.loc[("lensflow", "A"), "mean"] > 0.99
    assert table.loc[("lensflow", "B"), "n"] == 2
    assert table.loc[("lensflow", "B"), "mean"] == pytest.approx(0.5, abs=0.001)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two finders on two folds; the second after a stop."""
    out = tmp_path_factory.mktemp("comparison")
    stamps = toy_stamps()
    first = ComparisonSettings(("gaussian-mixture",), folds=2)
    run_comparison(first, open_comparison(first, stamps, out), out, progress())
    both = ComparisonSettings(("lensflow", "gaussian-mixture"), epochs=1, folds=2)
    comparison = run_comparison(both, open_comparison(both, stamps, out), out, progress())
    return out, comparison


def test_finders_share_their_folds_and_stay_kept(run):
    out, comparison = run
    assert list(comparison.scores) == ["gaussian-mixture", "lensflow"]
    for fold in (0, 1):
        held_out = comparison.folds == fold
        for scores in comparison.scores.values():
            assert len(scores[fold].held_out) == held_out.sum()
        assert not set(comparison.stamps.objects[held_out]) & set(
            comparison.stamps.objects[~held_out]
        )
    assert finder_table(comparison, {}).set_index("finder").loc["gaussian-mixture", "roc_auc"] > 0.9
    assert json.loads((out / "lensflow" / "parameters.json").read_text())["epochs"] == 1


def test_what_is_finished_is_not_fitted_again(run, monkeypatch):
    out, comparison = run
    settings = ComparisonSettings(("gaussian-mixture", "lensflow"), epochs=1, folds=2)
    (out / "gaussian-mixture" / "fold-1.npz").unlink()
    fitted, fit = [], ImageFinder.fit

    def counted(self, X, y):
        fitted.append(type(self).__name__)
        return fit(self, X, y)

    monkeypatch.setattr(ImageFinder, "fit", counted)
    opened = open_comparison(settings, comparison.stamps, out)
    again = run_comparison(settings, opened, out, progress())
    assert fitted == ["MixtureFinder"]
    # The seed of a fold is its own, whatever was fitted before.
    for fold in (0, 1):
        assert np.array_equal(
            again.scores["gaussian-mixture"][fold].held_out,
            comparison.scores["gaussian-mixture"][fold].held_out,
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # Other folds.
        ({"folds": 3}, "made with folds = 2, now 3"),
        # A network that was trained for longer.
        ({"epochs": 2}, "made with epochs = 1, now 2"),
        # No such finder.
        ({"finders": ("lensflo",)}, "finders lensflo: not among gaussian-mixture"),
        # Weights of nothing here.
        ({"weights": ("resnet=x.h5",)}, "weights of resnet: not among xception"),
        # Weights that are not there, before anything is fitted.
        ({"finders": ("vgg16-frozen",), "weights": ("vgg16=no.h5",)}, "no such file"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said, run):
    out, comparison = run
    settings = ComparisonSettings(**{"finders": ("lensflow",), "epochs": 1, "folds": 2} | changes)
    with pytest.raises(InputError, match=said):
        run_comparison(settings, open_comparison(settings, comparison.stamps, out), out, progress())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"protocol": "leaky"}, "protocol = leaky: must be one of"),
        ({"optimizer": "adagrad"}, "optimizer = adagrad: must be one of"),
        ({"protocol": "thesis"}, "the thesis: 15000 and 13239"),
        ({"augmented_lenses": 10}, "give both or neither"),
        ({"stamps": "/nowhere"}, "no MANIFEST.csv"),
        ({"weights": ("vgg16",)}, "must be BACKBONE=FILE"),
        ({"field_px": 100}, "field_px = 100: must lie within"),
        ({"epochs": -1}, "epochs = -1: must lie within"),
        ({"learning_rate": 2.0}, "learning_rate = 2.0: must lie within"),
    ],
)
def test_settings_check_themselves(fields, said):
    with pytest.raises(InputError, match=said):
        ComparisonSettings(**fields)


def test_all_finders_are_compared_by_default():
    assert chosen_finders(ComparisonSettings()) == list(FINDERS)
    assert len(FINDERS) == 5 + 3 * 6
    made = FINDERS["vgg16-xavier"].make(ComparisonSettings(optimizer="nadam", epochs=4), 1)
    assert made.get_params()["optimizer_name"] == "nadam"
    assert made.get_params()["epochs"] == 4
    # Each its own rate, unless one is asked for.
    assert made.get_params()["learning_rate"] == 1e-3
    slower = FINDERS["lensflow"].make(ComparisonSettings(learning_rate=1e-5), 1)
    assert slower.get_params()["learning_rate"] == 1e-5
    assert (
        "learning_rate"
        not in FINDERS["gaussian-mixture"].make(ComparisonSettings(), 1).get_params()
    )
    assert tuple(THESIS_OPTIMIZERS) == OPTIMIZERS


def test_a_page_tells_what_was_run_and_what_was_not(made_up, tmp_path):
    flux, labels = draw_toy(N, 24)
    shown = Comparison(
        Stamps(flux, labels, np.arange(N), pd.DataFrame(), ""), made_up.folds, made_up.real,
        made_up.scores, made_up.parameters,
    )  # fmt: skip
    page = write_comparison(shown, shown.stamps, tmp_path, 1).read_text()
    assert "| lensflow | Pourrahmani et al. 2018 | 7 | 3 |" in page
    assert "Not run on all folds: kernel-pca-trees" in page
    assert "xception-trained" in page.partition("Not run on all folds")[2]
    assert "| VGG19 | frozen | not run |" in page
    assert "| A (1) | " in page
    for name in ("finders", "figure_5_1", "figure_5_2"):
        assert imread(tmp_path / f"{name}.png").std() > 0.01
    assert len(pd.read_parquet(tmp_path / "table_5_1.parquet")) == 18


def test_table_5_2_has_the_thesis_form_and_figures(made_up):
    networks, others = " ".join(graded_lines(thesis_table_5_2(made_up))).split("| predicted")[1:]
    assert "| xception-frozen |" in networks
    assert "thesis: xception | thesis: inception | thesis: resnet |" in networks
    assert "| 0.982 ± 0.041 | 0.872 ± 0.314 | 0.767 ± 0.385 |" in networks
    assert "lensflow" in others
    assert "thesis" not in others
    # Of images without grades the thesis' rows are its own.
    by_label = thesis_table_5_2(made_up).replace({"group": {"A": "lens", "B": "lens"}})
    rows = graded_lines(by_label)
    assert any(row.startswith("| lens (") for row in rows)
    assert any(row.startswith("| A |  |") for row in rows)


def test_counts_on_other_fields_are_refused(tmp_path):
    (tmp_path / "lensflow").mkdir()
    counted = {"fields": 4, "field_px": 3000, "area_deg2": 0.01, "above": 3}
    (tmp_path / "lensflow" / "fields.json").write_text(json.dumps(counted))
    check_counted(ComparisonSettings(fields=4), tmp_path)
    with pytest.raises(InputError, match="counted with fields = 4, now 8"):
        check_counted(ComparisonSettings(fields=8), tmp_path)


def test_lenses_are_in_the_green_box_on_the_left(tmp_path):
    from lensweep.training.comparison.sheets import draw_classes

    draw_classes(toy_stamps(), tmp_path / "sheet.png", 1)
    picture = imread(tmp_path / "sheet.png")[..., :3]
    middle = picture.shape[1] // 2
    greener = (picture[..., 1] - picture[..., 0] > 0.3)[:, :middle].sum()
    redder = (picture[..., 0] - picture[..., 1] > 0.3)[:, middle:].sum()
    assert min(greener, redder) > 1000
    assert (picture[..., 1] - picture[..., 0] > 0.3)[:, middle:].sum() == 0


def test_real_images_are_cut_as_the_manifest_says(real_data):
    stamps = read_real_stamps(real_data)
    assert stamps.flux.shape[1:] == (100, 100)
    assert (stamps.truth["label"] == "nonlens").sum() == 12
    assert np.isfinite(stamps.flux).any(axis=(1, 2)).all()


def test_a_manifest_without_its_columns_is_refused(tmp_path):
    (tmp_path / "MANIFEST.csv").write_text("file,object\nx.fits,x\n")
    with pytest.raises(InputError, match=r"lacks filter, label, .*; it has file, object"):
        read_real_stamps(tmp_path)


def test_the_command_prints_its_page(tmp_path, command):
    write_toy_set(tmp_path / "set", 40)
    asked = ("compare", tmp_path / "set", "--out", tmp_path / "out", "--folds", 2, "--finders")
    status, said = command(*asked, "gaussian-mixture")
    assert status == 0
    assert "| gaussian-mixture | Williams et al. 2017 | 2 |" in said
    assert f"wrote {tmp_path / 'out' / 'results.md'}\n" in said
    status, said = command(*asked, "gaussian-mixtures")
    assert status == 2
    assert "finders gaussian-mixtures: not among gaussian-mixture, kernel-pca-trees" in said


def test_a_comparison_from_a_folder_to_a_page_with_fields(client, tmp_path):
    """Augmented first by the thesis' protocol, each network counted on a field."""
    write_toy_set(tmp_path / "set", 48)
    settings = ComparisonSettings(
        ("lensflow", "vgg16-xavier"), epochs=1, input_px=32, folds=2, protocol="thesis",
        augmented_lenses=40, augmented_others=36, fields=1, field_px=600,
    )  # fmt: skip
    page = compare(
        settings, tmp_path / "set", tmp_path / "out", lambda: nullcontext(client), progress()
    )
    assert "40 lenses and 36 others in 2 folds" in page.read_text()
    table = pd.read_parquet(tmp_path / "out" / "finders.parquet").set_index("finder")
    for name in settings.finders:
        counted = json.loads((tmp_path / "out" / name / "fields.json").read_text())
        # Less than the field's square: its edges and gaps have no data.
        assert 0.6 < counted["area_deg2"] / (600 * 0.05 / 3600) ** 2 < 1.0
        assert table.loc[name, "false_per_deg2"] == pytest.approx(
            counted["above"] / counted["area_deg2"]
        )
        assert table.loc[name, "false_per_deg2_low"] <= table.loc[name, "false_per_deg2"]
    made = json.loads((tmp_path / "out" / "vgg16-xavier" / "parameters.json").read_text())
    # What was augmented beforehand is not changed again.
    assert made["augment"] is False
    # Stopped while fields were scanned: whatever was built meanwhile, the survey goes on.
    (tmp_path / "out" / "lensflow" / "fields.json").unlink()
    keras.layers.Conv2D(1, 1)
    with pytest.raises(InputError, match="holds fitted; name a new folder"):
        write_finder_bundle(tmp_path / "out" / "lensflow", {"one": MixtureFinder()}, np.ones(4), {})
    again = compare(
        settings, tmp_path / "set", tmp_path / "out", lambda: nullcontext(client), progress()
    )
    assert again == page
    assert (tmp_path / "out" / "lensflow" / "fields.json").is_file()


def test_a_folder_of_something_else_is_refused_and_a_refusal_takes_no_folder(tmp_path):
    write_toy_set(tmp_path / "set", 40)
    stamps = read_stamps(tmp_path / "set")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="folds"):
        open_comparison(ComparisonSettings(("gaussian-mixture",), folds=60), stamps, out)
    asked = ComparisonSettings(("gaussian-mixture",), folds=2)
    open_comparison(asked, stamps, out)
    with pytest.raises(InputError, match=r"holds cutouts\.zarr and no comparison\.json"):
        open_comparison(asked, stamps, tmp_path / "set")
    few = dataclasses.replace(stamps, labels=np.arange(len(stamps.labels)) < 3)
    with pytest.raises(InputError, match=r"\d lenses and \d+ others to learn from without fold"):
        open_comparison(asked, few, tmp_path / "few")
    assert not any((tmp_path / "few").iterdir())


def write_manifest(folder, *rows, header="file,object,filter,label,pixel_scale_arcsec"):
    """A folder of real images, of one that is there."""
    folder.mkdir(exist_ok=True)
    flux, _ = draw_toy(1, 30)
    fits.PrimaryHDU(flux[0]).writeto(folder / "a.fits", overwrite=True)
    (folder / "MANIFEST.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_an_object_may_be_called_by_a_number_and_other_pixels_are_another_comparison(tmp_path):
    folder = write_manifest(tmp_path / "real", "a.fits,1000,F814W,Lens,0.05")
    real = read_real_stamps(folder)
    assert real.truth.to_dict("list") == {"object": ["1000"], "label": ["lens"]}
    write_toy_set(tmp_path / "set", 40)
    stamps = read_stamps(tmp_path / "set")
    asked = ComparisonSettings(("gaussian-mixture",), folds=2, stamps=str(folder))
    open_comparison(asked, stamps, tmp_path / "out")
    fits.PrimaryHDU(np.random.default_rng(1).random((100, 100), np.float32)).writeto(
        folder / "a.fits", overwrite=True
    )
    with pytest.raises(InputError, match="were made with stamps_sha256"):
        open_comparison(asked, stamps, tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",x,F814W,lens,0.05", r"row 0 \(counted from 0\) names no file"),
        ("a.fits,x,F814W,lens,0.05 arcsec", "row 0 .* pixel_scale_arcsec = '0.05 arcsec' is no"),
        ("a.fits,x,F814W,lens,-1", "pixel_scale_arcsec = -1.0: must lie within"),
        ("a.fits,x,F814W,,0.05", "no image in F814W is labelled lens or nonlens"),
        ("a.fits,x,f814w,lens,0.05", "no image in F814W; its filters are f814w"),
        ("gone.fits,x,F814W,lens,0.05", "row 0 .*gone.fits"),
    ],
)
def test_a_manifest_that_cannot_be_used_names_its_row(tmp_path, row, said):
    with pytest.raises(InputError, match=said):
        read_real_stamps(write_manifest(tmp_path / "real", row))


def test_an_empty_manifest_and_one_of_other_letters_are_refused(tmp_path):
    for bytes_ in (b"", "file\xe9".encode("latin-1")):
        (tmp_path / "MANIFEST.csv").write_bytes(bytes_)
        with pytest.raises(InputError, match="not readable as CSV in UTF-8"):
            read_real_stamps(tmp_path)
