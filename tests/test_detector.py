from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lensweep.training.simulation.detector import (
    add_cosmic_rays,
    add_single_exposure_rays,
    saturate,
)
from lensweep.training.simulation.observation import Observation

ORBIT = Observation(2028.0, 4, 0.094, 5.0, 0.5, 0.4)


def test_cosmic_rays_are_few_sharp_pixels():
    image = np.zeros((200, 200))
    add_cosmic_rays(image, ORBIT, np.random.default_rng(0), 40.0)
    _, n_rays = ndimage.label(image > 0, np.ones((3, 3)))
    assert 20 <= n_rays <= 55
    assert 0 < (image > 0).mean() < 0.03
    untouched = np.zeros((20, 20))
    add_cosmic_rays(untouched, ORBIT, np.random.default_rng(0), 0.0)
    assert not untouched.any()


def test_each_cosmic_ray_is_shared_between_pixels_in_its_own_way():
    image = np.zeros((3000, 3000))
    add_cosmic_rays(image, ORBIT, np.random.default_rng(3), 400.0)
    rays, n_rays = ndimage.label(image, np.ones((3, 3)))
    shares = []
    for number, box in enumerate(ndimage.find_objects(rays), start=1):
        ray = np.where(rays[box] == number, image[box], 0.0)
        assert min(ray.shape) >= 2
        # The outermost rows hold a share of the ray's own, and what is left of it.
        shares.append(ray[0].sum() / (ray[0].sum() + ray[-1].sum()))
    assert n_rays > 300
    assert np.std(shares) > 0.15


def test_cosmic_rays_reach_every_edge():
    hit = np.zeros((12, 12))
    for seed in range(400):
        image = np.zeros((12, 12))
        add_cosmic_rays(image, ORBIT, np.random.default_rng(seed), 3.0)
        hit += image > 0.0
    for edge in (hit[0], hit[-1], hit[:, 0], hit[:, -1]):
        assert edge.mean() == pytest.approx(hit[4:8, 4:8].mean(), rel=0.15)


def test_what_one_exposure_of_several_sees_is_full_of_cosmic_rays():
    rim = np.arange(300) < 100
    uneven = replace(ORBIT, depth=np.where(rim, 0.25, 1.0) * np.ones((300, 1)))
    image = np.zeros((300, 300))
    add_single_exposure_rays(image, uneven, np.random.default_rng(0))
    _, n_rays = ndimage.label(image[:, rim], np.ones((3, 3)))
    assert 40 < n_rays < 110
    assert not image[:, ~rim].any()
    for without in (ORBIT, replace(ORBIT, n_exposures=1), replace(uneven, n_exposures=8)):
        untouched = np.zeros((300, 300))
        add_single_exposure_rays(untouched, without, np.random.default_rng(0))
        assert not untouched.any()


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.5])
def test_what_saturates_bleeds_along_the_columns_and_keeps_its_charge(turn):
    observation = replace(ORBIT, columns_rad=turn)
    y, x = np.mgrid[:200, :200] - 99.5
    image = 4e3 * np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    before = image.sum()
    saturate(image, observation)
    limit = observation.saturation
    assert image.max() == pytest.approx(limit)
    full = np.abs(image - limit) < 1e-9
    along = (x * np.cos(turn) + y * np.sin(turn))[full]
    across = (y * np.cos(turn) - x * np.sin(turn))[full]
    assert np.ptp(along) > 4 * np.ptp(across)
    assert abs(along.mean()) < 1.5
    assert abs(across.mean()) < 0.5
    assert image.sum() == pytest.approx(before)


def star(y_px, x_px, peak, shape=(300, 60)):
    y, x = np.indices(shape)
    return peak * np.exp(-0.5 * ((x - x_px) ** 2 + (y - y_px) ** 2) / 1.5**2)


ALONG_Y = replace(ORBIT, columns_rad=np.pi / 2)


@pytest.mark.parametrize(("row", "column"), [(10, 30), (150, 5), (292, 57)])
def test_near_an_edge_charge_bleeds_out_of_the_image(row, column):
    """As far as from the same star in a larger image."""
    whole, part = star(row + 200, column + 200, 6e3, (700, 460)), star(row, column, 6e3)
    saturate(whole, ALONG_Y)
    saturate(part, ALONG_Y)
    full = [image >= ALONG_Y.saturation for image in (part, whole[200:500, 200:260])]
    assert full[0].sum() > 100
    # Of the star itself, what lies beyond the image is not known to it.
    assert (full[0] != full[1]).sum() < 0.02 * full[0].sum()


def test_two_stars_in_one_column_keep_their_own_charge():
    faint, bright = star(60, 30, 600.0), star(220, 30, 9e3)
    both = faint + bright
    for image in (faint, bright, both):
        saturate(image, ALONG_Y)
    alone = (faint >= ALONG_Y.saturation) | (bright >= ALONG_Y.saturation)
    assert np.array_equal(both >= ALONG_Y.saturation, alone)


def test_what_does_not_saturate_is_left_alone():
    image = np.full((30, 30), 0.99 * ORBIT.saturation)
    saturate(image, ORBIT)
    assert (image == 0.99 * ORBIT.saturation).all()
