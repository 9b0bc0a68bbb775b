import numpy as np
import pytest

from lensweep.scanner.network.polar_ellipses import ellipses_of
from lensweep.scanner.network.polar_views import N_ANGLES, RADII_PX, circles_of, polar_images
from lensweep.scanner.network.stretch import Stretch

ANGLE = 2.0 * np.pi * np.arange(N_ANGLES) / N_ANGLES


def galaxy(x_px, y_px, axis_ratio=0.6, angle_rad=0.4, peak=2000.0, size=100):
    """Exponential ellipses on noise of one; the pixels' squared elliptical radius."""
    y, x = np.mgrid[:size, :size].astype(float)
    along = (x - x_px) * np.cos(angle_rad) + (y - y_px) * np.sin(angle_rad)
    across = (y - y_px) * np.cos(angle_rad) - (x - x_px) * np.sin(angle_rad)
    radius = np.hypot(along, across / axis_ratio)
    return peak * np.exp(-radius / 8.0)


def blob(x_px, y_px, peak, size=100):
    y, x = np.mgrid[:size, :size]
    return peak * np.exp(-0.5 * (np.hypot(x - x_px, y - y_px) / 2.5) ** 2)


def noise(seed, size=100):
    return np.random.default_rng(seed).normal(size=(size, size))


def test_circles_are_about_the_brightest_light():
    place = [(49.5, 49.5), (40.2, 55.7), (66.0, 31.4)]
    flux = np.array([galaxy(x, y) + noise(1) for x, y in place], np.float32)
    circles = circles_of(flux)
    found = np.stack([circles.x_arcsec, circles.y_arcsec], axis=1)
    np.testing.assert_allclose(found, (np.array(place) - 49.5) * 0.05, atol=0.03)
    assert circles.light.shape == circles.share.shape == (3, len(RADII_PX), N_ANGLES)
    # A circle's light is that of its radius, whatever the place.
    np.testing.assert_allclose(circles.light[1, 3:16], circles.light[0, 3:16], rtol=0.1, atol=3.0)


def test_an_arc_lies_at_its_radius_and_angle():
    flux = galaxy(49.5, 49.5) + blob(49.5, 49.5 + 24.0, 60.0) + noise(2)
    images = polar_images(Stretch(), circles_of(flux[None].astype(np.float32)))
    # From ellipses and from the light opposite: 24 px off, and a quarter turn from x to y.
    for channel in (1, 2):
        row, column = np.unravel_index(images[0, 8:, :, channel].argmax(), (48, N_ANGLES))
        assert abs(RADII_PX[row + 8] - 24.0) < 3.0
        assert abs(column - N_ANGLES // 4) <= 1


def test_far_light_is_not_missed_between_places():
    # A pixel 36 px off covers a ninth of the way between two angles, and is seen at most places.
    flux = np.zeros((40, 100, 100), np.float32)
    for image, row in zip(flux, range(30, 70), strict=True):
        image[...] = galaxy(20.0, 49.5) + noise(row) * 0.1
        image[row, 56] += 500.0
    plain = circles_of(flux).light[:, 28:50].sum(axis=(1, 2))
    assert (plain > 30.0).mean() > 0.9


@pytest.mark.parametrize("beyond", [20, 40])
def test_what_is_not_known_is_told_as_that(beyond):
    flux = (galaxy(30.0, 50.0) + noise(4)).astype(np.float32)
    flux[:, 99 - beyond :] = np.nan
    circles = circles_of(flux[None])
    images = polar_images(Stretch(), circles)[0]
    edge = (99 - beyond - 30.0) / 1.0
    assert (circles.share[0, edge + 3 < RADII_PX, 0] == 0.0).all()
    assert (circles.share[0, edge - 3 > RADII_PX, 0] == 1.0).all()
    # An edge is no arc, on either side of the lens.
    gone = circles.share[0] < 0.3
    assert (images[gone][:, 1:3] == 0.0).all()
    assert (images[np.roll(gone, N_ANGLES // 2, axis=1)][:, 1] == 0.0).all()


def test_ellipses_are_fitted_without_the_arcs():
    lens = galaxy(49.5, 49.5)
    arcs = blob(49.5 + 18.0, 49.5 + 10.0, 80.0) + blob(49.5 - 8.0, 49.5 - 5.0, 60.0)
    alone, both = (circles_of((light + noise(5))[None].astype(np.float32)).light
                   for light in (lens, lens + arcs))  # fmt: skip
    fitted = ellipses_of(both, np.ones(both.shape, bool))
    here = slice(4, 40)
    off = np.abs(fitted - alone)[0, here] / (3.0 + 0.05 * alone[0, here])
    assert np.quantile(off, 0.9) < 1.0
    # What is left of both images stands far above.
    left = (both - fitted)[0, here]
    assert left.max() > 0.7 * (both - alone)[0, here].max()


def test_a_whole_ring_is_no_part_of_the_lens():
    y, x = np.mgrid[:100, :100] - 49.5
    ring = 40.0 * np.exp(-0.5 * ((np.hypot(x, y) - 20.0) / 2.0) ** 2)
    flux = galaxy(49.5, 49.5, peak=100.0) + ring + noise(6)
    light = circles_of(flux[None].astype(np.float32)).light
    left = (light - ellipses_of(light, np.ones(light.shape, bool)))[0].mean(axis=1)
    # Light does not rise outwards in a galaxy.
    assert abs(RADII_PX[4 + left[4:].argmax()] - 20.0) < 2.0
    assert left.max() > 15.0


def test_circles_of_nothing_are_nothing():
    empty = np.zeros((2, len(RADII_PX), N_ANGLES), np.float32)
    assert (ellipses_of(empty, np.zeros(empty.shape, bool)) == 0.0).all()
    assert np.abs(ellipses_of(empty, np.ones(empty.shape, bool))).max() < 1e-6
    images = polar_images(Stretch(), circles_of(np.full((2, 100, 100), np.nan, np.float32)))
    assert np.isfinite(images).all()
    assert (images[..., 3] == -0.5).all()
