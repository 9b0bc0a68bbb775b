"""The whole training, tiny: the real network, random weights, a hundred cutouts."""

import dataclasses

import keras
import numpy as np
import pytest

from scanner import cutout_store
from scanner.ensemble import Ensemble, check_bundle
from scanner.errors import InputError
from scanner.progress import open_progress
from training.backbones import INPUT_SHAPE, build_trunk, split_trunk
from training.config import TrainConfig, choose_config
from training.train import train

TINY = TrainConfig(
    name="tiny", seed=3, backbone="xception", weights="", adapted_blocks=4, n_adapt=64,
    adapt_epochs=1, adapt_learning_rate=1e-4, n_train=42, n_test=20, n_folds=3, dropout=0.3,
    head_epochs=4, head_learning_rate=1e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("weights") / "xception.weights.h5"
    keras.applications.Xception(
        weights=None, include_top=False, input_shape=INPUT_SHAPE
    ).save_weights(path)
    return path


@pytest.fixture(scope="module")
def trained(weights, client, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("training")
    config = dataclasses.replace(TINY, weights=str(weights))
    with open_progress() as progress:
        return train(config, workdir, client, progress)


def test_the_bundle_scores_with_every_member(trained):
    bundle = check_bundle(str(trained))
    assert len(bundle.description.members) == 3
    flux = cutout_store.read_column(trained.parent / "test" / "cutouts.zarr", "flux")
    logits = Ensemble(bundle).logits(flux)
    assert logits.shape == (20, 3)
    assert np.isfinite(logits).all()


def test_scores_of_the_bundle_are_those_that_were_measured(trained):
    import pandas as pd

    flux = cutout_store.read_column(trained.parent / "test" / "cutouts.zarr", "flux")
    measured = pd.read_parquet(trained.parent / "test_scores.parquet")["logit_mean"]
    logits = Ensemble(check_bundle(str(trained))).logits(flux)
    assert np.allclose(logits.mean(axis=1), measured, rtol=1e-3, atol=1e-3)


def test_a_finished_training_repeats_nothing(trained, weights, client):
    before = (trained / "ensemble.json").read_bytes()
    adapted = trained.parent / "trunk.weights.h5"
    written = adapted.stat().st_mtime_ns
    config = dataclasses.replace(TINY, weights=str(weights))
    with open_progress() as progress:
        train(config, trained.parent, client, progress)
    assert adapted.stat().st_mtime_ns == written
    assert (trained / "ensemble.json").read_bytes() == before


def test_another_config_in_the_same_folder_is_refused(trained, weights, client):
    config = dataclasses.replace(TINY, weights=str(weights), seed=4)
    with open_progress() as progress, pytest.raises(InputError, match="another config"):
        train(config, trained.parent, client, progress)


def test_adapting_changes_the_last_blocks_only(trained, weights):
    before, after = (
        build_trunk("xception", path)
        for path in (weights, trained.parent / "trunk.weights.h5")
    )
    frozen, _ = split_trunk(before, "xception", 4)
    low = {layer.name for layer in frozen.layers}
    for old, new in zip(before.layers, after.layers, strict=True):
        same = all(
            np.array_equal(a, b)
            for a, b in zip(old.get_weights(), new.get_weights(), strict=True)
        )
        # The last blocks' batch normalisation stays as well; their convolutions move.
        convolution = isinstance(old, keras.layers.SeparableConv2D)
        assert same == (old.name in low or not old.get_weights() or not convolution) or (
            old.name not in low and isinstance(old, keras.layers.Conv2D)
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_folds": 1}, "two folds"),
        ({"n_train": 5}, "two cutouts or more"),
        ({"head_epochs": 0}, "head_epochs = 0"),
        ({"n_adapt": 10}, "n_adapt = 10"),
    ],
)
def test_unfit_configs_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TINY, **changes)


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        build_trunk("xception", tmp_path / "absent.weights.h5")
    with pytest.raises(InputError, match="not one of xception"):
        build_trunk("alexnet", tmp_path / "absent.weights.h5")
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(other)
    with pytest.raises(InputError, match="not those of xception"):
        build_trunk("xception", other)


def test_presets_and_files(tmp_path):
    assert choose_config("first", None, None).name == "xception-7fold"
    with pytest.raises(InputError, match="either --preset or --config"):
        choose_config(None, None, None)
    with pytest.raises(InputError, match="not one of first"):
        choose_config("absent", None, None)
    bad = tmp_path / "bad.toml"
    bad.write_text("name = 'x'\nflavour = 3\n")
    with pytest.raises(InputError, match=r"bad\.toml"):
        choose_config(None, bad, None)
