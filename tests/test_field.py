import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.simulation.confusers import LIGHT
from lensweep.training.simulation.exposures import EXPOSURE_S, draw_coverage
from lensweep.training.simulation.field import make_field, make_known_field
from lensweep.training.simulation.field_population import CROWDED, SKY, Population

SIZE, N_LENSES, SEED = 900, 4, 3
NAME = "hst_99999_01_acs_wfc_f814w_drz.fits"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Path and truth of a small field."""
    path = tmp_path_factory.mktemp("field") / NAME
    return path, make_field(path, SEED, SIZE, N_LENSES)


@pytest.fixture(scope="module")
def planes(field):
    with fits.open(field[0]) as hdus:
        return {hdu.name: hdu.data.copy() for hdu in hdus[1:]}


def test_layout_is_that_of_the_archive(field):
    with fits.open(field[0]) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "WHT", "CTX"]
        assert hdus[0].data is None
        primary, science = hdus[0].header, hdus[1].header
        assert (primary["FILTER1"], primary["FILTER2"]) == ("CLEAR1L", "F814W")
        assert primary["TARGNAME"] == "SIMULATED"
        assert primary["SIMULATD"] is True
        assert primary["SIMSEED"] == SEED
        assert (science["BUNIT"], science["ORIENTAT"]) == ("ELECTRONS/S", 0.0)
        assert [hdu.header["BITPIX"] for hdu in hdus[1:]] == [-32, -32, 32]
        assert [hdu.shape for hdu in hdus[1:]] == [(SIZE, SIZE)] * 3
    assert [file.name for file in sorted(field[0].parent.iterdir())] == [
        NAME,
        NAME.replace(".fits", "_truth.csv"),
    ]


def test_scanner_takes_it(field, tmp_path):
    mosaic = inspect_mosaic(field[0], HeaderOverrides(), "F814W", "any", tmp_path)
    assert mosaic.zero_point_ab == pytest.approx(25.944, abs=1e-3)
    assert mosaic.pixel_scale_arcsec == pytest.approx(0.05)
    assert mosaic.exposure_time_s == 4 * EXPOSURE_S
    assert mosaic.wht_index == 2


def test_what_has_no_weight_has_no_data(planes):
    empty = planes["WHT"] == 0
    assert np.array_equal(empty, planes["SCI"] == 0)
    assert np.array_equal(empty, planes["CTX"] == 0)
    assert np.isfinite(planes["SCI"]).all()
    # The corners of a turned pointing, and the gap between the chips.
    assert empty[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    _, n_parts = ndimage.label(ndimage.binary_opening(~empty, iterations=3))
    assert n_parts == 2
    assert 0.5 < 1 - empty.mean() < 0.9


def test_weight_is_the_exposure_time(planes):
    counted = np.bitwise_count(planes["CTX"])
    np.testing.assert_allclose(planes["WHT"], counted * EXPOSURE_S)
    assert set(np.unique(counted).tolist()) == {0, 1, 2, 3, 4}
    assert np.median(counted[counted > 0]) == 4


def test_noise_follows_the_weight(planes):
    spread = {}
    for n_exposures in (2, 4):
        pixels = planes["SCI"][planes["WHT"] == n_exposures * EXPOSURE_S]
        low, middle = np.quantile(pixels, [0.1587, 0.5])
        spread[n_exposures] = middle - low
    # Two exposures in place of four: the square root of two, with more galaxies than noise above.
    assert spread[2] / spread[4] == pytest.approx(np.sqrt(2), rel=0.15)
    assert 0.005 < spread[4] < 0.0085


def test_truth(field):
    path, table = field
    again = pd.read_csv(path.with_name(path.stem + "_truth.csv"))
    pd.testing.assert_frame_equal(table, again)
    assert list(table.columns) == [
        "ra_deg", "dec_deg", "x_pix", "y_pix", "kind", "theta_e_arcsec", "source_magnitude",
        "host_magnitude", "signal_to_noise", "magnification",
    ]  # fmt: skip
    assert table["kind"].tolist() == ["lensed_galaxy"] * 3 + ["lensed_quasar"]
    assert table["signal_to_noise"].min() >= 30
    assert table["magnification"].min() >= 3
    assert table["theta_e_arcsec"].between(0.5, 2.0).all()


def test_lenses_are_where_the_truth_says(field, planes):
    path, table = field
    with fits.open(path) as hdus:
        ra_deg, dec_deg = WCS(hdus[1].header).all_pix2world(table["x_pix"], table["y_pix"], 0)
    np.testing.assert_allclose(table["ra_deg"], ra_deg)
    np.testing.assert_allclose(table["dec_deg"], dec_deg)
    for x, y in table[["x_pix", "y_pix"]].round().astype(int).to_numpy():
        # A deflector's centre is its brightest place.
        assert planes["SCI"][y - 2 : y + 3, x - 2 : x + 3].max() > 0.04


def test_lenses_keep_their_distance(field, planes):
    places = field[1][["x_pix", "y_pix"]].to_numpy()
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert apart[~np.eye(N_LENSES, dtype=bool)].min() >= 200
    valid = ndimage.binary_closing(planes["WHT"] > 0, np.ones((3, 3)))
    clearance = ndimage.distance_transform_edt(np.pad(valid, 1))[1:-1, 1:-1]
    x, y = places.round().astype(int).T
    assert clearance[y, x].min() >= 80


def test_seed_decides(tmp_path):
    pixels = {}
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        table = make_field(tmp_path / f"{name}.fits", seed, 400, 0)
        assert len(table) == 0
        pixels[name] = fits.getdata(tmp_path / f"{name}.fits", 1)
    assert np.array_equal(pixels["first"], pixels["again"])
    assert not np.array_equal(pixels["first"], pixels["other"])


def test_too_many_lenses_have_no_room(tmp_path):
    with pytest.raises(InputError, match=r"field of 500 pixels: room for \d lenses"):
        make_field(tmp_path / NAME, 1, 500, 12)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("population", [CROWDED, SKY])
def test_a_population_names_generators(population):
    assert set(population.counts) <= set(LIGHT)


def test_the_sky_has_as_many_galaxies_as_are_counted():
    """42 brighter than I = 22 in 6.25 arcmin2 (0.015 per arcsec2 to 25, growing as 10 ** 0.3 m)."""
    stars = ("bright_star", "chance_quasar_pair")
    galaxies = sum(count for kind, count in SKY.counts.items() if kind not in stars)
    counted = 0.015 * 10.0 ** (0.3 * (SKY.brightest - 25.0)) * (3000 * 0.05) ** 2
    assert 0.8 * galaxies == pytest.approx(counted, rel=0.1)


def test_stars_saturate(tmp_path):
    stars = Population({"bright_star": 250}, 0.0, 22.0, 0.0, 0.0)
    path = tmp_path / "field_f814w_drz.fits"
    make_known_field(path, SEED, 600, 0, stars)
    flux, full_well = fits.getdata(path, "SCI"), 84_700.0 / EXPOSURE_S
    # Noise, or a cosmic ray, may lie on top.
    assert flux.max() < 1.2 * full_well
    assert (flux > 0.95 * full_well).sum() > 10


def test_columns_run_across_the_gap_between_the_chips():
    for seed in range(3):
        coverage = draw_coverage(np.random.default_rng(seed), 800)
        middle = ndimage.gaussian_filter(coverage.n_exposures.astype(float), 5)[300:500, 300:500]
        slope_y, slope_x = np.gradient(middle)
        turn = 0.5 * np.arctan2(2 * (slope_x * slope_y).sum(), (slope_x**2 - slope_y**2).sum())
        assert abs(np.cos(turn - coverage.columns_rad)) > 0.99


def test_of_nothing_an_empty_field(tmp_path):
    nothing = Population({}, 0.0, 22.0, 0.0, 0.0)
    path = tmp_path / "field_f814w_drz.fits"
    assert make_known_field(path, SEED, 600, 0, nothing).others.empty
    flux, weight = fits.getdata(path, "SCI"), fits.getdata(path, "WHT")
    deepest = flux[weight == weight.max()]
    # But for what all exposures lost to cosmic rays.
    assert (np.abs(deepest) > 6 * deepest.std()).mean() < 2e-4
