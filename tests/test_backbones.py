"""Every trunk: built at its smallest size, taught one step, saved, loaded, scored the same."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import sha256_of
from lensweep.training.evaluation.result_tables import PUBLISHED
from lensweep.training.fit.backbones import BACKBONES
from lensweep.training.fit.classifier import (
    PREPROCESSING,
    STEM,
    add_head,
    bilinear_kernel,
    build_trunk,
    choose_trainable,
    round_kernels,
    split_trunk,
)
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.features import save_trunk
from lensweep.training.fit.pretrained import find_weights, load_weights

CONFIG = TrainConfig(
    name="tiny", seed=3, backbone="vgg16", init="random", input_size=32, stem="fixed",
    trainable="head", n_adapt=0, adapt_epochs=1, adapt_learning_rate=1e-4, n_train=42, n_test=20,
    n_folds=3, dropout=0.3, head_epochs=4, head_learning_rate=1e-3,
)  # fmt: skip
# Width of the features, and of the dense layers on top up to ImageNet's 1000 classes.
FEATURES = {"xception": 2048, "inceptionv3": 2048, "resnet50": 2048, "nasnetlarge": 4032,
            "nasnetmobile": 1056, "vgg16": 512, "vgg19": 512}  # fmt: skip
VGG_TOP = (7 * 7 * 512, 4096, 4096, 1000)
# NASNetLarge's auxiliary classifier, as published with it: 1 x 1 to 128, 6 x 6 to 768, dense.
NASNET_AUXILIARY = 2016 * 128 + 4 * 128 + 6 * 6 * 128 * 768 + 4 * 768 + 769 * 1000


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (2, 100, 100, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def built(request):
    """The name of a backbone, and its trunk, which is built once for all tests of it."""
    yield request.param, build_trunk(config_for(request.param))
    keras.backend.clear_session()


def config_for(name, **changes):
    return dataclasses.replace(
        CONFIG, backbone=name, input_size=BACKBONES[name].smallest_size, **changes
    )


@pytest.mark.parametrize("built", ["xception", "inceptionv3", "resnet50", "vgg16"], indirect=True)
def test_the_parts_of_a_trunk_make_the_whole(built, images):
    name, trunk = built
    whole = np.asarray(trunk(images, training=False))
    depths = []
    for n_blocks in sorted(BACKBONES[name].cuts):
        config = config_for(name, trainable=f"last-{n_blocks}")
        frozen, adapted = split_trunk(trunk, config)
        together = adapted(frozen(images, training=False), training=False)
        assert np.allclose(np.asarray(together), whole, rtol=1e-4, atol=1e-4)
        choose_trainable(trunk, config)
        trained = {id(v) for v in trunk.trainable_variables}
        assert trained
        assert not trained & {id(v) for v in frozen.weights}
        depths.append(len(trained))
    assert depths == sorted(set(depths))


@pytest.mark.parametrize("built", BACKBONES, indirect=True)
def test_build_train_a_step_save_load_score_the_same(built, images, tmp_path):
    name, trunk = built
    config = config_for(name)
    top = VGG_TOP if name.startswith("vgg") else (FEATURES[name], 1000)
    on_top = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(top))
    preprocessing = 12 if BACKBONES[name].caffe else 0
    assert trunk.count_params() - preprocessing + on_top == BACKBONES[name].parameters
    assert trunk.output_shape == (None, FEATURES[name])

    choose_trainable(trunk, dataclasses.replace(config, trainable="all"))
    before = trunk.get_weights()
    classifier = add_head(trunk, 0.0)
    # Random networks answer in hundreds: an unclipped step overflows half precision.
    step = keras.optimizers.SGD(1.0, global_clipnorm=1e-2)
    # Eagerly: one step is done long before NASNet's thousand layers are traced.
    classifier.compile(step, keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
    classifier.train_on_batch(images, np.array([[0.0], [1.0]]))
    assert any(
        not np.array_equal(old, new) for old, new in zip(before, trunk.get_weights(), strict=True)
    )

    round_kernels(trunk)
    scores = np.asarray(trunk(images, training=False))
    save_trunk(trunk, tmp_path / "trunk.keras")
    again = keras.models.load_model(tmp_path / "trunk.keras", compile=False)
    assert np.array_equal(np.asarray(again(images, training=False)), scores)
    assert np.isfinite(scores).all()


def test_parameter_counts_are_those_of_the_thesis_to_its_precision():
    rows = [line.split(",") for line in PUBLISHED.read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == [
        "xception", "inceptionv3", "resnet50", "nasnetlarge", "vgg16", "vgg19"
    ]  # fmt: skip
    for name, _, millions, *_ in rows:
        more = NASNET_AUXILIARY if name == "nasnetlarge" else 0
        assert abs((BACKBONES[name].parameters + more) / 1e6 - int(millions)) < 1.0


def test_caffe_networks_are_given_blue_green_red_without_their_means(images):
    trunk = build_trunk(CONFIG)
    inner = keras.Model(trunk.input, trunk.get_layer(PREPROCESSING).output)
    photograph = (images + 1.0) * 127.5
    resized = keras.layers.Resizing(32, 32)(photograph)
    expected = keras.applications.vgg16.preprocess_input(np.array(resized))
    assert np.allclose(np.asarray(inner(images)), expected, atol=1e-3)
    names = [layer.name for layer in build_trunk(config_for("xception")).layers]
    assert PREPROCESSING not in names


def test_the_fixed_stem_interpolates_bilinearly_and_stays(images):
    config = dataclasses.replace(CONFIG, backbone="xception", input_size=200)
    trunk = build_trunk(config)
    choose_trainable(trunk, dataclasses.replace(config, trainable="all"))
    stem = trunk.get_layer(STEM)
    assert not stem.trainable
    large = np.asarray(keras.Model(trunk.input, stem.output)(images))
    expected = np.asarray(keras.ops.image.resize(images, (200, 200)))
    # Beyond the edge lies zero, so the outermost pixels differ.
    assert np.allclose(large[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        (100, None),  # native: no stem
        (150, 2),  # to 200, then resized
        (0, 3),  # VGG16's own size, 224
    ],
)
def test_the_stem_reaches_any_size(size, factor):
    trunk = build_trunk(dataclasses.replace(CONFIG, input_size=size))
    assert trunk.get_layer("block1_conv1").output.shape[1:3] == (size or 224, size or 224)
    stems = [layer for layer in trunk.layers if layer.name == STEM]
    assert [layer.strides[0] for layer in stems] == ([factor] if factor else [])


def test_the_learned_stem_begins_as_the_identity_and_learns(images):
    config = dataclasses.replace(CONFIG, input_size=100, stem="learned")
    trunk = build_trunk(config)
    stem = trunk.get_layer(STEM)
    assert np.allclose(np.asarray(keras.Model(trunk.input, stem.output)(images)), images)
    choose_trainable(trunk, config)
    assert {id(v) for v in trunk.trainable_variables} == {id(v) for v in stem.variables}


def test_bilinear_kernels_sum_to_one_in_every_place():
    for factor in (2, 3, 4):
        kernel = bilinear_kernel(factor)[:, :, 0, 0]
        for row in range(factor):
            for column in range(factor):
                assert kernel[row::factor, column::factor].sum() == pytest.approx(1.0)


def test_batch_normalisation_learns_in_random_networks_only():
    for init, learns in (("random", True), ("imagenet", False)):
        config = config_for("xception", trainable="all")
        trunk = build_trunk(config)
        choose_trainable(trunk, dataclasses.replace(config, init=init))
        assert trunk.get_layer("block1_conv1_bn").trainable == learns
        assert trunk.get_layer("block1_conv1").trainable


def test_random_weights_depend_on_the_seed():
    first, same, other = (
        build_trunk(dataclasses.replace(CONFIG, seed=seed)).get_weights()[2] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.fixture(scope="module")
def vgg_weights(tmp_path_factory):
    """A file as `vgg16_imagenet_notop.weights.h5`, with random weights."""
    keras.utils.set_random_seed(9)
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    network.save_weights(path)
    return path


def test_weights_of_a_file_go_where_they_belong(vgg_weights):
    config = dataclasses.replace(
        CONFIG, init="file", weights=str(vgg_weights), weights_sha256=sha256_of(vgg_weights)
    )
    keras.utils.set_random_seed(9)
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    trunk = build_trunk(config)
    for layer in network.layers[1:]:
        for ours, theirs in zip(
            trunk.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            assert np.array_equal(ours, theirs)


def test_files_with_another_hash_or_shape_are_refused(vgg_weights, tmp_path):
    with pytest.raises(InputError, match=r"SHA-256 .* but 1234 was asked for"):
        find_weights("vgg16", "file", str(vgg_weights), "1234")
    with pytest.raises(InputError, match="is not known as vgg16's ImageNet weights"):
        find_weights("vgg16", "imagenet", str(vgg_weights), "")
    with pytest.raises(InputError, match="no such file"):
        find_weights("vgg16", "imagenet", str(tmp_path / "absent.h5"), "")
    with pytest.raises(InputError, match="not those of vgg19"):
        load_weights(
            keras.applications.VGG19(weights=None, include_top=False, input_shape=(32, 32, 3)),
            vgg_weights, "vgg19",
        )  # fmt: skip
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(other)
    with pytest.raises(InputError, match="not those of vgg16"):
        load_weights(build_trunk(CONFIG), other, "vgg16")
    text = tmp_path / "text.weights.h5"
    text.write_text("no HDF5")
    with pytest.raises(InputError, match="not those of vgg16"):
        load_weights(build_trunk(CONFIG), text, "vgg16")


def test_offline_the_message_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # A port on which nobody answers.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    known = BACKBONES["vgg19"]
    with pytest.raises(InputError) as error:
        find_weights("vgg19", "imagenet", "", "")
    for part in (known.url, known.md5, str(tmp_path / "models" / known.file), "--weights"):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["xception", "vgg16"])
def test_real_imagenet_weights(name, real_data, images):
    """The two files that we have tell a photograph-like edge from noise as Keras' own do."""
    path = real_data.parent / "weights" / f"{name}_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the real pixels")
    config = dataclasses.replace(
        CONFIG, backbone=name, init="imagenet", weights=str(path), input_size=100
    )
    trunk = build_trunk(config)
    network = BACKBONES[name].build(
        weights=None, include_top=False, pooling="avg", input_shape=(100, 100, 3)
    )
    network.load_weights(path)
    shown = images
    if BACKBONES[name].caffe:
        shown = keras.applications.vgg16.preprocess_input((images + 1.0) * 127.5)
    assert np.allclose(
        np.asarray(trunk(images, training=False)),
        np.asarray(network(shown, training=False)),
        rtol=1e-3,
        atol=1e-3,
    )
