import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from drizzled_files import sky_cards, write_hla

from lensweep.scanner.sky.cutouts import REGION_SIDE_PX, cut_windows
from lensweep.scanner.sky.grid import read_grid_region, scan_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import centred_windows, grid_windows, regions


def open_grid(path, folder):
    mosaic = inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", folder)
    return mosaic, scan_grid(mosaic)


def own_grid(folder, flux, weight=None):
    return open_grid(write_hla(folder / "m.fits", flux, weight), folder)


def test_full_grid_of_cutouts(tmp_path):
    flux = np.random.default_rng(814).normal(size=(330, 2400)).astype(np.float32)
    weight = np.ones_like(flux)
    weight[100:180, 40:260] = 0
    mosaic, grid = own_grid(tmp_path, flux, weight)
    corners = grid_windows(grid.shape, 50)
    assert len(list(regions(corners, REGION_SIDE_PX))) > 1
    cutouts, valid_fraction = cut_windows(mosaic, grid, corners)
    assert cutouts.shape == (len(corners), CUTOUT_SIZE, CUTOUT_SIZE)
    assert cutouts.dtype == valid_fraction.dtype == np.float32
    masked = np.where(weight > 0, flux, np.nan)
    for cutout, fraction, (x0, y0) in zip(cutouts, valid_fraction, corners.tolist(), strict=True):
        expected = masked[y0 : y0 + CUTOUT_SIZE, x0 : x0 + CUTOUT_SIZE]
        np.testing.assert_array_equal(cutout, expected)
        assert fraction == pytest.approx(np.isfinite(expected).mean())
    # Some windows touch the hole, and one has 80 of its 100 rows in it.
    assert valid_fraction.min() == pytest.approx(0.2)
    assert valid_fraction.max() == 1.0


@pytest.mark.parametrize(
    ("corner", "valid_fraction"),
    [
        ((-49, -49), 51 * 51 / 1e4),  # centred on the first pixel
        ((250, 160), 50 * 40 / 1e4),  # over the far corner
        ((100, 50), 1.0),
        ((-100, 0), 0.0),  # beside the image
        ((5000, 5000), 0.0),  # far from it
    ],
)
def test_windows_over_the_edge_are_padded(tmp_path, corner, valid_fraction):
    flux = np.random.default_rng(92).normal(size=(200, 300)).astype(np.float32)
    mosaic, grid = own_grid(tmp_path, flux)
    (cutout,), fraction = cut_windows(mosaic, grid, np.array([corner], np.int32))
    assert fraction == pytest.approx(valid_fraction)
    assert np.isfinite(cutout).mean() == pytest.approx(valid_fraction)
    rows, cols = np.nonzero(np.isfinite(cutout))
    np.testing.assert_array_equal(cutout[rows, cols], flux[rows + corner[1], cols + corner[0]])


def test_a_mosaic_smaller_than_a_window(tmp_path):
    flux = np.ones((60, 90), np.float32)
    mosaic, grid = own_grid(tmp_path, flux)
    cutouts, fraction = cut_windows(mosaic, grid, grid_windows(grid.shape, 50))
    assert cutouts.shape == (1, 100, 100)
    assert fraction == pytest.approx([0.54])
    assert np.isnan(cutouts[0, 60:]).all()
    assert np.isnan(cutouts[0, :, 90:]).all()


def test_no_windows_make_no_cutouts(tmp_path):
    mosaic, grid = own_grid(tmp_path, np.ones((120, 120), np.float32))
    cutouts, fraction = cut_windows(mosaic, grid, np.empty((0, 2), np.int32))
    assert cutouts.shape == (0, 100, 100)
    assert fraction.shape == (0,)


def test_the_order_of_windows_does_not_matter(tmp_path):
    flux = np.random.default_rng(3).normal(size=(2500, 2600)).astype(np.float32)
    mosaic, grid = own_grid(tmp_path, flux)
    rng = np.random.default_rng(4)
    corners, _ = centred_windows(*rng.uniform(0, 2500, (2, 60)))
    shuffle = rng.permutation(60)
    in_order, _ = cut_windows(mosaic, grid, corners)
    shuffled, _ = cut_windows(mosaic, grid, corners[shuffle])
    np.testing.assert_array_equal(shuffled, in_order[shuffle])


def test_resampled_cutouts_are_the_grids_pixels(tmp_path):
    flux = np.random.default_rng(5).normal(size=(420, 400)).astype(np.float32)
    sky = sky_cards(flux.shape, 0.03, 20.0, frame="FK5")
    mosaic, grid = open_grid(write_hla(tmp_path / "m.fits", flux, sky=sky), tmp_path)
    corners = grid_windows(grid.shape, 50)
    cutouts, fraction = cut_windows(mosaic, grid, corners)
    image = read_grid_region(mosaic, grid, slice(0, grid.shape[0]), slice(0, grid.shape[1]))
    for cutout, share, (x0, y0) in zip(cutouts, fraction, corners.tolist(), strict=True):
        window = slice(y0, y0 + CUTOUT_SIZE), slice(x0, x0 + CUTOUT_SIZE)
        np.testing.assert_allclose(cutout, image[window], rtol=1e-5)
        assert share == pytest.approx(np.isfinite(image[window]).mean())
    assert len(corners) > 9


def test_cutouts_of_a_real_lens(tmp_path):
    if "LENSWEEP_REAL_DATA" not in os.environ:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    path = Path(os.environ["LENSWEEP_REAL_DATA"]) / "lenses" / "SDSSJ0029-0055_acs_f814w.fits"
    mosaic, grid = open_grid(path, tmp_path)
    cutouts, fraction = cut_windows(mosaic, grid, grid_windows(grid.shape, 49))
    assert (fraction == 1.0).all()
    # 198 pixels are three windows of stride 49; the lens is in the middle of the middle one.
    flux = cutouts.sum(axis=(1, 2))
    assert len(flux) == 9
    peak = np.unravel_index(np.argmax(cutouts[np.argmax(flux)]), (100, 100))
    assert np.abs(np.subtract(peak, 49.5)).max() < 5


def test_a_compressed_file_gives_the_same_cutouts(tmp_path):
    flux = np.random.default_rng(6).normal(size=(420, 2400)).astype(np.float32)
    flux[100:180, 40:260] = np.nan
    plain = write_hla(tmp_path / "plain.fits", flux, np.ones_like(flux))
    with fits.open(plain) as hdus:
        header, image, weight = hdus[0], hdus["SCI"], hdus["WHT"]
        packed = [
            fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_1", quantize_level=0)
            for hdu in (image, weight)
        ]
        fits.HDUList([header, *packed]).writeto(tmp_path / "packed.fits")
    cut = []
    for name in ("plain", "packed"):
        mosaic, grid = open_grid(tmp_path / f"{name}.fits", tmp_path)
        cut.append(cut_windows(mosaic, grid, grid_windows(grid.shape, 50)))
    for one, other in zip(*cut, strict=True):
        np.testing.assert_array_equal(one, other)
