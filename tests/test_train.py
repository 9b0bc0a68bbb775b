"""The whole training, tiny: a toy of a network on 32 pixels, random weights, a hundred cutouts."""

import dataclasses
import functools
import json
import resource
import shutil
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
import pandas as pd
import pytest
from test_examples import write_set
from toy_networks import TOYS

from lensweep.__main__ import main
from lensweep.ground.errors import InputError
from lensweep.ground.progress import open_progress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.looks import first_looks, turned_looks
from lensweep.scanner.network.networks import load_network
from lensweep.scanner.network.noise import measure_noise
from lensweep.scanner.network.second_look import TURNS
from lensweep.scanner.run import cutout_store
from lensweep.scanner.work.tasks import ensemble_once, load_ensemble
from lensweep.training import train as module
from lensweep.training.data.examples import open_examples
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.evaluation.evaluate import evaluate, open_evaluation
from lensweep.training.evaluation.report import read_curves
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.classifier import PREPROCESSING, build_trunk, round_kernels, split_trunk
from lensweep.training.fit.config import PRESETS, TrainConfig, choose_config, read_config
from lensweep.training.fit.cross_validation import ready_trunk
from lensweep.training.fit.merge_bundles import merge_bundles
from lensweep.training.train import claim, prepare_sets, train

with patch.dict(BACKBONES, TOYS):
    TINY = TrainConfig(
        name="tiny", seed=3, backbone="toy", init="random", input_size=32, stem="fixed",
        trainable="last-1", n_adapt=64, adapt_epochs=1, adapt_learning_rate=1e-3, n_train=42,
        n_test=20, n_folds=3, dropout=0.3, head_epochs=4, head_learning_rate=1e-3, screen_epochs=1,
        second_look=0.0,
    )  # fmt: skip
    # One network per fold, with a stem of its own; copies of one object on both sides of a split.
    THESIS = dataclasses.replace(
        TINY, name="thesis", trainable="head", stem="learned", n_adapt=0, n_folds=2,
        second_look=None, screen_epochs=0, protocol="thesis", augmentation="thesis",
        augmented_lenses=70, augmented_others=66,
    )  # fmt: skip
    TWO_ROUNDS = dataclasses.replace(TINY, adapt_rounds=2)


@pytest.fixture(scope="module", autouse=True)
def _toy_networks():
    """What is trained here but once: the work about a network is the same about a small one."""
    with patch.dict(BACKBONES, TOYS):
        yield


def with_sets_of(other, workdir, *names):
    """A folder in which the same cutouts as in another one are drawn already."""
    for name in names:
        shutil.copytree(other / name, workdir / name)
    return workdir


def train_here(config, workdir, client):
    with open_progress(False) as progress:
        return train(config, workdir, client, progress)


@pytest.fixture(scope="module")
def trained(client, tmp_path_factory):
    return train_here(TINY, tmp_path_factory.mktemp("training"), client)


@pytest.fixture(scope="module")
def thesis(trained, client, tmp_path_factory):
    workdir = with_sets_of(trained.parent, tmp_path_factory.mktemp("thesis"), "train", "test")
    return train_here(THESIS, workdir, client)


@pytest.fixture(scope="module")
def two_rounds(trained, client, tmp_path_factory):
    """A folder with the cutouts of two rounds of adapting, and these."""
    sets = ("adapt", "train", "test")
    workdir = with_sets_of(trained.parent, tmp_path_factory.mktemp("rounds"), *sets)
    with open_progress(False) as progress:
        return workdir, prepare_sets(TWO_ROUNDS, workdir, client, progress)


@functools.cache
def loaded(folder):
    """An ensemble, with its screen if it has one."""
    bundle = check_bundle(str(folder))
    screen = "on" if bundle.description.screen else "off"
    return Ensemble(bundle, precision="full", screen=screen)


def logits_of(bundle, workdir):
    flux = cutout_store.read_column(workdir / "test" / "cutouts.zarr", "flux")
    return loaded(bundle).logits(flux)


def measured_by(bundle):
    """Logits of the test set as a training measured them, a column a member."""
    members = check_bundle(str(bundle)).description.members
    return pd.read_parquet(bundle.parent / "test_scores.parquet")[list(members)].to_numpy()


@pytest.mark.parametrize("which", ["trained", "thesis"])
def test_scores_of_the_bundle_are_those_that_were_measured(which, request):
    bundle = request.getfixturevalue(which)
    logits = logits_of(bundle, bundle.parent)
    assert logits.shape == (20, 3 if which == "trained" else 2)
    assert np.allclose(logits, measured_by(bundle), rtol=1e-3, atol=1e-3)
    mean = pd.read_parquet(bundle.parent / "test_scores.parquet")["logit_mean"]
    assert np.allclose(logits.mean(axis=1), mean, rtol=1e-3, atol=1e-3)


def test_every_cutout_is_scored_by_the_member_that_has_not_seen_it(trained):
    table = pd.read_parquet(trained.parent / "out_of_fold.parquet")
    assert len(table) == 42
    flux = cutout_store.read_column(trained.parent / "train" / "cutouts.zarr", "flux")
    (trunk,) = loaded(trained)._trunks
    shown = turned_looks(first_looks(flux, measure_noise(flux)), range(TURNS))
    looks = trunk.look(shown).reshape(TURNS, len(flux), -1)
    own = looks[:, np.arange(42), table["fold"]]
    promising = own[0] >= 0.0
    assert 0 < promising.sum() < 42
    expected = np.where(promising, own.mean(axis=0), own[0])
    assert np.allclose(expected, table["toy"], rtol=1e-3, atol=1e-3)
    assert not np.allclose(looks[0, :, 0], table["toy"], atol=1e-3)


def test_a_finished_training_repeats_nothing(trained, client):
    files = [trained / "ensemble.json", trained.parent / "trunks" / "toy.keras"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    train_here(TINY, trained.parent, client)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_a_half_trained_run_continues_with_what_is_finished(trained, client):
    workdir = trained.parent
    first, lost = (workdir / "folds" / f"member-{fold}.npz" for fold in (0, 1))
    kept, weights = first.stat().st_mtime_ns, np.load(lost)["weights"]
    scores = pd.read_parquet(workdir / "test_scores.parquet")
    lost.unlink()
    (trained / "ensemble.json").unlink()
    features = workdir / "features" / "toy" / "train-1.zarr" / "c" / "0" / "0"
    features.unlink()
    train_here(TINY, workdir, client)
    assert first.stat().st_mtime_ns == kept
    assert np.allclose(np.load(lost)["weights"], weights, rtol=1e-3, atol=1e-4)
    again = pd.read_parquet(workdir / "test_scores.parquet")
    assert np.allclose(again["logit_mean"], scores["logit_mean"], rtol=1e-3, atol=1e-3)


def test_another_config_in_the_same_folder_is_refused(trained, client):
    with pytest.raises(InputError, match="another config \\(seed was 3, now 4\\)"):
        train_here(dataclasses.replace(TINY, seed=4), trained.parent, client)


def test_adapting_changes_the_last_block_only(trained):
    before = build_trunk(TINY)
    after = keras.models.load_model(trained.parent / "trunks" / "toy.keras", compile=False)
    frozen, _ = split_trunk(before, TINY)
    low = {layer.name for layer in frozen.layers}
    moved = set()
    for old, new in zip(before.layers, after.layers, strict=True):
        for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
            rounded = one.astype(np.float16).astype(np.float32) if one.ndim == 4 else one
            if not np.array_equal(rounded, other):
                moved.add(old.name)
    assert moved == {"block3_conv"}
    assert not moved & low


def test_every_fold_of_the_thesis_has_a_stem_of_its_own(thesis):
    trunks = [load_network(thesis, f"toy-fold{fold}") for fold in range(2)]
    stems = [trunk.get_layer("stem").get_weights()[0] for trunk in trunks]
    assert not np.array_equal(stems[0], stems[1])
    same = [trunk.get_layer("block3_conv").get_weights()[0] for trunk in trunks]
    assert np.array_equal(same[0], same[1])
    assert trunks[0].get_layer(PREPROCESSING).get_weights()[0][0, 0, 0, 2] == 127.5


def test_the_leak_of_the_thesis_protocol_is_told(thesis):
    leak = check_bundle(str(thesis)).description.training["leak"]
    assert 0.5 < leak["held_out_with_a_copy_in_training"] <= 1.0
    page = (thesis.parent / "evaluation" / "results.md").read_text()
    assert "have a copy of the same object in training" in page


def test_the_same_heads_without_the_leak_are_measured_beside(thesis, client, tmp_path):
    config = dataclasses.replace(
        THESIS, stem="fixed", head_epochs=2, n_test=4, data=str(thesis.parent)
    )
    bundle = train_here(config, tmp_path, client)
    leak = check_bundle(str(bundle)).description.training["leak"]
    assert leak["leaking"]["n_lenses"] == leak["grouped"]["n_lenses"] == 70
    assert leak["leaking"] != leak["grouped"]


def test_the_screen_comes_with_the_bundle(trained):
    bundle = check_bundle(str(trained))
    assert bundle.description.screen is not None
    assert bundle.description.screen.metrics["found_lenses_passed"] >= 0.99
    flux = cutout_store.read_column(trained.parent / "train" / "cutouts.zarr", "flux")
    screened = loaded(trained).screen_logits(flux)
    passed = (screened >= bundle.description.screen.threshold).mean()
    metrics = bundle.description.screen.metrics
    expected = (metrics["lenses_passed"] + metrics["others_passed"]) / 2
    assert passed == pytest.approx(expected, abs=0.03)


def test_curves_of_all_that_was_trained(trained):
    curves = read_curves(trained.parent)
    assert set(curves["stage"]) == {"adapting", "screen", "heads"}
    heads = curves[curves["stage"] == "heads"]
    assert len(heads) == 3 * TINY.head_epochs
    assert heads["held_out_auc"].between(0.0, 1.0).all()
    assert np.isfinite(curves["loss"]).all()


def test_evaluating_the_folder_gives_what_the_training_gave(trained, client, tmp_path):
    ensemble_once.cache_clear()
    with open_progress(False) as progress:
        evaluate(open_evaluation(str(trained.parent), None, tmp_path), client, progress)
    ours = pd.read_parquet(tmp_path / "scores.parquet")
    theirs = pd.read_parquet(trained.parent / "evaluation" / "scores.parquet")
    assert ours["scorer"].tolist() == theirs["scorer"].tolist()
    assert np.allclose(ours["roc_auc"], theirs["roc_auc"], atol=0.02)
    bundle = check_bundle(str(trained))
    assert load_ensemble(Scoring(bundle.folder, bundle.sha256, "full", "off")) is not None


def test_merged_bundles_score_with_the_members_of_all(trained, client, tmp_path):
    more = dataclasses.replace(
        TINY, backbone="toy-wide", trainable="head", n_adapt=0, screen_epochs=0,
        data=str(trained.parent),
    )  # fmt: skip
    other = train_here(more, tmp_path / "wide", client)
    merged = merge_bundles([trained.parent, other.parent], tmp_path / "both", "both")
    bundle = check_bundle(str(merged))
    assert [trunk.name for trunk in bundle.description.trunks] == ["toy", "toy-wide"]
    expected = np.concatenate([measured_by(one) for one in (trained, other)], axis=1)
    assert np.allclose(logits_of(merged, trained.parent), expected, rtol=1e-3, atol=1e-3)
    assert set(bundle.description.metrics["folds"]) == {"toy", "toy-wide"}


def test_only_trainings_on_the_same_cutouts_are_merged(trained, thesis, tmp_path):
    with pytest.raises(InputError, match="n_folds = 2, but 3"):
        merge_bundles([trained.parent, thesis.parent], tmp_path / "both", "both")
    with pytest.raises(InputError, match="toy, toy: each may be there once"):
        merge_bundles([trained.parent, trained.parent], tmp_path / "both", "both")
    with pytest.raises(InputError, match="run lensweep train there first"):
        merge_bundles([trained.parent, tmp_path], tmp_path / "both", "both")


def test_a_trunk_goes_on_with_what_its_ensemble_is_most_wrong_about(trained, client, tmp_path):
    workdir = with_sets_of(trained.parent, tmp_path / "further", "adapt", "train", "test")
    config = dataclasses.replace(TINY, init="bundle", weights=str(trained), adapt_hardest=40)
    with open_progress(False) as progress:
        sets = prepare_sets(config, workdir, client, progress)
    (hard,), (drawn,) = sets.adapt[0], sets.screen
    # 40, and half as many of the rest: 20 of 24.
    assert len(hard) == 60
    assert hard.folder == workdir / "hard-1"
    assert len(drawn) == 64
    kept = set(hard.truth["row"])
    assert len(kept) == 60
    assert kept < set(range(64))


def test_cutouts_may_be_given_instead_of_simulated(trained, client, tmp_path):
    config = dataclasses.replace(
        TINY, data=str(trained.parent), trainable="head", n_adapt=0, screen_epochs=0, n_train=30,
        adapt_also=(),
    )  # fmt: skip
    bundle = train_here(config, tmp_path, client)
    assert not (tmp_path / "train").exists()
    assert len(pd.read_parquet(tmp_path / "out_of_fold.parquet")) == 30
    assert json.loads((tmp_path / "config.json").read_text())["data"] == str(trained.parent)
    assert check_bundle(str(bundle)).description.training["cutouts"] == str(trained.parent)


def test_a_training_without_a_screen_keeps_its_ensembles(trained, client, tmp_path):
    config = dataclasses.replace(
        TINY, init="bundle", weights=str(trained), data=str(trained.parent), trainable="head",
        n_adapt=0, screen_epochs=0, adapt_also=(),
    )  # fmt: skip
    bundle = train_here(config, tmp_path, client)
    with np.load(bundle / "screen.npz") as found, np.load(trained / "screen.npz") as theirs:
        assert found.files == theirs.files
        for name in theirs.files:
            np.testing.assert_array_equal(found[name], theirs[name])
    # Chosen anew, and not in use before somebody has vetted it.
    screen = check_bundle(str(bundle)).description.screen
    assert np.isfinite(screen.threshold)
    assert not screen.on_by_default
    assert screen.metrics["found_lenses_passed"] >= 0.995


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_folds": 1}, "n_folds = 1: must lie within 2 and 100"),
        ({"n_train": 5}, "two cutouts or more"),
        ({"head_epochs": 0}, "head_epochs = 0"),
        ({"n_adapt": 10}, "n_adapt = 10"),
        ({"n_adapt": -1}, "n_adapt = -1: must lie within 0 and"),
        ({"adapt_epochs": 0}, "adapt_epochs = 0"),
        ({"backbone": "alexnet"}, "'alexnet': not one of xception"),
        ({"stem": "none"}, "not one of fixed, learned"),
        ({"protocol": "random"}, "not one of grouped, thesis"),
        ({"trainable": "last"}, "not head, all or last-N"),
        # NASNet cannot be cut; VGG16 not everywhere.
        ({"backbone": "vgg16", "trainable": "last-9"}, "can be cut at last-1, last-2, last-3"),
        ({"backbone": "nasnetmobile"}, "head and all only"),
        ({"backbone": "xception", "trainable": "head"}, "needs 71 pixels or more"),
        ({"protocol": "thesis", "second_look": None}, "augments before it splits"),
        ({"n_adapt": 0, "screen_epochs": 0}, "second_look = 0.0: is for folds that share a trunk"),
        ({"second_look": float("nan")}, "second_look = nan: must be a finite number"),
        ({"second_look": "high"}, "second_look = 'high': must be a number"),
        (
            {"protocol": "thesis", "augmented_lenses": 9, "augmented_others": 9},
            "second_look = 0.0: not with protocol thesis",
        ),
        ({"augmented_lenses": 5}, "both or neither"),
        ({"init": "file"}, "needs weights, a path, and weights_sha256"),
        ({"weights": "x.h5"}, "drop one of them"),
        ({"n_adapt": 0}, "screen_epochs without n_adapt"),
        ({"n_adapt": 0, "adapt_rounds": 2}, "adapt_rounds = 2: needs n_adapt"),
        ({"adapt_hardest": 20}, "adapt_hardest = 20: an ensemble tells what is hard"),
        ({"init": "bundle", "weights": "x", "adapt_hardest": 99}, "n_adapt = 64 is less"),
        ({"adapt_rounds": 0}, "adapt_rounds = 0: must lie within 1 and"),
        # What a TOML file may hold: each was found only by Keras, after all cutouts were drawn.
        ({"n_train": "x"}, "n_train = 'x': must be a whole number"),
        ({"n_train": 42.0}, r"n_train = 42\.0: must be a whole number"),
        ({"n_test": 0}, "n_test = 0: must lie within 1 and"),
        ({"seed": True}, "seed = True: must be a whole number"),
        ({"seed": -1}, "seed = -1: must lie within 0 and"),
        ({"dropout": 2}, "dropout = 2: must lie within 0 and 0.99"),
        ({"dropout": "half"}, "dropout = 'half': must be a number"),
        ({"head_learning_rate": 0.0}, "head_learning_rate = 0"),
        ({"adapt_learning_rate": float("inf")}, "adapt_learning_rate = inf: must be a finite"),
        ({"hard_weight": 0}, "hard_weight = 0"),
        ({"input_size": -32}, "input_size = -32"),
        ({"backbone": 7}, "backbone = 7: must be text"),
        ({"data": 3}, "data = 3: must be text"),
        ({"adapt_also": "mined"}, "adapt_also = 'mined': must be a list of names"),
        ({"adapt_also": (1,)}, "must be a list of names"),
        # It is a folder's name.
        ({"name": "../elsewhere"}, "name = '../elsewhere': must be letters, digits"),
        ({"name": ""}, "name = ''"),
    ],
)
def test_unfit_configs_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TINY, **changes)


def test_presets_and_files(tmp_path):
    assert choose_config("xception-7fold", None).name == "xception-7fold"
    assert choose_config("thesis-vgg19", None, weights="v.h5").weights == "v.h5"
    with pytest.raises(InputError, match="either --preset or --config"):
        choose_config(None, None)
    with pytest.raises(InputError, match=r"not one of .*xception-7fold"):
        choose_config("absent", None)
    bad = tmp_path / "bad.toml"
    for text, message in (
        ("name = 'x'\nflavour = 3\n", r"bad\.toml: unknown keys flavour; known are adapt_also"),
        ("name = 'x'\nseed = 1\n", r"bad\.toml: lacks backbone, .* needed are name, seed, back"),
        ("name = x\n", r"bad\.toml: not TOML"),
    ):
        bad.write_text(text)
        with pytest.raises(InputError, match=message):
            choose_config(None, bad)
    with pytest.raises(InputError, match=r"absent\.toml: cannot be read"):
        choose_config(None, tmp_path / "absent.toml")


def test_every_preset_is_fit():
    for path in PRESETS.glob("*.toml"):
        assert read_config(path).name == path.stem


def test_weights_are_asked_for_before_anything_is_simulated(client, tmp_path):
    config = dataclasses.replace(TINY, init="imagenet", weights=str(tmp_path / "absent.h5"))
    with pytest.raises(InputError, match="no such file"):
        train_here(config, tmp_path / "work", client)
    assert not (tmp_path / "work").exists()


def test_hard_negatives_alone_are_a_set_to_adapt_on(trained, client, tmp_path):
    truth = pd.DataFrame({"kind": ["mined"] * 8, "is_lens": [False] * 8})
    negatives = write_set(tmp_path / "mined", truth)
    config = dataclasses.replace(TINY, data=str(trained.parent), adapt_also=(str(negatives),))
    with open_progress(False) as progress:
        sets = prepare_sets(config, tmp_path, client, progress)
        assert [len(one) for one in sets.adapt[0]] == [64, 8]
        alone = dataclasses.replace(config, n_adapt=0, screen_epochs=0, second_look=None)
        with pytest.raises(InputError, match="all 8 cutouts are non-lenses"):
            prepare_sets(alone, tmp_path, client, progress)


def test_a_second_round_goes_on_from_the_first_even_after_a_stop(trained, tmp_path):
    first = open_examples(trained.parent / "adapt", 64)
    second = open_examples(trained.parent / "train", 42)
    absent = dataclasses.replace(second, folder=tmp_path / "absent")

    def weights(rounds, workdir):
        with open_progress(False) as progress:
            path = ready_trunk("toy", TWO_ROUNDS, rounds, None, workdir, progress)
        return keras.models.load_model(path, compile=False).get_weights()

    twice = weights([[first], [second]], tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        weights([[first], [absent]], tmp_path / "b")
    (ended,) = (tmp_path / "b" / "adapting").glob("*/ended.keras")
    once = keras.models.load_model(ended, compile=False)
    round_kernels(once)
    # With what the first round left: the set that is absent now is not needed any more.
    again = weights([[absent], [second]], tmp_path / "b")
    assert all(map(np.array_equal, again, twice))
    assert not all(map(np.array_equal, once.get_weights(), twice))
    curves = read_curves(tmp_path / "b")
    assert set(curves["member"]) == {"toy", "toy-2"}
    assert not list((tmp_path / "b" / "adapting").glob("*/ended*"))


def test_cutouts_of_every_round_are_drawn_anew(two_rounds):
    (first,), (second,) = two_rounds[1].adapt
    assert len(first) == len(second) == 64
    assert first.fingerprint != second.fingerprint


def test_later_rounds_are_simulated_while_a_gpu_trains(two_rounds, client, tmp_path, monkeypatch):
    """Nothing that comes before the second round waits for it."""
    waited, asked = threading.Event(), threading.Event()
    with_sets_of(two_rounds[0], tmp_path, "adapt", "adapt-2", "train", "test")

    def held(folder, *args):
        if folder.name == "adapt-2":
            assert asked.wait(120)
            waited.set()
        make_dataset(folder, *args)

    monkeypatch.setattr(module, "on_gpu", lambda: True)
    monkeypatch.setattr(module, "make_dataset", held)
    with open_progress(False) as progress:
        sets = prepare_sets(TWO_ROUNDS, tmp_path, client, progress)
        assert len(sets.adapt) == 2
        assert len(sets.adapt[0][0]) == len(open_examples(tmp_path / "adapt", 64))
        assert not waited.is_set()
        asked.set()
        (second,) = sets.adapt[1]
    assert waited.is_set()
    assert second.fingerprint != sets.adapt[0][0].fingerprint


def test_a_full_disk_leaves_no_half_config_behind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            claim(tmp_path, TINY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    claim(tmp_path, TINY)


def test_the_modes_of_the_thesis_are_a_flag_apart(monkeypatch, capsys, tmp_path):
    frozen = choose_config("thesis-xception", None)
    assert (frozen.init, frozen.trainable) == ("imagenet", "head")
    assert choose_config("thesis-xception", None, trainable="all").last_blocks is None
    xavier = choose_config("xception-3rounds", None, init="random", trainable="all")
    assert (xavier.init, xavier.weights, xavier.weights_sha256) == ("random", "", "")
    command = ["lensweep", "train", str(tmp_path / "work"), "--preset", "thesis-xception"]
    for flags, message in (
        (["--trainable", "last-99"], "xception can be cut at"),
        (["--init", "random", "--weights", "w.h5"], "init = 'random' with weights = 'w.h5'"),
        (["--init", "zeros"], "init = 'zeros': not one of imagenet, random, file"),
    ):
        monkeypatch.setattr(sys, "argv", command + flags)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_the_smallest_config_of_the_documentation_works(command, client, tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    toml = page.split("```toml\n")[1].split("```")[0]
    (tmp_path / "smallest.toml").write_text(toml)
    status, shown = command(
        "train", tmp_path / "work", "--config", tmp_path / "smallest.toml",
        "--cluster", client.scheduler.address,
    )  # fmt: skip
    assert status in (0, None), shown
    assert len(check_bundle(str(tmp_path / "work" / "smallest")).description.members) == 2
    assert "finished" in command("status", tmp_path / "work")[1]
