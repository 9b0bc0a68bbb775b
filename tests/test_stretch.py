import numpy as np
import pytest

from lensweep.scanner.network.stretch import Stretch, sky_and_noise

SIGMA = 0.008


@pytest.fixture
def cutouts():
    """Four cutouts: noise, a small galaxy, one that fills the cutout, one with a gap."""
    rng = np.random.default_rng(0)
    flux = rng.normal(0.0, SIGMA, (4, 100, 100))
    y, x = np.indices((100, 100)) - 49.5
    flux[1] += 2.0 * np.exp(-np.hypot(x, y) / 3.0)
    flux[2] += 5.0 * np.exp(-np.hypot(x, y) / 14.0)
    flux[3, 40:52] = np.nan
    return flux.astype(np.float32)


@pytest.mark.parametrize("factor", [1e-4, 1.0, 0.63, 2028.0, 1e6])
def test_flux_unit_does_not_matter(cutouts, factor):
    scaled = Stretch()((cutouts * factor).astype(np.float32))
    np.testing.assert_allclose(scaled, Stretch()(cutouts), atol=1e-4)


@pytest.mark.parametrize("offset", [-0.05, 0.1, 1.0])
def test_constant_sky_does_not_matter(cutouts, offset):
    shifted = Stretch()((cutouts + np.float32(offset)).astype(np.float32))
    np.testing.assert_allclose(shifted, Stretch()(cutouts), atol=1e-3)


def test_output(cutouts):
    scaled = Stretch()(cutouts)
    assert scaled.shape == (4, 100, 100, 3)
    assert scaled.dtype == np.float32
    assert np.abs(scaled).max() <= 1.0
    assert scaled[1, 49, 49, 0] > 0.4
    # Ten times brighter still tells apart in the channel for bright light.
    assert scaled[1, 49, 49, 1] > scaled[1, 55, 55, 1] + 0.1


def test_no_data_looks_like_empty_sky(cutouts):
    scaled = Stretch()(cutouts)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaled[3, 45, :, :2], -0.5, atol=1e-6)
    # The median of pure noise is the sky level.
    np.testing.assert_allclose(np.median(scaled[0, :, :, 0]), -0.5, atol=0.05)


@pytest.mark.parametrize(
    "value",
    [np.nan, 0.0, 3.5],  # no data, a blank part of a mosaic, a constant
)
def test_blank_cutouts_are_flat(value):
    scaled = Stretch()(np.full((2, 100, 100), value, np.float32))
    assert np.isfinite(scaled).all()
    assert np.ptp(scaled[:, 30:70, 30:70], axis=(0, 1, 2)).max() < 1e-6


def test_sky_and_noise_of_an_empty_field(cutouts):
    sky, sigma = sky_and_noise(cutouts + np.float32(0.02))
    assert sky.dtype == sigma.dtype == np.float32
    np.testing.assert_allclose(sigma[[0, 1, 3]], SIGMA, rtol=0.08)
    np.testing.assert_allclose(sky[[0, 1, 3]], 0.02, atol=0.4 * SIGMA)
    # A galaxy that fills the cutout raises the noise by its gradient, not by its brightness.
    assert sigma[2] < 10 * SIGMA


def test_a_blank_cutout_has_no_noise():
    sky, sigma = sky_and_noise(np.full((1, 100, 100), np.nan, np.float32))
    assert (sky[0], sigma[0]) == (0.0, 1.0)


def test_one_missing_pixel_changes_little(cutouts):
    holed = cutouts[:1].copy()
    holed[0, 10, 10] = np.nan
    before, after = sky_and_noise(cutouts[:1]), sky_and_noise(holed)
    np.testing.assert_allclose(before, after, atol=0.02 * SIGMA)


def test_neighbours_in_a_batch_do_not_matter(cutouts):
    together = Stretch()(cutouts)
    for number in range(len(cutouts)):
        alone = Stretch()(cutouts[number : number + 1])[0]
        np.testing.assert_array_equal(alone, together[number])


def test_contrast_takes_the_smooth_galaxy_out():
    y, x = np.indices((100, 100)) - 49.5
    galaxy = 5.0 * np.exp(-np.hypot(x, y) / 14.0)
    arc = 0.3 * np.exp(-0.5 * ((np.hypot(x, y) - 22.0) / 1.5) ** 2) * (x > 12)
    noise = np.random.default_rng(1).normal(0.0, SIGMA, (100, 100))
    scaled = Stretch()((galaxy + arc + noise).astype(np.float32)[None])[0]
    on_arc, off_arc = scaled[49, 71], scaled[49, 28]
    # The same radius on both sides: the arc is what differs, most in the third channel.
    assert on_arc[2] - off_arc[2] > 2 * (on_arc[0] - off_arc[0])
