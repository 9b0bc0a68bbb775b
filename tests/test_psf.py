import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation import psf
from lensweep.training.simulation.psf import OVERSAMPLING, bin_down, draw_psf

SAMPLE_ARCSEC = PIXEL_SCALE_ARCSEC / OVERSAMPLING


def quiet_seed():
    """A seed whose aberrations, the first five numbers that draw_psf asks for, nearly vanish."""
    return min(
        range(2000), key=lambda seed: np.abs(np.random.default_rng(seed).normal(size=5)).max()
    )


def encircled(image, scale_arcsec, radius_arcsec):
    """Share of the light within a radius of the centroid; pixels split into 11 x 11."""
    fine = np.kron(image / 121.0, np.ones((11, 11)))
    rows, columns = np.indices(fine.shape)
    y, x = ndimage.center_of_mass(fine)
    near = np.hypot(rows - y, columns - x) * scale_arcsec / 11 < radius_arcsec
    return fine[near].sum() / fine.sum()


@pytest.fixture(scope="module")
def quiet():
    return draw_psf(np.random.default_rng(quiet_seed()))


def test_kernel_is_normalised_and_odd(quiet):
    assert quiet.kernel.shape == (401, 401)
    assert quiet.half_size_px == 100
    assert quiet.kernel.sum() == pytest.approx(1.0, abs=1e-12)
    assert quiet.kernel.min() >= 0.0
    assert quiet.core.half_size_px == 30
    assert quiet.core.kernel.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("radius_arcsec", "share"),
    [(0.125, 0.75), (0.25, 0.90), (0.5, 0.95)],  # Tiny Tim for ACS/WFC F814W, rounded
)
def test_encircled_energy_of_an_unaberrated_psf(quiet, radius_arcsec, share):
    cut = slice(150, 251)  # 1.25 arcsec each way, as a Tiny Tim stamp
    whole = quiet.kernel.sum()
    inner = encircled(quiet.kernel[cut, cut], SAMPLE_ARCSEC, radius_arcsec)
    assert inner * quiet.kernel[cut, cut].sum() / whole == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("radius_arcsec", [0.125, 0.25, 0.5])
def test_encircled_energy_spreads_about_that_of_tiny_tim(quiet, radius_arcsec):
    if "LENSWEEP_REAL_DATA" not in os.environ:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    path = Path(os.environ["LENSWEEP_REAL_DATA"]) / "psf/psf_tinytim_acs_f814w.fits"
    model = fits.getdata(path).astype(np.float64)
    half = round(model.shape[0] * 0.0495 / 2 / PIXEL_SCALE_ARCSEC)
    part = slice(100 - half, 100 + half + 1)
    drawn = [quiet, *(draw_psf(np.random.default_rng(seed)) for seed in range(8))]
    shares = [
        encircled(psf.stamp(0.0, 0.0)[part, part], PIXEL_SCALE_ARCSEC, radius_arcsec)
        for psf in drawn
    ]
    # Tiny Tim's model is out of focus by 0.07 waves: an ordinary one among the drawn.
    expected = encircled(model, 0.0495, radius_arcsec)
    assert np.median(shares) == pytest.approx(expected, abs=0.03)
    assert min(shares) - 0.01 < expected < max(shares)


def test_aberrations_blur(quiet):
    drawn = [draw_psf(np.random.default_rng(seed), 20).kernel for seed in range(6)]
    assert all(kernel.max() < 1.05 * draw_peak(quiet) for kernel in drawn)
    assert min(kernel.max() for kernel in drawn) < 0.9 * draw_peak(quiet)


def draw_peak(psf):
    """Peak of a kernel cut to the 20 pixels that the drawn ones have."""
    cut = slice(160, 241)
    return psf.kernel.max() / psf.kernel[cut, cut].sum()


def test_full_width_at_half_maximum_is_that_of_acs(quiet):
    row = quiet.kernel[200]
    above = np.flatnonzero(row > row.max() / 2)
    # 0.09 arcsec in COSMOS (Scoville et al. 2007), before the pixel's own width.
    assert 0.06 < len(above) * SAMPLE_ARCSEC < 0.12


@pytest.mark.parametrize(
    ("dx", "dy"),
    [(0.0, 0.0), (0.3, 0.0), (-0.5, 0.25), (0.5, -0.5)],
)
def test_stamp_moves_and_keeps_its_light(quiet, dx, dy):
    stamp = quiet.stamp(dx, dy)
    assert stamp.shape == (201, 201)
    assert stamp.sum() == pytest.approx(1.0, abs=2e-3)
    y, x = ndimage.center_of_mass(stamp[80:121, 80:121])
    y0, x0 = ndimage.center_of_mass(quiet.stamp(0.0, 0.0)[80:121, 80:121])
    assert (x - x0, y - y0) == pytest.approx((dx, dy), abs=0.03)


def test_convolution_of_a_point_is_the_kernel(quiet):
    point = np.zeros((121, 141))
    point[60, 70] = 2.0
    core = quiet.core
    expected = np.zeros_like(point)
    expected[:, 10:131] = 2.0 * core.kernel
    np.testing.assert_allclose(core.convolve(point), expected, atol=1e-7)


def in_ring(kernel, radius_arcsec):
    y, x = np.indices(kernel.shape) - kernel.shape[0] // 2
    return kernel[np.abs(np.hypot(x, y) * SAMPLE_ARCSEC - radius_arcsec) < 0.1]


@pytest.mark.parametrize("radius_arcsec", [2.0, 4.0, 4.8])
def test_wings_do_not_depend_on_how_finely_the_pupil_is_sampled(quiet, radius_arcsec, monkeypatch):
    monkeypatch.setattr(psf, "PUPIL_SAMPLES", 600)
    psf._pupil_transforms.cache_clear()
    fine = draw_psf(np.random.default_rng(quiet_seed()))
    psf._pupil_transforms.cache_clear()
    rings = (in_ring(one.kernel, radius_arcsec).mean() for one in (quiet, fine))
    assert next(rings) == pytest.approx(next(rings), rel=0.05)


def test_what_polishing_left_makes_speckles(quiet, monkeypatch):
    monkeypatch.setattr(psf, "POLISHING_RMS", 0.0)
    polished = draw_psf(np.random.default_rng(quiet_seed()))
    rough, smooth = (in_ring(one.kernel, 1.0) for one in (quiet, polished))
    assert np.std(rough / smooth) > 0.05


def test_bin_down_sums():
    image = np.arange(24.0).reshape(4, 6)
    assert bin_down(image).tolist() == [[14, 22, 30], [62, 70, 78]]


def test_same_stream_same_psf():
    first, again = (draw_psf(np.random.default_rng(3), 20).kernel for _ in range(2))
    other = draw_psf(np.random.default_rng(4), 20).kernel
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
