"""The nine numbers of a galaxy: each follows what it is named for."""

import numpy as np
import pytest

from lensweep.training.published.morphology import FEATURES, Morphology, measure_morphology

Y, X = np.indices((100, 100)) - 49.5


def galaxy(amplitude=50.0, scale=4.0, axis_ratio=1.0, n=1.0, offset=(0.0, 0.0)):
    radius = np.hypot(X - offset[0], (Y - offset[1]) / axis_ratio)
    return amplitude * np.exp(-((radius / scale) ** (1.0 / n)))


def measured(image):
    noise = np.random.default_rng(0).normal(0.0, 1.0, image.shape)
    return dict(zip(FEATURES, measure_morphology((image + noise).astype(np.float32)), strict=True))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        # Brighter.
        ("signal_to_noise", galaxy(amplitude=200.0)),
        # Twice as large.
        ("half_light", galaxy(scale=8.0)),
        # De Vaucouleurs' profile instead of a disc's.
        ("concentration", galaxy(amplitude=3000.0, scale=0.02, n=4.0)),
        # A second galaxy's light on one side of it, too near to be one of its own.
        ("asymmetry", galaxy() + galaxy(offset=(6.0, 0.0), amplitude=60.0, scale=1.5)),
        # A ring of knots.
        ("clumpiness", galaxy() + sum(
            galaxy(offset=(9.0 * np.cos(a), 9.0 * np.sin(a)), amplitude=40.0, scale=1.0)
            for a in np.arange(6)
        )),
        # All its light in a few pixels.
        ("gini", galaxy(amplitude=2000.0, scale=1.0)),
        # A ring, whose brightest light is far out.
        ("m20", 30.0 * np.exp(-0.5 * ((np.hypot(X, Y) - 8.0) / 2.0) ** 2)),
        # Another galaxy in the cutout.
        ("companions", galaxy() + galaxy(offset=(35.0, 35.0))),
    ],
)  # fmt: skip
def test_a_number_grows_with_what_it_is_named_for(name, image):
    assert measured(image)[name] > measured(galaxy())[name] + 0.05


def test_a_flat_galaxy_has_a_small_axis_ratio():
    assert measured(galaxy(scale=8.0, axis_ratio=0.3))["axis_ratio"] == pytest.approx(0.35, abs=0.1)


@pytest.mark.parametrize(
    "flux",
    [
        # No data at all.
        np.full((100, 100), np.nan),
        # Nothing but noise.
        np.random.default_rng(1).normal(0.0, 1.0, (100, 100)),
        # One hot pixel.
        np.where((X == 0.5) & (Y == 0.5), 1e6, np.random.default_rng(1).normal(0.0, 1.0, X.shape)),
        # A galaxy at the edge.
        galaxy(offset=(49.0, 49.0)) + np.random.default_rng(1).normal(0.0, 1.0, X.shape),
    ],
)
def test_whatever_is_in_a_cutout_its_numbers_are_finite(flux):
    numbers = Morphology().fit_transform(flux[None].astype(np.float32))
    assert numbers.shape == (1, 9)
    assert np.isfinite(numbers).all()


def test_neither_unit_nor_sky_matters():
    flux = (galaxy() + np.random.default_rng(2).normal(0.0, 1.0, X.shape))[None].astype(np.float32)
    first, second = (Morphology().transform(one)[0] for one in (flux, 0.02 * flux + 5.0))
    assert second == pytest.approx(first, rel=0.02, abs=0.02)
