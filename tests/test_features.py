import io
import shutil
import time

import keras
import numpy as np
import pytest
import zarr
from toy_stamps import write_toy_set

from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.data.examples import open_examples, read_flux
from lensweep.training.data.labelled_set import SHARD
from lensweep.training.data.rows import fill_rows
from lensweep.training.fit.features import View, compute_features, save_trunk

AS_IT_IS = View(0, "turns", 1)
TURNED = View(1, "turns", 1)


@pytest.fixture(scope="module")
def progress():
    return PlainProgress(io.StringIO(), time.monotonic)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return open_examples(write_toy_set(tmp_path_factory.mktemp("set"), 40))


@pytest.fixture
def trunk():
    """A network whose batch normalisation knows other statistics than those of any batch."""
    keras.utils.set_random_seed(4)
    images = keras.Input((100, 100, 3))
    x = keras.layers.Conv2D(4, 10, strides=10)(images)
    normalise = keras.layers.BatchNormalization()
    network = keras.Model(images, keras.layers.GlobalMaxPooling2D()(normalise(x)))
    rng = np.random.default_rng(4)
    normalise.set_weights([rng.uniform(0.5, 2.0, 4) for _ in range(4)])
    return network


def test_features_are_those_of_inference(trunk, examples, client, progress, tmp_path):
    save_trunk(trunk, tmp_path / "trunk.keras")
    kept = tmp_path / "features.zarr"
    features = compute_features(
        tmp_path / "trunk.keras", examples, AS_IT_IS, kept, client, progress
    )
    shown = Stretch()(read_flux(examples.store, np.arange(40)))
    assert np.allclose(features, trunk.predict(shown, verbose=0), rtol=1e-5, atol=1e-5)


def test_views_differ_and_are_the_same_again(trunk, examples, client, progress, tmp_path):
    save_trunk(trunk, tmp_path / "trunk.keras")
    plain, turned, again = (
        compute_features(tmp_path / "trunk.keras", examples, view, tmp_path / name, client,
                         progress)
        for view, name in ((AS_IT_IS, "a"), (TURNED, "b"), (TURNED, "c"))
    )  # fmt: skip
    assert not np.allclose(plain, turned)
    assert np.array_equal(turned, again)


def test_another_trunk_under_the_same_name_is_not_confused(
    trunk, examples, client, progress, tmp_path
):
    path, kept = tmp_path / "trunk.keras", tmp_path / "features.zarr"
    save_trunk(trunk, path)
    before = compute_features(path, examples, AS_IT_IS, kept, client, progress)
    trunk.set_weights([2.0 * array for array in trunk.get_weights()])
    save_trunk(trunk, path)
    after = compute_features(path, examples, AS_IT_IS, kept, client, progress)
    assert not np.allclose(before, after)


def test_a_set_made_again_in_the_same_place_is_not_confused(trunk, client, progress, tmp_path):
    save_trunk(trunk, tmp_path / "trunk.keras")
    features = []
    for seed in (5, 6):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        write_toy_set(tmp_path / "set", 8, seed)
        features.append(compute_features(
            tmp_path / "trunk.keras", open_examples(tmp_path / "set"), AS_IT_IS,
            tmp_path / "features.zarr", client, progress,
        ))  # fmt: skip
    assert not np.allclose(*features)


def _count(start, stop, calls):
    (calls / f"{start}").touch()
    return np.full((stop - start, 2), start, np.float32)


def test_only_missing_shards_are_computed(client, progress, tmp_path):
    shape, calls = (2 * SHARD + 10, 2), tmp_path / "calls"
    calls.mkdir()

    def rows(made_from):
        for path in calls.iterdir():
            path.unlink()
        values = fill_rows(
            tmp_path / "kept.zarr", shape, made_from, _count, client, progress, calls=calls
        )
        assert values[SHARD, 0] == SHARD
        return {int(path.name) for path in calls.iterdir()}

    assert rows({"trunk": "a"}) == {0, SHARD, 2 * SHARD}
    assert rows({"trunk": "a"}) == set()
    zarr.open_array(tmp_path / "kept.zarr")[SHARD : 2 * SHARD] = np.nan
    assert rows({"trunk": "a"}) == {SHARD}
    assert rows({"trunk": "b"}) == {0, SHARD, 2 * SHARD}
