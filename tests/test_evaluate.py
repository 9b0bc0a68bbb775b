"""What is written about scores: tables, page and pictures, from numbers made up here."""

import dataclasses
import io
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.evaluation.evaluate import evaluate, open_evaluation
from lensweep.training.evaluation.report import write_report
from lensweep.training.evaluation.result_tables import (
    ENSEMBLE,
    Evaluation,
    fold_table,
    passed_table,
    pooled_table,
    score_table,
    thesis_table,
)
from lensweep.training.fit.bundle import Scores, measure_all
from lensweep.training.fit.merge_bundles import join_scores

N = 600


def made_up(seed, good=1.5):
    """Truth and logits of three members: lenses are drawn `good` sigma above the others."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 2 == 0
    truth = pd.DataFrame(
        {
            "is_lens": labels,
            "kind": np.where(labels, "lensed_galaxy", np.where(rng.random(N) < 0.5, "a", "b")),
            "theta_e_arcsec": np.where(labels, rng.uniform(0.3, 2.5, N), np.nan),
            "source_magnitude": np.where(labels, rng.uniform(22.0, 26.5, N), np.nan),
        }
    )
    return truth, rng.normal(good * labels[:, None], 1.0, (N, 3))


@pytest.fixture(scope="module")
def scores():
    truth, logits = made_up(1)
    held_out, out_of_fold = made_up(2)
    held_out = held_out.assign(fold=np.arange(N) % 3, vgg16=out_of_fold[:, 0])
    names = ("vgg16-fold0", "vgg16-fold1", "vgg16-fold2")
    return Scores(held_out, truth.join(pd.DataFrame(logits, columns=names)), {"vgg16": names})


@pytest.fixture(scope="module")
def evaluation(scores):
    names = scores.members["vgg16"]
    description = Description(
        name="made-up", trunks=(Trunk("vgg16", names),), stretch=Stretch(), band="F814W",
        pixel_scale_arcsec=0.05, cutout_size=100,
        thresholds={}, metrics=measure_all(scores),
        training={"protocol": "thesis", "init": "imagenet", "trainable": "head",
                  "leak": {"held_out_with_a_copy_in_training": 0.93}},
    )  # fmt: skip
    truth = scores.test.drop(columns=list(names))
    return Evaluation(description, "made-up cutouts", truth, scores.test[list(names)].to_numpy())


def test_the_committee_beats_its_members_with_and_without_cuts(evaluation):
    table = score_table(evaluation)
    assert len(table) == 8
    for cuts, rows in table.groupby("cuts"):
        ensemble = rows[rows["scorer"] == ENSEMBLE]["roc_auc"].item()
        assert ensemble > rows[rows["scorer"] != ENSEMBLE]["roc_auc"].max()
        assert (rows["n_lenses"].nunique(), rows["n_lenses"].iloc[0] < 300) == (1, bool(cuts))
    assert (table["tpr_at_0.01_low"] <= table["tpr_at_0.01"]).all()
    assert (table["tpr_at_0.01"] <= table["tpr_at_0.01_high"]).all()


def test_folds_have_mean_and_standard_deviation(evaluation):
    table = fold_table(evaluation.description).set_index("fold")
    folds = table.loc[["0", "1", "2"], "roc_auc"].astype(float)
    assert table.loc["mean", "roc_auc"] == pytest.approx(folds.mean())
    assert table.loc["std", "roc_auc"] == pytest.approx(folds.std(ddof=1))
    assert set(table["backbone"]) == {"vgg16"}


def test_all_folds_together_with_and_without_cuts(evaluation):
    table = pooled_table(evaluation.description)
    assert table["cuts"].tolist() == [False, True]
    assert table["n_lenses"].iloc[0] == 300 > table["n_lenses"].iloc[1] > 100


def test_the_table_of_the_thesis_has_its_numbers_and_ours(evaluation):
    table = thesis_table([evaluation.description]).set_index("backbone")
    assert len(table) == 6
    assert table.loc["xception", ["roc_auc", "f1"]].tolist() == [0.9984, 0.9895]
    assert np.isnan(table.loc["xception", "our_roc_auc"])
    folds = fold_table(evaluation.description).set_index("fold")
    assert table.loc["vgg16", "our_roc_auc"] == folds.loc["mean", "roc_auc"]
    assert table.loc["vgg16", "our_f1_std"] == folds.loc["std", "f1"]
    assert table.loc["vgg16", "our_protocol"] == "thesis, imagenet, head"


def test_one_in_a_hundred_non_lenses_passes_its_threshold(evaluation):
    table = passed_table(evaluation).set_index(["by", "value"])
    others = table.loc[[("kind", "a"), ("kind", "b")]]
    assert (others["above_0.01"] * others["n"]).sum() == pytest.approx(3.0)
    sizes = table.loc["theta_e_arcsec"]
    assert sizes["n"].sum() == 300


def test_the_page_says_it_all_and_the_pictures_show_it(evaluation, tmp_path):
    curves = pd.DataFrame(
        {"stage": "heads", "member": "member-0", "epoch": [1.0, 2.0], "loss": [0.7, 0.6],
         "held_out_loss": [0.7, 0.65], "held_out_auc": [0.6, 0.7]}
    )  # fmt: skip
    page = write_report(evaluation, tmp_path / "out", curves).read_text()
    for part in ("made-up on made-up cutouts", "300 lenses and 300 others", "ensemble, with cuts",
                 "99.84%", "93.0% of the held-out cutouts", "lensed_galaxy"):  # fmt: skip
        assert part in page
    for name in ("scores", "folds", "pooled", "passed", "table_5_1"):
        assert len(pd.read_parquet(tmp_path / "out" / f"{name}.parquet"))
    for name in ("roc", "learning_curves"):
        picture = imread(tmp_path / "out" / f"{name}.png")
        assert picture.shape[0] > 300
        # More than an empty frame.
        assert (picture[..., :3].min(axis=2) < 0.5).mean() > 0.005


def test_rates_of_less_than_one_false_positive_are_left_out(evaluation, tmp_path):
    # 300 non-lenses: three of them are 1 %, and none is 0.1 %.
    for table in (score_table(evaluation), pooled_table(evaluation.description)):
        assert table["tpr_at_0.01"].notna().all()
        assert table["tpr_at_0.001"].isna().all()
    folds = fold_table(evaluation.description)
    assert folds[["tpr_at_0.001", "tpr_at_0.001_high"]].isna().all(axis=None)
    page = write_report(evaluation, tmp_path / "out").read_text()
    assert "nan" not in page
    (row,) = (line for line in page.splitlines() if line.startswith("| vgg16 | mean |"))
    assert row.split("|")[6].strip() == ""
    assert row.split("|")[7].strip() != ""


def test_the_leak_of_a_merged_ensemble_is_told(evaluation, tmp_path):
    of_trunk = evaluation.description.training
    merged = {"merged": {"vgg16": of_trunk, "xception": {"protocol": "thesis"}}}
    description = dataclasses.replace(evaluation.description, training=merged)
    page = write_report(dataclasses.replace(evaluation, description=description), tmp_path / "out")
    assert "* vgg16: augmented first, split after: 93.0% of the held-out" in page.read_text()


def test_scores_of_several_trunks_stand_side_by_side(scores):
    more = Scores(
        scores.out_of_fold.rename(columns={"vgg16": "xception"}),
        scores.test.rename(columns=lambda name: name.replace("vgg16", "xception")),
        {"xception": tuple(f"xception-fold{fold}" for fold in range(3))},
    )
    joined = join_scores([scores, more])
    assert np.allclose(joined.ensemble, scores.ensemble)
    assert set(measure_all(joined)["folds"]) == {"vgg16", "xception"}


def test_a_bundle_is_measured_on_the_cluster(tiny_bundle, client, tmp_path):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    make_dataset(tmp_path / "set", 24, 5, client, progress)
    asked = open_evaluation(str(tiny_bundle), tmp_path / "set", tmp_path / "out")
    page = evaluate(asked, client, progress)
    assert "tiny-3fold on" in page.read_text()
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("scorer")
    examples = open_examples(tmp_path / "set")
    logits = Ensemble(check_bundle(str(tiny_bundle)), precision="full").logits(
        read_flux(examples.store, np.arange(24))
    )
    others = logits.mean(axis=1)[~examples.labels]
    found = (logits.mean(axis=1)[examples.labels] > others.max()).mean()
    first = table[~table["cuts"]].loc[ENSEMBLE, "tpr_before_first"]
    assert first == pytest.approx(found)


def test_a_bundle_alone_needs_cutouts_and_a_place(tiny_bundle, client, tmp_path):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    with pytest.raises(InputError, match="give --data"):
        evaluate(open_evaluation(str(tiny_bundle), None, tmp_path), client, progress)
    with pytest.raises(InputError, match="simulate, collect or mine"):
        evaluate(open_evaluation(str(tiny_bundle), tmp_path / "absent", tmp_path), client, progress)
