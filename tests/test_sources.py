import os
from pathlib import Path

import numpy as np
import pytest
from drizzled_files import add_star, sky_cards, write_hla
from scipy.spatial import cKDTree

from lensweep.scanner.sky.grid import scan_grid, sky_to_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.sources import detect_sources

SIGMA_PX = 1.5
NOISE = 0.01


def detect(folder, flux, weight=None, sky=None, **options):
    path = write_hla(folder / "m.fits", flux.astype(np.float32), weight, sky)
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", folder)
    grid = scan_grid(mosaic)
    return mosaic, grid, np.stack(detect_sources(mosaic, grid, **options), axis=1)


def noisy(shape, seed=814):
    # A sky that rises across the image, as scattered light does.
    rows, cols = np.indices(shape)
    return np.random.default_rng(seed).normal(0.05 + 1e-5 * (rows + cols), NOISE)


def planted(flux, positions, total=3.0):
    for x, y in positions:
        add_star(flux, x, y, total, SIGMA_PX)
    return flux


def assert_found_once(found, positions, tolerance=0.3):
    assert len(found) == len(positions)
    distance, which = cKDTree(found).query(positions)
    assert distance.max() < tolerance
    assert sorted(which) == list(range(len(positions)))


# On and beside the borders of tiles of 256, where two or four tiles see a source.
BORDERS = [
    (255.5, 100.0),
    (255.4, 130.0),
    (255.6, 160.0),
    (256.0, 190.3),
    (60.0, 255.5),
    (255.5, 255.5),
    (511.5, 40.2),
    (300.0, 511.5),
    (511.5, 511.5),
    (120.7, 333.3),
    (5.0, 5.0),
    (590.0, 610.0),
]


@pytest.mark.parametrize(
    ("tile_px", "halo_px"),
    [
        (1024, 256),  # one tile
        (256, 128),  # nine tiles
        (128, 128),  # twenty-five
    ],
)
def test_planted_sources_are_found_once_each(tmp_path, tile_px, halo_px):
    flux = planted(noisy((620, 600)), BORDERS)
    _, _, found = detect(tmp_path, flux, tile_px=tile_px, halo_px=halo_px)
    assert_found_once(found, BORDERS)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_line_of_sources_on_a_border_is_neither_doubled_nor_lost(tmp_path, seed):
    # Two tiles put a centre some 0.001 px apart. Were each to keep strictly its own, seed 1
    # would find one of the 49 twice, and seed 2 lose one.
    rng = np.random.default_rng(seed)
    flux = rng.normal(0.05, NOISE, (1100, 600))
    positions = [
        (255.5 + offset, 20.0 + 22 * i) for i, offset in enumerate(rng.uniform(-0.05, 0.05, 49))
    ]
    _, _, found = detect(tmp_path, planted(flux, positions), tile_px=256, halo_px=128)
    assert_found_once(found, positions)


def test_tiles_do_not_change_the_list(tmp_path):
    rng = np.random.default_rng(92)
    flux = noisy((640, 640))
    for x, y, total in zip(*rng.uniform(10, 630, (2, 80)), rng.uniform(1.0, 10, 80), strict=True):
        add_star(flux, x, y, total, SIGMA_PX)
    mosaic, grid, one_tile = detect(tmp_path, flux)
    many = np.stack(detect_sources(mosaic, grid, tile_px=128, halo_px=128), axis=1)
    assert len(one_tile) > 60
    assert_found_once(many, one_tile)


def test_empty_sky_has_no_sources(tmp_path):
    _, _, found = detect(tmp_path, noisy((400, 400)))
    assert found.shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "n_found"),
    [
        ({}, 2),
        ({"detection_sigma": 50.0}, 1),  # only the bright one
        ({"min_area_px": 40}, 1),  # the faint one covers less
        ({"detection_sigma": 500.0}, 0),
    ],
)
def test_thresholds_select(tmp_path, options, n_found):
    flux = planted(planted(noisy((300, 300)), [(100.0, 120.0)], 30.0), [(200.0, 210.0)], 1.5)
    assert len(detect(tmp_path, flux, **options)[2]) == n_found


def test_neighbours_are_deblended(tmp_path):
    pair = [(150.0, 150.0), (160.0, 150.0)]
    assert_found_once(detect(tmp_path, planted(noisy((300, 300)), pair, 10.0))[2], pair)


def test_invalid_pixels_are_no_sources_and_hide_no_others(tmp_path):
    seen, hidden = [(100.0, 120.0), (200.0, 215.0)], (250.0, 60.0)
    flux = planted(noisy((300, 300)), [*seen, hidden])
    weight = np.ones((300, 300))
    weight[40:80, 230:270] = 0
    flux[50:60, :200] = np.nan
    # Bright rubbish, as chip gaps and satellite trails hold, without weight.
    weight[250:260], flux[250:260] = 0, 1e6
    assert_found_once(detect(tmp_path, flux, weight)[2], seen)


def test_a_tile_without_valid_pixels_is_skipped(tmp_path):
    flux = planted(noisy((300, 600)), [(100.0, 120.0)])
    flux[:, 256:] = np.nan
    assert_found_once(detect(tmp_path, flux, tile_px=256, halo_px=128)[2], [(100.0, 120.0)])


def test_sources_of_a_resampled_mosaic_are_in_grid_pixels(tmp_path):
    shape = (400, 420)
    positions = [(100.0, 130.0), (300.5, 250.0)]
    sky = sky_cards(shape, 0.03, 20.0)
    flux = planted(noisy(shape), positions, 10.0)
    mosaic, grid, found = detect(tmp_path, flux, sky=sky)
    stars = mosaic.wcs.pixel_to_world(*np.transpose(positions)).icrs
    expected = np.stack(sky_to_grid(grid, stars.ra.deg, stars.dec.deg), axis=1)
    assert_found_once(found, expected)


def test_misaligned_tiles_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tile_px 200 and halo_px 128 must be multiples of 128"):
        detect(tmp_path, noisy((300, 300)), tile_px=200, halo_px=128)


def test_real_lens_is_a_source(tmp_path):
    if "LENSWEEP_REAL_DATA" not in os.environ:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    path = Path(os.environ["LENSWEEP_REAL_DATA"]) / "lenses" / "SDSSJ0029-0055_acs_f814w.fits"
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", tmp_path)
    x, y = detect_sources(mosaic, scan_grid(mosaic))
    assert np.hypot(x - 98.5, y - 98.5).min() < 5
