from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lensweep.training.simulation.light import flux_of
from lensweep.training.simulation.observation import (
    Observation,
    draw_depth,
    draw_observation,
    record,
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
