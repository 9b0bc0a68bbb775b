import numpy as np
import pytest
from lenstronomy.LightModel.light_model import LightModel

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.light import (
    ZERO_POINT_AB,
    Sersic,
    add,
    draw,
    draw_galaxy_light,
    draw_point,
    ellipticity,
    flux_of,
    offsets,
)
from lensweep.training.simulation.psf import draw_psf


@pytest.fixture(scope="module")
def psf():
    return draw_psf(np.random.default_rng(1))


def test_zero_point_is_that_of_the_archive_formula():
    assert pytest.approx(-2.5 * np.log10(7.03e-20) - 5 * np.log10(8057) - 2.408, abs=1e-3) == (
        ZERO_POINT_AB
    )
    assert flux_of(ZERO_POINT_AB) == 1.0
    assert flux_of(20.0) == pytest.approx(100.0 * flux_of(25.0))


@pytest.mark.parametrize(
    ("x_px", "y_px"),
    [(100.0, 100.0), (100.5, 99.5), (101.23, 98.77)],
)
@pytest.mark.parametrize("flux", [10.0, 5000.0])  # drawn with the core only, and with its wings
def test_point_source_keeps_its_flux_and_place(psf, x_px, y_px, flux):
    image = np.zeros((201, 201))
    draw_point(image, x_px, y_px, flux, psf)
    assert image.sum() == pytest.approx(flux, rel=5e-3)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert abs(column - x_px) <= 1.0
    assert abs(row - y_px) <= 1.0


@pytest.mark.parametrize(
    ("index", "axis_ratio", "radius", "loss"),
    [
        (1.0, 1.0, 0.5, 0.005),  # a disc: all of it within its box
        (1.0, 0.3, 0.5, 0.005),
        (2.5, 0.7, 0.4, 0.03),
        (4.0, 1.0, 0.5, 0.06),  # de Vaucouleurs: 5 % beyond 13 half-light radii
        (1.0, 1.0, 0.03, 0.04),  # smaller than a pixel
    ],
)
def test_sersic_total_flux(psf, index, axis_ratio, radius, loss):
    galaxy = Sersic(22.0, radius, index, axis_ratio, 0.4)
    image = np.zeros((401, 401))
    draw(image, 200.2, 199.7, galaxy, galaxy.reach_arcsec, psf)
    assert image.sum() == pytest.approx(flux_of(22.0), rel=loss)


@pytest.mark.parametrize("index", [1.0, 4.0])
def test_half_the_light_is_within_the_half_light_radius(index):
    step = 0.01
    offset = (np.arange(1200) - 599.5) * step
    dx, dy = np.meshgrid(offset, offset)
    light = Sersic(20.0, 0.8, index, 1.0, 0.0)(dx, dy) * step**2
    inside = light[np.hypot(dx, dy) < 0.8].sum()
    assert inside == pytest.approx(0.5 * flux_of(20.0), rel=0.03)


def test_sersic_is_long_along_its_angle():
    galaxy = Sersic(20.0, 0.5, 1.0, 0.4, np.pi / 2)
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert galaxy(zero, one)[0, 0] > 10 * galaxy(one, zero)[0, 0]
    moved = Sersic(20.0, 0.5, 1.0, 0.4, np.pi / 2, x_arcsec=0.3, y_arcsec=-0.2)
    assert moved(zero + 0.3, one - 0.2) == pytest.approx(galaxy(zero, one))


@pytest.mark.parametrize("axis_ratio", [1.0, 0.5, 0.2])
def test_ellipticity_gives_the_axis_ratio_back(axis_ratio):
    modulus = np.hypot(*ellipticity(axis_ratio, 0.7))
    assert (1 - modulus) / (1 + modulus) == pytest.approx(axis_ratio)


@pytest.mark.parametrize(
    ("x_px", "y_px"),
    [(-3.0, 20.4), (63.0, 63.0), (30.0, 30.0)],  # beyond an edge, on a corner, inside
)
def test_an_image_shows_what_a_larger_one_shows_there(psf, x_px, y_px):
    galaxy = Sersic(20.0, 0.6, 2.0, 0.6, 0.3)
    small, large = np.zeros((64, 64)), np.zeros((464, 464))
    draw(small, x_px, y_px, galaxy, galaxy.reach_arcsec, psf)
    draw(large, x_px + 200, y_px + 200, galaxy, galaxy.reach_arcsec, psf)
    part = large[200:264, 200:264]
    assert part.max() > 0
    np.testing.assert_allclose(small, part, atol=2e-5 * large.max())


def test_given_flux_fixes_the_scale(psf):
    image = np.zeros((101, 101))
    draw(image, 50.0, 50.0, lambda dx, dy: np.exp(-(dx**2 + dy**2) / 0.02), 1.0, psf, flux=7.0)
    assert image.sum() == pytest.approx(7.0, rel=0.02)


def test_what_lies_outside_is_cut():
    image = np.zeros((4, 5))
    add(image, np.ones((3, 3)), -2, 3)
    assert image.sum() == 1.0
    assert image[3, 0] == 1.0
    add(image, np.ones((3, 3)), 5, 0)
    add(image, np.ones((3, 3)), 0, -3)
    assert image.sum() == 1.0


def test_far_objects_leave_no_light(psf):
    image = np.zeros((50, 50))
    galaxy = Sersic(18.0, 0.3, 1.0, 1.0, 0.0)
    draw(image, 2000.0, 25.0, galaxy, galaxy.reach_arcsec, psf)
    draw_point(image, 25.0, -900.0, 1e4, psf)
    assert not image.any()


def test_pixel_scale_places_offsets(psf):
    image = np.zeros((101, 101))
    knot = Sersic(20.0, 0.05, 1.0, 1.0, 0.0, x_arcsec=1.0, y_arcsec=-0.5)
    draw(image, 50.0, 50.0, knot, 2.0, psf)
    row, column = np.unravel_index(image.argmax(), image.shape)
    step = 1.0 / PIXEL_SCALE_ARCSEC
    assert (column, row) == (50 + step, 50 - step / 2)


@pytest.mark.parametrize(("index", "axis_ratio"), [(1.5, 0.3), (4.0, 0.7), (6.0, 0.95)])
def test_sersic_agrees_with_lenstronomy(index, axis_ratio):
    dx, dy = offsets(range(100), range(100), 49.3, 50.1)
    e1, e2 = ellipticity(axis_ratio, 0.7)
    shape = {"R_sersic": 0.5, "n_sersic": index, "e1": e1, "e2": e2, "center_x": 0.1,
             "center_y": -0.05, "amp": 1.0}  # fmt: skip
    model = LightModel(["SERSIC_ELLIPSE"])
    theirs = model.surface_brightness(dx.ravel(), dy.ravel(), [shape]).reshape(dx.shape)
    theirs *= flux_of(20.0) / model.total_flux([shape], norm=True)[0]
    ours = Sersic(20.0, 0.5, index, axis_ratio, 0.7, 0.1, -0.05)(dx, dy)
    # Theirs approximates b_n (1.9992 n - 0.3271), which shows in the far wings.
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-3 * theirs.max())


def test_components_drawn_at_once_are_those_drawn_one_by_one(psf):
    parts = [
        Sersic(21.0, 0.5, 3.0, 0.6, 0.3),
        Sersic(23.0, 0.05, 1.0, 1.0, 0.0, 0.8, -0.4),
        Sersic(22.0, 0.2, 1.0, 0.5, 1.0, -2.5, 1.0),
    ]
    together, apart = np.zeros((100, 100)), np.zeros((100, 100))
    draw_galaxy_light(together, 60.2, 40.7, parts, psf)
    for part in parts:
        draw(apart, 60.2, 40.7, part, 15.0, psf)
    np.testing.assert_allclose(together, apart, atol=2e-4 * apart.max())
