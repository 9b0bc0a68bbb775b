import os
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from drizzled_files import CRVAL, add_star, sky_cards, write_hla

from lensweep.scanner.sky.grid import (
    centre_stamp,
    grid_to_mosaic_pixels,
    grid_to_sky,
    read_grid_region,
    scan_grid,
    sky_to_grid,
)
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import read_region

SKY = 0.1  # e-/s per mosaic pixel, far from any flux that a bug would leave behind
# Scale, rotation and frame of images that have to be resampled.
RESAMPLED = [
    (0.03, 0.0, "FK5"),  # COSMOS
    (0.03, 20.0, "FK5"),  # COWLS
    (0.04, 0.0, "ICRS"),  # HAP skycells
    (0.05, -76.0, "FK5"),  # rotated HLA drizzles
    (0.08, 45.0, "ICRS"),  # coarser than the grid
]


def real_data() -> Path:
    if "LENSWEEP_REAL_DATA" not in os.environ:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    return Path(os.environ["LENSWEEP_REAL_DATA"])


def inspect(path, overrides=HeaderOverrides(), **options):  # noqa: B008
    return inspect_mosaic(path, overrides, "F814W", "ens", Path(path).parent / "scratch", **options)


def mosaic_of(folder, flux, sky, **options):
    return inspect(write_hla(folder / "m.fits", flux.astype(np.float32), sky=sky, **options))


def flat(folder, scale, rotation, frame="ICRS", shape=(300, 330)):
    return mosaic_of(folder, np.full(shape, SKY), sky_cards(shape, scale, rotation, frame=frame))


def whole(mosaic, grid):
    flux = read_grid_region(mosaic, grid, slice(0, grid.shape[0]), slice(0, grid.shape[1]))
    return flux, np.isfinite(flux)


def mirrored(header):
    header["CD1_1"] = -header["CD1_1"]


def distorted(header):
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-6)


def orthographic(header):
    header.update(CTYPE1="RA---SIN", CTYPE2="DEC--SIN")


def galactic(header):
    header.update(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN")
    del header["RADESYS"]


def besselian(header):
    header.update(RADESYS="FK4", EQUINOX=1950.0)


def stretched(header):
    header["CD2_2"] *= 1.002


def turned_native_pole(header):
    header["LONPOLE"] = 90.0


@pytest.mark.parametrize(
    ("scale", "rotation", "frame", "change", "resampled"),
    [
        (0.05, 0.0, "ICRS", None, False),  # HLA
        (0.05, 0.0, "FK5", None, False),
        (0.05004, 0.0, "ICRS", None, False),  # within 0.1 %
        (0.05, 0.09, "ICRS", None, False),  # within 0.1 degrees
        (0.05006, 0.0, "ICRS", None, True),
        (0.05, 0.11, "ICRS", None, True),
        (0.05, -0.11, "ICRS", None, True),
        (0.05, 180.0, "ICRS", None, True),  # south up
        (0.03, 0.0, "ICRS", None, True),
        (0.05, 0.0, "ICRS", mirrored, True),  # east right
        (0.05, 0.0, "ICRS", stretched, True),
        (0.05, 0.0, "ICRS", distorted, True),
        (0.05, 0.0, "ICRS", orthographic, True),
        (0.05, 0.0, "ICRS", galactic, True),
        (0.05, 0.0, "ICRS", besselian, True),
        (0.05, 0.0, "ICRS", turned_native_pole, True),
    ],
)
def test_the_own_grid_is_kept_when_it_is_the_scanning_grid(
    tmp_path, scale, rotation, frame, change, resampled
):
    sky = sky_cards((120, 150), scale, rotation, frame=frame)
    if change:
        change(sky)
    mosaic = mosaic_of(tmp_path, np.ones((120, 150)), sky)
    grid = scan_grid(mosaic)
    assert grid.resampled == resampled
    if not resampled:
        assert (grid.shape, grid.wcs_header) == (mosaic.shape, mosaic.wcs_header)


@pytest.mark.parametrize(("scale", "rotation", "frame"), RESAMPLED)
def test_new_grid_is_north_up_and_covers_the_mosaic(tmp_path, scale, rotation, frame):
    mosaic = flat(tmp_path, scale, rotation, frame)
    grid = scan_grid(mosaic)
    assert grid.resampled
    assert grid.wcs.wcs.radesys == frame
    centre = grid.shape[1] / 2, grid.shape[0] / 2
    here, west, north = (
        SkyCoord(*grid_to_sky(grid, centre[0] + dx, centre[1] + dy), unit="deg")
        for dx, dy in ((0, 0), (1, 0), (0, 1))
    )
    assert here.separation(west).arcsec == pytest.approx(0.05, rel=1e-5)
    assert here.position_angle(west).deg == pytest.approx(270, abs=0.01)
    assert min(here.position_angle(north).deg % 360, 0.0) == pytest.approx(0, abs=0.01)
    ny, nx = mosaic.shape
    corners = mosaic.wcs.pixel_to_world(
        [-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5]
    )
    x, y = sky_to_grid(grid, corners.icrs.ra.deg, corners.icrs.dec.deg)
    # The rectangle is tight: corners reach its edges and none lies outside.
    for pixels, length in ((x, grid.shape[1]), (y, grid.shape[0])):
        assert pixels.min() == pytest.approx(-0.5, abs=0.02)
        assert length - 1.5 < pixels.max() <= length - 0.48


def test_sky_positions_are_icrs_and_go_both_ways(tmp_path):
    mosaic = flat(tmp_path, 0.05, 0.0, "FK5")
    grid = scan_grid(mosaic)
    ra, dec = grid_to_sky(grid, [164.5], [149.5])
    reference = SkyCoord(*CRVAL, unit="deg", frame="fk5").icrs
    assert SkyCoord(ra, dec, unit="deg").separation(reference).mas.max() < 0.01
    # FK5 and ICRS differ by some 20 mas, so mixing them up would show.
    assert SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*CRVAL, unit="deg")).mas.min() > 5
    x, y = np.meshgrid([-50.0, 0.0, 400.0], [-7.5, 123.25])
    back = sky_to_grid(grid, *grid_to_sky(grid, x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-6)


def test_the_far_side_of_the_sky_has_no_pixels(tmp_path):
    grid = scan_grid(flat(tmp_path, 0.05, 0.0))
    x, y = sky_to_grid(grid, [CRVAL[0], CRVAL[0] + 180], [CRVAL[1], -CRVAL[1]])
    assert np.isfinite([x[0], y[0]]).all()
    assert np.isnan([x[1], y[1]]).all()


def test_mosaic_pixels_of_grid_pixels(tmp_path):
    mosaic = flat(tmp_path, 0.03, 20.0)
    grid = scan_grid(mosaic)
    x, y = grid_to_mosaic_pixels(mosaic, grid, [10.0, 90.5], [77.0, 60.0])
    expected = mosaic.wcs.world_to_pixel(
        SkyCoord(*grid_to_sky(grid, [10.0, 90.5], [77.0, 60.0]), unit="deg")
    )
    np.testing.assert_allclose((x, y), expected, atol=1e-6)
    own = scan_grid(inspect(write_hla(tmp_path / "own.fits", np.ones((120, 120), np.float32))))
    assert not own.resampled
    assert grid_to_mosaic_pixels(mosaic, own, 3.25, 7) == (3.25, 7.0)


def test_own_grid_is_read_unchanged(tmp_path):
    flux = np.random.default_rng(1).normal(size=(150, 160))
    mosaic = mosaic_of(tmp_path, flux, sky_cards(flux.shape))
    got = read_grid_region(mosaic, scan_grid(mosaic), slice(-5, 60), slice(30, 170))
    np.testing.assert_array_equal(got, read_region(mosaic, slice(-5, 60), slice(30, 170)))


@pytest.mark.parametrize(("scale", "rotation", "frame"), RESAMPLED)
def test_sky_level_scales_with_pixel_area(tmp_path, scale, rotation, frame):
    mosaic = flat(tmp_path, scale, rotation, frame)
    flux, valid = whole(mosaic, scan_grid(mosaic))
    # Everywhere, so borders lose no flux.
    np.testing.assert_allclose(flux[valid], SKY * (0.05 / scale) ** 2, rtol=1e-4)
    # The valid area is the mosaic's, to half a grid pixel along its border.
    expected = 300 * 330 * (scale / 0.05) ** 2
    assert valid.sum() == pytest.approx(expected, abs=0.5 * 4 * np.sqrt(expected) + 50)


@pytest.mark.parametrize(("scale", "rotation", "frame"), RESAMPLED)
def test_stars_keep_place_and_flux(tmp_path, scale, rotation, frame):
    shape = (300, 330)
    flux = np.zeros(shape)
    # FWHM 0.11 arcsec, as ACS has; off-centre in their pixels.
    stars = [(60.3, 80.8), (250.0, 90.5), (150.6, 240.2)]
    for x, y in stars:
        add_star(flux, x, y, 100.0, 0.0475 / scale)
    mosaic = mosaic_of(tmp_path, flux + SKY, sky_cards(shape, scale, rotation, frame=frame))
    grid = scan_grid(mosaic)
    image, _ = whole(mosaic, grid)
    image -= SKY * (0.05 / scale) ** 2
    for star in stars:
        sky = mosaic.wcs.pixel_to_world(*star).icrs
        x, y = (float(value) for value in sky_to_grid(grid, sky.ra.deg, sky.dec.deg))
        left, bottom = round(x) - 8, round(y) - 8
        stamp = image[bottom : bottom + 17, left : left + 17]
        rows, cols = np.indices(stamp.shape)
        # 5 % where 0.08 arcsec pixels sample the star too coarsely, 2 % elsewhere.
        assert stamp.sum() == pytest.approx(100.0, rel=0.05 if scale > 0.05 else 0.02)
        assert (stamp * cols).sum() / stamp.sum() + left == pytest.approx(x, abs=0.05)
        assert (stamp * rows).sum() / stamp.sum() + bottom == pytest.approx(y, abs=0.05)


def test_distorted_mosaics_are_straightened(tmp_path):
    shape = (300, 330)
    sky = sky_cards(shape, 0.05)
    sky.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2)
    sky.update(A_2_0=2e-4, B_1_1=2e-4)  # up to 5 pixels
    flux = np.zeros(shape)
    add_star(flux, 30.0, 40.0, 100.0, 1.0)
    # Exactly zero would be missing data, without a weight map.
    mosaic = mosaic_of(tmp_path, flux + SKY, sky)
    grid = scan_grid(mosaic)
    image, _ = whole(mosaic, grid)
    star = WCS(sky).pixel_to_world(30.0, 40.0).icrs
    x, y = sky_to_grid(grid, star.ra.deg, star.dec.deg)
    peak = np.unravel_index(np.nanargmax(image), image.shape)
    assert np.hypot(peak[1] - x, peak[0] - y) < 0.75
    # Without the distortion the star would lie elsewhere.
    straight = WCS(sky_cards(shape, 0.05)).pixel_to_world(30.0, 40.0)
    assert straight.separation(star).arcsec > 0.1


@pytest.mark.parametrize(("scale", "rotation", "frame"), RESAMPLED)
def test_holes_stay_holes(tmp_path, scale, rotation, frame):
    shape = (300, 330)
    flux = np.full(shape, SKY)
    hole = (slice(140, 160), slice(150, 190))
    flux[hole] = np.nan
    flux[60, 70] = np.nan
    mosaic = mosaic_of(tmp_path, flux, sky_cards(shape, scale, rotation, frame=frame))
    grid = scan_grid(mosaic)
    image, valid = whole(mosaic, grid)
    np.testing.assert_allclose(image[valid], SKY * (0.05 / scale) ** 2, rtol=1e-4)
    cols, rows = np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[0]))
    x, y = grid_to_mosaic_pixels(mosaic, grid, cols, rows)
    # Distance to the hole's edge in grid pixels, positive outside.
    outside = np.maximum(abs(x - 169.5) - 20, abs(y - 149.5) - 10) * scale / 0.05
    nearby = outside < 20
    assert not valid[nearby & (outside < -1)].any()
    assert valid[nearby & (outside > 1)].all()
    # One bad pixel is bridged where its neighbours hold most of the kernel, and spoils one pixel
    # or its direct neighbours where it is larger than the kernel.
    bad = np.hypot(x - 70, y - 60) * scale / 0.05
    assert np.count_nonzero(~valid[bad < 15]) <= (scale / 0.05) ** 2 * 1.6 + 0.5


@pytest.mark.parametrize(("scale", "rotation", "frame"), RESAMPLED[1:4])
def test_pixels_do_not_depend_on_the_regions_read(tmp_path, scale, rotation, frame):
    shape = (round(560 * 0.05 / scale), round(540 * 0.05 / scale))
    flux = np.random.default_rng(814).normal(1.0, 0.1, shape)
    flux[300:320, 350:450] = np.nan
    mosaic = mosaic_of(tmp_path, flux, sky_cards(shape, scale, rotation, frame=frame))
    grid = scan_grid(mosaic)
    ny, nx = grid.shape
    # Over 512 pixels, so the one region is resampled in several blocks.
    assert min(ny, nx) > 512
    together, _ = whole(mosaic, grid)
    for rows in (slice(0, 301), slice(301, ny)):
        for cols in (slice(0, 517), slice(517, nx)):
            part = read_grid_region(mosaic, grid, rows, cols)
            np.testing.assert_allclose(part, together[rows, cols], rtol=2e-5)


def test_regions_beyond_a_resampled_mosaic_are_invalid(tmp_path):
    mosaic = flat(tmp_path, 0.03, 20.0)
    grid = scan_grid(mosaic)
    flux = read_grid_region(mosaic, grid, slice(-40, -20), slice(5, 17))
    assert flux.shape == (20, 12)
    assert np.isnan(flux).all()
    # Across the border, the same pixels as without the outside.
    around = read_grid_region(mosaic, grid, slice(-40, 120), slice(-30, 100))
    inside = read_grid_region(mosaic, grid, slice(0, 120), slice(0, 100))
    np.testing.assert_allclose(around[40:, 30:], inside, rtol=2e-5)


def test_a_mosaic_without_sky_has_no_grid(tmp_path):
    path = write_hla(tmp_path / "m.fits", np.ones((120, 120), np.float32), sky=fits.Header())
    stated = HeaderOverrides(pixel_scale_arcsec=0.05)
    with pytest.raises(MosaicError, match="no sky coordinates"):
        scan_grid(inspect(path, stated, require_sky_wcs=False))


@pytest.mark.parametrize(
    ("shape", "corner", "valid_fraction"),
    [
        ((198, 198), (49, 49), 1.0),
        ((100, 100), (0, 0), 1.0),
        ((151, 240), (25, 70), 1.0),  # odd: half a pixel off
        ((60, 100), (-20, 0), 0.6),  # small: padded
    ],
)
def test_stamp_is_a_plain_crop_at_the_scanning_scale(tmp_path, shape, corner, valid_fraction):
    flux = np.random.default_rng(5).normal(size=shape)
    # Orientation does not matter for one stamp.
    mosaic = mosaic_of(tmp_path, flux, sky_cards(shape, 0.05, -76.0))
    stamp, fraction = centre_stamp(mosaic)
    assert fraction == pytest.approx(valid_fraction)
    padded = np.pad(flux.astype(np.float32), 30, constant_values=np.nan)
    y0, x0 = corner[0] + 30, corner[1] + 30
    np.testing.assert_array_equal(stamp, padded[y0 : y0 + 100, x0 : x0 + 100])


@pytest.mark.parametrize(
    ("scale", "size", "valid_fraction"),
    [
        (0.03, 419, 1.0),
        (0.04, 156, 1.0),
        (0.04, 72, 0.3364),  # 2.88 arcsec: 58 pixels of 0.05
        (0.08, 180, 1.0),
    ],
)
def test_stamp_without_sky_coordinates_is_resampled(tmp_path, scale, size, valid_fraction):
    flux = np.full((size, size), 1e-6)
    centre = (size - 1) / 2
    add_star(flux, centre + 0.25 / scale, centre, 100.0, 0.0475 / scale)
    path = write_hla(tmp_path / "m.fits", flux.astype(np.float32), sky=fits.Header())
    mosaic = inspect(path, HeaderOverrides(pixel_scale_arcsec=scale), require_sky_wcs=False)
    stamp, fraction = centre_stamp(mosaic)
    assert stamp.shape == (100, 100)
    assert stamp.dtype == np.float32
    assert fraction == pytest.approx(valid_fraction, abs=0.001)
    stamp = np.nan_to_num(stamp)
    assert stamp.sum() == pytest.approx(100.0, rel=0.03)
    rows, cols = np.indices(stamp.shape)
    # 0.25 arcsec to the right of the middle, not mirrored.
    assert (stamp * cols).sum() / stamp.sum() == pytest.approx(54.5, abs=0.05)
    assert (stamp * rows).sum() / stamp.sum() == pytest.approx(49.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "resampled"),
    [
        ("SDSSJ0029-0055_acs_f814w.fits", False),  # ORIENTAT 0, ICRS
        ("SDSSJ0753+3416_acs_f814w.fits", False),
        ("SDSSJ1051+4439_acs_f814w.fits", False),
        ("SDSSJ0737+3216_acs_f814w.fits", True),  # ORIENTAT -76, FK5
        ("SDSSJ1627-0053_acs_f814w.fits", True),  # ORIENTAT -86, FK5
        ("COSJ100024+015334_acs_f814w.fits.gz", True),  # 0.03 arcsec, ORIENTAT 20
    ],
)
def test_real_lenses_reach_the_scanning_grid(tmp_path, name, resampled):
    path = real_data() / "lenses" / name
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", tmp_path)
    grid = scan_grid(mosaic)
    assert grid.resampled == resampled
    image, valid = whole(mosaic, grid)
    raw = fits.getdata(path)
    # 2 % at most: kernel, and the pixels cut by the mosaic's edge.
    assert image[valid].sum() == pytest.approx(raw.sum(), rel=0.02)
    # The lens is in the middle of these crops, and stays the brightest thing there.
    ny, nx = grid.shape
    stamp, fraction = centre_stamp(mosaic)
    assert fraction == 1.0
    middle = image[ny // 2 - 50 : ny // 2 + 50, nx // 2 - 50 : nx // 2 + 50]
    assert np.nansum(middle) == pytest.approx(stamp.sum(), rel=0.15)
