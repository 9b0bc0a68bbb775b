import numpy as np
import pytest

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.lenses import (
    THETA_E_RANGE_ARCSEC,
    Deflector,
    Lens,
    draw_arcs,
    draw_galaxy,
    draw_host,
    draw_lens,
    truth,
)
from lensweep.training.simulation.light import Sersic, flux_of
from lensweep.training.simulation.psf import draw_psf

CENTRE = 120.0


@pytest.fixture(scope="module")
def psf():
    return draw_psf(np.random.default_rng(2))


def lens(theta_e=1.0, axis_ratio=1.0, quasar=None, source=(0.0, 0.0), r_eff=0.04, shear=0.0):
    return Lens(
        Deflector(theta_e, axis_ratio, 0.3, shear, 0.0),
        (Sersic(20.0, 0.5, 4.0, 0.8, 0.0),),
        (Sersic(23.0, r_eff, 1.0, 1.0, 0.0, *source),),
        quasar,
    )


def arcs_of(system, psf, seed=0):
    image = np.zeros((241, 241))
    found = draw_arcs(image, CENTRE, CENTRE, system, psf, np.random.default_rng(seed))
    return image, *found


@pytest.mark.parametrize("theta_e", [0.5, 1.0, 2.0])
def test_centred_source_behind_a_round_lens_is_a_ring(psf, theta_e):
    image, magnification, _ = arcs_of(lens(theta_e), psf)
    y, x = (np.indices(image.shape) - CENTRE) * PIXEL_SCALE_ARCSEC
    radius = np.hypot(x, y)
    near = radius < theta_e + 0.8
    mean = (radius * image)[near].sum() / image[near].sum()
    # The PSF's wings pull the mean outwards by some hundredths.
    assert mean == pytest.approx(theta_e, abs=0.05)
    profile = np.bincount((radius / 0.05 + 0.5).astype(int).ravel(), image.ravel())
    counts = np.bincount((radius / 0.05 + 0.5).astype(int).ravel())
    assert (profile / counts).argmax() * 0.05 == pytest.approx(theta_e, abs=0.051)
    # A ring is closed: every direction has light.
    ring = np.abs(radius - theta_e) < 0.05
    assert image[ring].min() > 0.4 * image[ring].max()
    assert magnification > 5


def test_magnification_of_an_isothermal_sphere(psf):
    # Total magnification of a point at beta < theta_E is 2 theta_E / beta.
    # (Off the axes: the solver misses both images of a round lens on its own grid lines.)
    _, magnification, fluxes = arcs_of(lens(1.0, quasar=(20.0, 0.2, 0.22)), psf)
    assert magnification == pytest.approx(2.0 / np.hypot(0.2, 0.22), rel=0.02)
    assert len(fluxes) == 2
    assert fluxes[0] >= fluxes[1]
    # Each image takes 0.2 mag of scatter.
    assert sum(fluxes) == pytest.approx(flux_of(20.0) * magnification, rel=0.6)


def test_small_galaxy_is_magnified_as_a_point(psf):
    _, magnification, fluxes = arcs_of(lens(1.0, source=(0.4, 0.0), r_eff=0.02), psf)
    assert magnification == pytest.approx(2.0 / 0.4, rel=0.1)
    assert fluxes == ()


@pytest.mark.parametrize(
    ("axis_ratio", "source", "count"),
    [
        (0.6, (0.01, 0.02), 4),  # inside the diamond caustic
        (0.6, (0.5, 0.3), 2),  # outside it
        (0.95, (0.4, 0.0), 2),
    ],
)
def test_quasar_image_count(psf, axis_ratio, source, count):
    image, magnification, fluxes = arcs_of(lens(1.0, axis_ratio, (20.0, *source), source), psf)
    assert len(fluxes) == count
    assert list(fluxes) == sorted(fluxes, reverse=True)
    assert magnification > 1
    assert image.max() > 0.05 * min(fluxes)


@pytest.mark.parametrize("lensed_quasar", [False, True])
def test_drawn_lenses_keep_to_the_population(psf, lensed_quasar):
    rng = np.random.default_rng(5)
    for _ in range(8):
        system = draw_lens(rng, lensed_quasar)
        assert system.kind == ("lensed_quasar" if lensed_quasar else "lensed_galaxy")
        parameters = truth(system)
        assert all(np.isfinite(value) for value in parameters.values())
        low, high = THETA_E_RANGE_ARCSEC
        assert low <= parameters["theta_e_arcsec"] <= high
        assert 16.4 < parameters["host_magnitude"] < 24.1
        image, magnification, fluxes = arcs_of(system, psf)
        assert magnification > 1
        assert np.isfinite(image).all()
        assert bool(fluxes) == lensed_quasar


def test_einstein_radii_are_spread_as_in_collett():
    rng = np.random.default_rng(6)
    radii = [draw_lens(rng, False).deflector.theta_e_arcsec for _ in range(400)]
    assert 0.65 < np.median(radii) < 0.85
    assert np.quantile(radii, 0.05) < 0.45
    assert np.quantile(radii, 0.95) > 1.3


def test_quasars_are_few_to_the_knee_of_their_counts_and_many_beyond():
    rng = np.random.default_rng(6)
    drawn = [draw_lens(rng, True).quasar for _ in range(1500)]
    magnitudes = np.array([magnitude for magnitude, _, _ in drawn])
    by_magnitude, _ = np.histogram(magnitudes, [17.5, 18.5, 19.5, 20.5, 21.5, 22.5, 23.5, 24.5])
    assert by_magnitude.sum() == len(magnitudes)
    # By the slopes 15 times as many from 19.5 to 20.5 as from 17.5 to 18.5; then 1.8 a magnitude.
    assert by_magnitude[2] > 5 * by_magnitude[0]
    assert 1.2 < by_magnitude[6] / by_magnitude[5] < 2.6


@pytest.mark.parametrize("magnitude", [18.0, 21.0, 23.0])
def test_host_has_the_magnitude_asked_for(magnitude):
    rng = np.random.default_rng(7)
    for _ in range(20):
        components, axis_ratio = draw_host(rng, magnitude)
        total = sum(flux_of(component.magnitude) for component in components)
        assert total == pytest.approx(flux_of(magnitude), rel=1e-9)
        assert 0.25 <= axis_ratio <= 0.98


def test_isophotes_of_one_host_in_three_twist():
    rng = np.random.default_rng(8)
    hosts = [draw_host(rng, 20.0)[0] for _ in range(200)]
    twisted = [host for host in hosts if len(host) == 2 and host[1].x_arcsec != 0.0]
    assert 50 < len(twisted) < 90
    turns = [envelope.angle_rad - core.angle_rad for core, envelope in twisted]
    assert 0.2 < np.std(turns) < 0.4
    assert all(envelope.r_eff_arcsec > core.r_eff_arcsec for core, envelope in twisted)


def test_faint_galaxy_has_the_magnitude_asked_for():
    rng = np.random.default_rng(8)
    counts = set()
    for _ in range(60):
        parts = draw_galaxy(rng, 24.0, 0.0, 0.0)
        counts.add(len(parts))
        total = sum(flux_of(part.magnitude) for part in parts)
        assert total == pytest.approx(flux_of(24.0), rel=1e-4)
    assert {1, 2, 4} <= counts


def test_brighter_hosts_are_larger():
    rng = np.random.default_rng(9)
    bright, faint = (
        np.median([draw_host(rng, magnitude)[0][0].r_eff_arcsec for _ in range(100)])
        for magnitude in (19.0, 23.0)
    )
    assert bright > 2 * faint


def test_same_stream_same_lens():
    first, again = (draw_lens(np.random.default_rng(3), True) for _ in range(2))
    assert first == again
    assert first != draw_lens(np.random.default_rng(4), True)
