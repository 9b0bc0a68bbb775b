import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from drizzled_files import sky_cards
from scipy.ndimage import rotate

from lensweep.catalogs.coverage import area_deg2
from lensweep.scanner.results.footprint import run_footprint
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import scan_grid
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels, read_region
from lensweep.scanner.sky.windows import grid_windows

SHAPE = (300, 420)
NO_DITHER, DITHER_1, DITHER_2 = -1, 1, 2


def holed(turned=False):
    """Sky about zero, with fill in whole rows, at a side and in a hole."""
    flux = np.random.default_rng(5).normal(0.0, 0.01, SHAPE).astype(np.float32)
    if turned:
        field = np.ones((210, 210))
        inside = rotate(field, 27.0, order=0, reshape=True) > 0
        data = np.zeros(SHAPE, bool)
        data[: inside.shape[0], : inside.shape[1]] = inside[:300]
        flux[~data] = 0.0
    else:
        flux[:40], flux[:, :150], flux[120:180, 260:330] = 0.0, 0.0, 0.0
    return flux


def write(path, flux, method=None, weight=None, **options):
    header = sky_cards(flux.shape)
    header.update(FILTER="F814W", BUNIT="E-/S", EXPTIME=2028.0)
    planes = [(flux, "SCI", header)]
    planes += [] if weight is None else [(weight, "WHT", None)]
    if method is None:
        images = [fits.ImageHDU(data, header=cards, name=name) for data, name, cards in planes]
    else:
        options = {"compression_type": "RICE_1", "quantize_level": 4.0} | options
        images = [
            fits.CompImageHDU(data, header=cards, name=name, quantize_method=method,
                              dither_seed=7, **options)
            for data, name, cards in planes
        ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    return path


def inspect(path):
    return inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", path.parent / "scratch")


def valid(mosaic, rows=None, cols=None):
    ny, nx = mosaic.shape
    return np.isfinite(read_region(mosaic, rows or slice(0, ny), cols or slice(0, nx)))


@pytest.mark.parametrize("method", [NO_DITHER, DITHER_1, DITHER_2])
@pytest.mark.parametrize(
    "options",
    [
        {},  # tiles are rows
        {"tile_shape": (64, 100)},
        {"quantize_level": 16.0},  # astropy's default
        {"compression_type": "GZIP_2"},
        {"compression_type": "HCOMPRESS_1", "tile_shape": (50, 60)},
    ],
    ids=str,
)
def test_the_mask_is_that_of_the_uncompressed_mosaic(tmp_path, method, options):
    flux = holed()
    plain = inspect(write(tmp_path / "plain.fits", flux))
    packed = inspect(write(tmp_path / "packed.fits.fz", flux, method, **options))
    np.testing.assert_array_equal(valid(packed), valid(plain))
    assert check_pixels(packed) == check_pixels(plain) == np.count_nonzero(flux)
    corners = grid_windows(SHAPE, 50)
    _, expected = cut_windows(plain, scan_grid(plain), corners)
    _, fractions = cut_windows(packed, scan_grid(packed), corners)
    np.testing.assert_array_equal(fractions, expected)
    assert (expected == 0.0).sum() > 5


def test_zeros_are_lost_without_it(tmp_path):
    """What the file holds where there was nothing: the fault that is mended here."""
    flux = holed()
    packed = fits.getdata(write(tmp_path / "packed.fits.fz", flux, DITHER_1), 1)
    assert (packed[flux == 0.0] != 0.0).mean() > 0.5


@pytest.mark.parametrize("method", [NO_DITHER, DITHER_1])
def test_steps_as_coarse_as_the_noise(tmp_path, method):
    """A third of the sky may have been 0: five such pixels in a row beside fill count as fill."""
    flux = holed()
    path = write(tmp_path / "packed.fits.fz", flux, method, quantize_level=1.0)
    packed = valid(inspect(path))
    assert not packed[flux == 0.0].any()
    assert packed[flux != 0.0].mean() > 0.999


@pytest.mark.parametrize("method", [NO_DITHER, DITHER_1])
def test_slanted_edges_of_fill(tmp_path, method):
    flux = holed(turned=True)
    plain = valid(inspect(write(tmp_path / "plain.fits", flux)))
    packed = valid(inspect(write(tmp_path / "packed.fits.fz", flux, method)))
    assert 0.2 < plain.mean() < 0.6
    # The sharp ends of fill that are thinner than its square.
    assert (packed != plain).mean() < 2e-3


@pytest.mark.parametrize(
    ("rows", "cols"),
    [
        (slice(110, 190), slice(255, 340)),  # about the hole
        (slice(150, 151), slice(300, 301)),  # one pixel within it
        (slice(-5, 60), slice(100, 170)),  # beyond the image
        (slice(38, 42), slice(148, 152)),  # thinner than the square
    ],
)
def test_the_mask_does_not_depend_on_the_region_read(tmp_path, rows, cols):
    mosaic = inspect(write(tmp_path / "packed.fits.fz", holed(), DITHER_1))
    whole = np.pad(valid(mosaic), 10, constant_values=False)
    expected = whole[rows.start + 10 : rows.stop + 10, cols.start + 10 : cols.stop + 10]
    np.testing.assert_array_equal(valid(mosaic, rows, cols), expected)


@pytest.mark.parametrize("method", [NO_DITHER, DITHER_1, DITHER_2])
def test_weights_of_zero_are_found_again(tmp_path, method):
    flux = np.random.default_rng(5).normal(0.0, 0.01, SHAPE).astype(np.float32)
    weight = np.random.default_rng(6).normal(2028.0, 10.0, SHAPE).astype(np.float32)
    weight[:, :150], weight[200, 300] = 0.0, 0.0  # a single pixel too
    mosaic = inspect(write(tmp_path / "packed.fits.fz", flux, method, weight))
    np.testing.assert_array_equal(valid(mosaic), weight > 0)


def test_pixels_that_hcompress_has_smoothed_are_refused(tmp_path):
    path = write(tmp_path / "m.fits.fz", holed(), DITHER_1, compression_type="HCOMPRESS_1",
                 tile_shape=(50, 60), hcomp_scale=2.0)  # fmt: skip
    with pytest.raises(MosaicError, match=r"mosaic m\.fits\.fz: HCOMPRESS with a scale"):
        check_pixels(inspect(path))


def test_a_scan_masks_and_covers_the_same(scan, tmp_path):
    """The ledger's masked windows, and the coverage that recall is measured on."""
    ledgers, areas = [], []
    for name, method in (("plain", None), ("packed", DITHER_1)):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name / "m_drz.fits", holed(), method)
        outcome = scan([path], tmp_path / name / "run")
        ledgers.append(pd.read_parquet(outcome.paths.ledger)[["x0", "y0", "state", "reason"]])
        areas.append(area_deg2(run_footprint(outcome.paths.root)))
    pd.testing.assert_frame_equal(*ledgers)
    assert (ledgers[0]["state"] == "masked").sum() > 5
    assert areas[0] == areas[1] > 0
