from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lensweep.training.simulation.light import flux_of
from lensweep.training.simulation.observation import (
    Observation,
    add_cosmic_rays,
    add_single_exposure_rays,
    add_trail,
    blank_edge,
    blank_gap,
    draw_depth,
    draw_observation,
    record,
    saturate,
    signal_to_noise,
)

ORBIT = Observation(2028.0, 4, 0.094, 5.0, 0.5, 0.4)


def test_sigma_of_an_orbit():
    # 2,028 s, four reads of 5 e-, sky 22.0: 17.1 e-, 0.0084 e-/s.
    assert ORBIT.sigma(np.zeros((1, 1)))[0, 0] == pytest.approx(0.0084, abs=1e-4)
    source = ORBIT.sigma(np.full((1, 1), 10.0))[0, 0]
    assert source == pytest.approx(np.sqrt(10.094 * 2028 + 100) / 2028)
    # Below the sky is not less than no light.
    assert ORBIT.sigma(np.full((1, 1), -5.0)) == ORBIT.sigma(np.zeros((1, 1)))


def test_sky_is_that_of_its_magnitude():
    assert 0.05**2 * flux_of(22.0) == pytest.approx(0.094, abs=1e-3)
    for seed in range(20):
        drawn = draw_observation(np.random.default_rng(seed))
        assert 0.05**2 * flux_of(22.5) <= drawn.sky_rate <= 0.05**2 * flux_of(21.8)


@pytest.mark.parametrize("blur_px", [0.3, 0.5, 0.75])
def test_noise_is_correlated_as_drizzling_does(blur_px):
    observation = Observation(2028.0, 4, 0.094, 5.0, blur_px, 0.0)
    noise = record(np.zeros((600, 600)), observation, np.random.default_rng(0))
    point = np.zeros((15, 15))
    point[7, 7] = 1.0
    kernel = ndimage.gaussian_filter(point, blur_px, truncate=3.0)
    shrunk = np.sqrt((kernel**2).sum())
    expected = shrunk * observation.sigma(np.zeros((1, 1)))[0, 0]
    assert noise.std() == pytest.approx(expected, rel=0.01)
    assert abs(noise.mean()) < 0.02 * expected
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    lag = (kernel[:, 1:] * kernel[:, :-1]).sum() / (kernel**2).sum()
    assert neighbours == pytest.approx(lag, abs=0.02)


def test_bright_light_brings_its_own_noise():
    image = np.zeros((200, 400))
    image[:, 200:] = 3.0
    residual = record(image, ORBIT, np.random.default_rng(0)) - image
    ratio = residual[:, 210:].std() / residual[:, :190].std()
    expected = ORBIT.sigma(np.full((1, 1), 3.0)) / ORBIT.sigma(np.zeros((1, 1)))
    assert ratio == pytest.approx(expected[0, 0], rel=0.02)


def test_signal_to_noise_of_a_flat_patch():
    signal = np.zeros((50, 50))
    signal[10:15, 20:26] = 0.05
    ratio, n_pixels = signal_to_noise(signal, signal, ORBIT)
    sigma = ORBIT.sigma(np.full((1, 1), 0.05))[0, 0]
    assert n_pixels == 30
    assert ratio == pytest.approx(0.05 * np.sqrt(30) / sigma)
    # A bright galaxy in front drowns it.
    drowned, _ = signal_to_noise(signal, signal + 1.0, ORBIT)
    assert drowned < 0.5 * ratio


def test_what_never_exceeds_the_noise_has_no_signal():
    faint = np.full((20, 20), 0.001)
    assert signal_to_noise(faint, faint, ORBIT) == (0.0, 0)


def test_observations_are_of_three_kinds():
    rng = np.random.default_rng(0)
    drawn = [draw_observation(rng) for _ in range(300)]
    by_reads = {n: [o for o in drawn if o.n_exposures == n] for n in (1, 4, 16)}
    assert sum(map(len, by_reads.values())) == 300
    assert len(by_reads[4]) > len(by_reads[1]) > 20
    assert all(400 <= o.exposure_time_s <= 1000 for o in by_reads[1])
    assert all(1000 <= o.exposure_time_s <= 2600 for o in by_reads[4])
    assert all(o.cosmic_rays_per_cutout == 0 for o in by_reads[16])


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


@pytest.mark.parametrize(
    ("n_exposures", "expected"),
    [
        (1, 84_700.0 / 2000.0),  # one long exposure fills up soonest
        (4, 84_700.0 / 500.0),
        (16, 84_700.0 / 125.0),
    ],
)
def test_saturation_goes_by_the_single_exposure(n_exposures, expected):
    assert replace(ORBIT, exposure_time_s=2000.0, n_exposures=n_exposures).saturation == expected


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
    # Of the star itself, what lies beyond the image is not known to it.
    assert np.abs(part - whole[200:500, 200:260]).max() < 0.02 * ORBIT.saturation or row == 10
    assert part.sum() == pytest.approx(whole[200:500, 200:260].sum(), rel=0.05)


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


def test_depth_is_even_but_in_some():
    shares = [draw_depth(ORBIT, np.random.default_rng(seed), (100, 100)) for seed in range(200)]
    uneven = [share for share in shares if not np.isscalar(share)]
    assert 10 < len(uneven) < 60
    for share in uneven:
        assert share.shape == (100, 100)
        assert share.max() == 1.0
        assert np.unique(4 * share).tolist() in ([1.0, 4.0], [2.0, 4.0], [3.0, 4.0], [4.0])
    single = replace(ORBIT, n_exposures=1)
    assert all(draw_depth(single, np.random.default_rng(s), (9, 9)) == 1.0 for s in range(50))


def test_fewer_exposures_are_noisier():
    half = replace(ORBIT, depth=np.where(np.arange(400) < 200, 1.0, 0.25) * np.ones((400, 1)))
    noisy = record(np.zeros((400, 400)), half, np.random.default_rng(0))
    assert noisy[:, 200:].std() == pytest.approx(2.0 * noisy[:, :200].std(), rel=0.03)
    assert half.floor == ORBIT.floor


@pytest.mark.parametrize(
    ("curvature", "crosses"),
    [(0.0, True), (0.01, False)],  # a satellite's trail ends at the image's edge, an asteroid's not
)
def test_trails(curvature, crosses):
    image = np.zeros((400, 400))
    add_trail(image, ORBIT, np.random.default_rng(1), curvature)
    bright = image > 0.5 * image.max()
    assert bright.any()
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    assert edge.any() == crosses


def test_edges_and_gaps_blank_with_nan():
    edge, gap = np.zeros((100, 100)), np.zeros((100, 100))
    blank_edge(edge, np.random.default_rng(0), 0.3)
    blank_gap(gap, np.random.default_rng(0))
    assert 0.01 < np.isnan(edge).mean() <= 0.31
    # A gap leaves data on both sides.
    _, n_parts = ndimage.label(~np.isnan(gap))
    assert n_parts == 2
