import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from lensweep.ground.errors import InputError
from lensweep.scanner.network.lens_parameters import (
    PARAMETERS,
    DroppedHead,
    Estimates,
    ParameterFacts,
    ParameterNetwork,
    load_parameter_network,
    turned_back,
)
from lensweep.scanner.network.polar_views import (
    N_ANGLES,
    RADII_PX,
    circles_of,
    polar_images,
)
from lensweep.scanner.network.second_look import TURNS, turned
from lensweep.scanner.network.stretch import Stretch
from lensweep.training.published.lens_parameters import (
    CHANNELS,
    LensParameterRegressor,
    coverage_of,
    parameters_of,
    widening_of,
)
from lensweep.training.published.parameter_network import build_networks
from lensweep.training.published.parameter_training import measure_parameters
from lensweep.training.published.parameter_views import share_of_rare, turned_at_random

TINY = {
    "channels": (8, 16, 16, 16, 16), "along": 32, "hidden": 32, "passes": 8, "epochs": 10,
    "batch": 32, "learning_rate": 5e-3,
}  # fmt: skip


def rings(n, seed):
    """A bright spot in an elliptical ring, on empty sky, and its parameters: easy to measure."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:100, :100] - 49.5
    flux, truth = np.empty((n, 100, 100), np.float32), np.empty((n, 5))
    for image, one in zip(flux, truth, strict=True):
        theta_e, e1, e2 = rng.uniform(0.5, 1.8), *rng.uniform(-0.2, 0.2, 2)
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        east, north = x - dx / 0.05, y - dy / 0.05
        radius = np.sqrt((1 - 2 * e1) * east**2 + (1 + 2 * e1) * north**2 - 4 * e2 * east * north)
        image[...] = np.exp(-0.5 * ((radius - theta_e / 0.05) / 2.5) ** 2)
        image += 3.0 * np.exp(-0.5 * (np.hypot(east, north) / 3.0) ** 2)
        image += rng.normal(0.0, 0.02, image.shape)
        one[...] = theta_e, e1, e2, dx, dy
    return flux, truth


@pytest.fixture(scope="module")
def trained():
    flux, truth = rings(1200, seed=1)
    return LensParameterRegressor(**TINY, held_out=0.2).fit(flux, truth)


def test_it_measures_rings_and_knows_how_well(trained):
    flux, truth = rings(400, seed=2)
    mean, error = trained.predict(flux, return_std=True)
    # In 300 steps; a guess of the mean misses by 0.32 arcsec.
    assert np.median(np.abs(mean - truth)[:, 0]) < 0.03
    assert np.median(np.abs(mean - truth)[:, 1:3]) < 0.05
    assert np.median(np.abs(mean - truth)[:, 3:]) < 0.01
    covered = coverage_of(Estimates(mean, error), truth)
    assert ((covered > 0.55) & (covered < 0.8)).all(), covered


def test_what_is_said_of_a_cutout_depends_on_no_other(trained):
    flux, _ = rings(6, seed=3)
    together, alone = trained.predict(flux), trained.predict(flux[3:4])
    np.testing.assert_allclose(together[3:4], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(trained.predict(flux), together)


def test_an_estimate_turns_with_its_cutout(trained):
    flux, _ = rings(8, seed=4)
    straight = trained.predict(flux)
    for turn in range(1, TURNS):
        again = turned_back(trained.predict(np.ascontiguousarray(turned(flux, turn))), turn)
        # The same four looks, but for the noise, which is measured along rows.
        np.testing.assert_allclose(again, straight, atol=0.02)


def test_the_same_network_comes_from_the_same_seed():
    flux, truth = rings(64, seed=5)
    few = TINY | {"epochs": 1}
    one, other = (LensParameterRegressor(**few).fit(flux, truth).predict(flux) for _ in range(2))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_saved_network_says_the_same(trained, tmp_path):
    trained.save(tmp_path / "network")
    flux, _ = rings(20, seed=6)
    loaded = load_parameter_network(str(tmp_path / "network"))
    # Its kernels are kept in half precision.
    np.testing.assert_allclose(loaded.estimate(flux).mean, trained.predict(flux), atol=0.02)
    assert loaded.facts.widening == pytest.approx(trained.network_.facts.widening)
    assert {path.suffix for path in (tmp_path / "network").iterdir()} == {".json", ".npz"}


def test_a_broken_network_is_refused(trained, tmp_path):
    trained.save(tmp_path / "sound")
    for name, spoil in {
        "no such network": lambda folder: shutil.rmtree(folder),
        "head.npz has SHA-256": lambda folder: (folder / "head.npz").write_bytes(b""),
        "is damaged": lambda folder: (folder / "parameters.json").write_text("{"),
        "reads lensweep-parameters version 2": lambda folder: (
            folder / "parameters.json"
        ).write_text(json.dumps({"format": "other", "version": 3})),
    }.items():
        folder = shutil.copytree(tmp_path / "sound", tmp_path / name)
        spoil(folder)
        expected = "neither a folder" if name == "no such network" else name
        with pytest.raises(InputError, match=expected):
            load_parameter_network(str(folder))


def test_it_is_an_estimator():
    regressor = LensParameterRegressor(epochs=3, dropout=0.2)
    assert clone(regressor).get_params() == regressor.get_params()


def test_the_layers_are_the_documented_ones():
    network, model = build_networks(CHANNELS, 128, 256, 0.1)
    assert network.input_shape == (None, 56, 48, 4)
    # Mean and maximum of 128 over the angles, and 16 at each of twelve.
    assert network.output_shape == (None, 128 + 128 + 12 * 16)
    assert model.output_shape == (None, 2 * len(PARAMETERS))
    # Heads: 448 x 256 + 256 and 256 x 10 + 10.
    assert model.count_params() - network.count_params() == 448 * 256 + 256 + 2570
    kinds = {type(layer).__name__ for layer in model.layers}
    assert not {kind for kind in kinds if "Normalization" in kind}


def test_a_turn_of_the_circles_is_a_turn_of_what_lies_at_their_angles():
    network, _ = build_networks(CHANNELS, 128, 256, 0.1)
    images = np.random.default_rng(11).normal(size=(3, 56, 48, 4)).astype("f4")
    straight, turned_ = (
        network.predict(np.roll(images, steps, axis=2), verbose=0) for steps in (0, 12)
    )
    # No angle is a first one: mean and maximum stay, and what is told of angles moves along.
    np.testing.assert_allclose(turned_[:, :256], straight[:, :256], rtol=1e-3, atol=1e-4)
    places = straight[:, 256:].reshape(3, 12, 16), turned_[:, 256:].reshape(3, 12, 16)
    np.testing.assert_allclose(places[1], np.roll(places[0], 3, axis=1), rtol=1e-3, atol=1e-4)


def test_views_move_the_parameters_with_the_light():
    flux, truth = rings(24, seed=7)
    circles = circles_of(flux)
    truth[:, 3:] -= np.stack([circles.x_arcsec, circles.y_arcsec], axis=1)
    images = polar_images(Stretch(), circles)
    rng = np.random.default_rng
    # Another centre than the circles', which is nearly the light's: what is told must follow.
    truth[:, 3:] = rng(1).uniform(0.5, 1.0, (24, 2))
    moved, told = turned_at_random(images, truth, rng(0))
    angle = 2.0 * np.pi * np.arange(N_ANGLES) / N_ANGLES
    for shown, said in ((images, truth), (moved, told)):
        light = np.clip(shown[..., 0] + 0.4, 0.0, None)
        radius = (light[:, 8:] * RADII_PX[8:, None]).sum(axis=1) / light[:, 8:].sum(axis=1)
        # An ellipse's radius has two maxima, along its major axis.
        along, across = (radius * np.cos(2 * angle)).sum(1), (radius * np.sin(2 * angle)).sum(1)
        assert np.corrcoef(along, said[:, 1])[0, 1] > 0.9
        assert np.corrcoef(across, said[:, 2])[0, 1] > 0.9
    np.testing.assert_allclose(np.hypot(*told[:, 3:].T), np.hypot(*truth[:, 3:].T), rtol=1e-5)
    # Turned by the angle of the light: the same again with every angle's light marked.
    marked = np.zeros((24, 1, N_ANGLES, 1))
    start = rng(2).integers(N_ANGLES, size=24)
    marked[np.arange(24), 0, start] = 1.0
    place = np.column_stack([truth[:, :3], np.cos(angle[start]), np.sin(angle[start])])
    moved, told = turned_at_random(marked, place, rng(0))
    found = angle[moved[:, 0, :, 0].argmax(axis=1)]
    np.testing.assert_allclose(told[:, 3:], np.stack([np.cos(found), np.sin(found)], 1), atol=1e-6)


def test_rare_einstein_radii_are_shown_more_often():
    values = np.repeat([0.0, 1.0, 2.0], [1600, 400, 4])
    share = share_of_rare(values)
    assert share.sum() == pytest.approx(1.0)
    # By the root of how many there are; four count as twenty.
    assert share[1600] / share[0] == pytest.approx(2.0)
    assert share[-1] / share[1600] == pytest.approx(np.sqrt(20.0))


def test_truth_of_a_simulation_becomes_parameters():
    truth = pd.DataFrame({
        "theta_e_arcsec": [1.0, 1.5], "axis_ratio": [0.5, 1.0], "angle_rad": [np.pi / 4, 0.3],
        "x_px": [49.5, 59.5], "y_px": [49.5, 29.5],
    })  # fmt: skip
    expected = [[1.0, 0.0, 1 / 3, 0.0, 0.0], [1.5, 0.0, 0.0, 0.5, -1.0]]
    np.testing.assert_allclose(parameters_of(truth), expected, atol=1e-12)


def test_errors_are_widened_until_they_cover_what_one_deviation_does():
    rng = np.random.default_rng(8)
    y = rng.normal(size=(20_000, 5))
    shy = Estimates(np.zeros_like(y), np.full_like(y, 0.25))
    np.testing.assert_allclose(widening_of(shy, y), 4.0, rtol=0.03)
    wide = Estimates(shy.mean, shy.error * widening_of(shy, y))
    np.testing.assert_allclose(coverage_of(wide, y), 0.6827, atol=1e-3)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        # A parameter too few.
        (np.ones((4, 4)), "a lens has theta_e"),
        # A lens that is none.
        (np.zeros((4, 5)), "Einstein radii above 0"),
        (np.full((4, 5), np.nan), "must be finite"),
        # A lens too few.
        (np.ones((3, 5)), "inconsistent numbers"),
    ],
)
def test_parameters_that_no_lens_has_are_refused(y, said):
    with pytest.raises(ValueError, match=said):
        LensParameterRegressor(**TINY).fit(np.zeros((4, 100, 100), np.float32), y)


def test_passes_without_dropout_agree_and_with_it_do_not():
    rng = np.random.default_rng(9)
    layers = [rng.normal(size=shape).astype("f4") for shape in ((20, 30), 30, (30, 10), 10)]
    features = rng.random((7, 20)).astype("f4")
    certain, square = DroppedHead(*layers, dropout=0.0, passes=5, seed=1)(features)
    assert certain.shape == square.shape == (5, 7, 5)
    np.testing.assert_allclose(certain.std(axis=0), 0.0, atol=1e-5)
    doubtful, _ = DroppedHead(*layers, dropout=0.3, passes=200, seed=1)(features)
    assert (doubtful.std(axis=0) > 0.0).all()
    # The mean of many passes is near what all units say: dropout before a linear layer is fair.
    assert np.corrcoef(doubtful.mean(axis=0).ravel(), certain[0].ravel())[0, 1] > 0.95


def test_what_every_turn_agrees_on_has_the_noise_that_the_network_tells():
    layers = [np.zeros(shape, np.float32) for shape in ((4, 3), 3, (3, 10), 10)]
    layers[3][5:] = np.log([0.04, 0.09, 0.09, 0.01, 0.25])
    facts = ParameterFacts(
        "told", "F814W", 0.05, Stretch(), 0.1, 3, 1, (np.log(1.2), 0, 0, 0, 0), (0.5, 1, 1, 1, 1),
        (1.0, 1.0, 1.0, 2.0, 2.0), {}, {},
    )  # fmt: skip

    def network(images):
        return np.zeros((len(images), 4), np.float32)

    found = ParameterNetwork(network, DroppedHead(*layers, 0.1, 3, 1), facts).estimate(
        np.zeros((3, 100, 100), np.float32)
    )
    # Nothing is brightest: the first pixel is, from which all is told.
    np.testing.assert_allclose(found.mean, [[1.2, 0, 0, -2.475, -2.475]] * 3, atol=1e-6)
    # Turned, x is y: both have the mean of their variances, here twice widened.
    xy = 2 * np.sqrt(0.13)
    # An Einstein radius' error is a share of it.
    expected = [[1.2 * 0.2 * 0.5, 0.3, 0.3, xy, xy]] * 3
    np.testing.assert_allclose(found.error, expected, rtol=1e-5)
    nothing = ParameterNetwork(network, DroppedHead(*layers, 0.1, 3, 1), facts).estimate(
        np.zeros((0, 100, 100), np.float32)
    )
    assert nothing.mean.shape == (0, 5)


def test_measures_are_by_einstein_radius():
    truth = pd.DataFrame({
        "theta_e_arcsec": [0.4, 0.7, 0.8, 2.0], "axis_ratio": 1.0, "angle_rad": 0.0, "x_px": 49.5,
        "y_px": 49.5,
    })  # fmt: skip
    mean = np.zeros((4, 5))
    mean[:, 0] = [0.5, 0.72, 0.84, 2.0]
    table = measure_parameters(Estimates(mean, np.full((4, 5), 0.03)), truth)
    assert table["lenses"].tolist() == [1, 2, 0, 0, 1, 3, 4]
    above = table.iloc[-2]
    assert above["theta_e_arcsec_error"] == pytest.approx(0.02)
    assert above["theta_e_arcsec_coverage"] == pytest.approx(2 / 3)
    assert table["theta_e_arcsec_error"].isna().sum() == 2


def test_facts_survive_the_file(trained, tmp_path):
    trained.describe(metrics={"theta_e_error": 0.03})
    trained.save(tmp_path / "network")
    loaded = load_parameter_network(str(tmp_path / "network"))
    kept = dataclasses.asdict(loaded.facts)
    assert kept["metrics"] == {"theta_e_error": 0.03}
    assert kept["training"]["n_lenses"] == 960
