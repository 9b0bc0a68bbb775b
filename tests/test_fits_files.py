"""Headers that are damaged anywhere: an error of that one file, within its time, and no other."""

import gzip
import os
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from astropy.io import fits
from drizzled_files import sky_cards, write_hla

from lensweep.scanner.sky.grid import grid_to_sky, read_grid_region, scan_grid
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.scanner.sky.windows import grid_windows

SHAPE = (12, 15)
BLOCK = 2880
N_FAULTS = 200
# An endless loop is a failure, and not a test without end.
LIMIT_S = 20.0


def noise(shape=SHAPE):
    return np.random.default_rng(14).normal(0.1, 0.01, shape).astype(np.float32)


def write_whole(path):
    """SCI, WHT and CTX with headers of two blocks each, as AstroDrizzle's are long."""
    history = {f"D{number:03d}DATA": "u59n0201r_flt.fits[sci,1]" for number in range(30)}
    return write_hla(path, noise(), np.ones(SHAPE, np.float32), sci_cards=history,
                     primary_cards={"NEXTEND": 3, **history})  # fmt: skip


def write_distorted(path):
    sky = sky_cards(SHAPE, rotation_deg=20.0)
    sky.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    sky.update(A_ORDER=2, B_ORDER=2, A_2_0=1e-6, B_0_2=1e-6)
    return write_hla(path, noise(), sky=sky)


def write_compressed(path):
    header = sky_cards(SHAPE)
    header.update(FILTER="F814W", BUNIT="E-/S")
    image = fits.CompImageHDU(noise(), header=header, name="SCI", compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    return path


@contextmanager
def time_limit(what):
    def over(_signal, _frame):
        raise TimeoutError(what)

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def inspect(path):
    return inspect_mosaic(path, HeaderOverrides(), "F814W", "ens", path.parent / "scratch")


def plan(path):
    """All that a scan does with a mosaic before it cuts it."""
    mosaic = inspect(path)
    check_pixels(mosaic)
    grid = scan_grid(mosaic)
    corners = grid_windows(grid.shape, 50)
    sky = grid_to_sky(grid, *corners[:1].T.astype(float))
    assert np.isfinite(sky).all()
    read_grid_region(mosaic, grid, slice(0, 10), slice(0, 10))
    return mosaic


def headers_of(path):
    with fits.open(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            yield hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"]


@pytest.mark.parametrize("write", [write_whole, write_distorted, write_compressed])
def test_a_byte_that_is_wrong_costs_one_mosaic_at_most(tmp_path, write):
    rng = np.random.default_rng(14)
    whole = write(tmp_path / "whole.fits").read_bytes()
    places = np.concatenate([np.arange(*bounds) for bounds in headers_of(tmp_path / "whole.fits")])
    # Blanks behind the last card are most of a header, and say nothing.
    places = np.array([place for place in places if whole[place] != ord(" ")])
    broken = tmp_path / "broken.fits"
    refused = 0
    for place in rng.choice(places, N_FAULTS):
        content = bytearray(whole)
        content[place] = rng.choice([*range(32, 127), 0, 10, 200, 255])
        broken.write_bytes(content)
        with time_limit(f"byte {place} = {content[place]}"):
            try:
                plan(broken)
            except MosaicError as error:
                refused += 1
                assert str(error).startswith("mosaic broken.fits: ")
    assert 0 < refused < N_FAULTS


@pytest.mark.parametrize("write", [write_whole, write_distorted, write_compressed])
@pytest.mark.parametrize("beyond", [0, 80, 2879])
def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path, write, beyond):
    path = write(tmp_path / "whole.fits")
    with fits.open(path, disable_image_compression=True) as hdus:
        last = hdus[-1]
        data_end = last.fileinfo()["datLoc"] + last.size
    broken = tmp_path / "broken.fits"
    for length in range(beyond, path.stat().st_size, BLOCK):
        shutil.copy(path, broken)
        os.truncate(broken, length)
        with time_limit(f"{length} bytes"):
            # Padding is nothing that could be missed.
            if length >= data_end:
                plan(broken)
                continue
            with pytest.raises(MosaicError, match=r"^mosaic broken\.fits: "):
                plan(broken)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("NAXIS1", "-15"),  # an endless loop to astropy
        ("NAXIS1", "15.0"),
        ("NAXIS2", "'12'"),
        ("NAXIS", "1000"),
        ("NAXIS", "3"),  # without NAXIS3
        ("BITPIX", "-33"),
        ("BITPIX", "T"),
        ("PCOUNT", "-1"),
        ("GCOUNT", "0"),
        ("NAXIS1", "99999999999999999999"),
        ("BSCALE", "'one'"),
        ("BSCALE", "0.0"),
        ("BZERO", "'none'"),
    ],
)
def test_sizes_and_scales_that_mean_nothing(tmp_path, key, text):
    path = write_hla(tmp_path / "m.fits", noise(), sci_cards={"BSCALE": 2.0, "BZERO": 1.0})
    content = path.read_bytes()
    if f"{key:<8}=".encode() not in content[BLOCK:]:
        # astropy takes both away from an image of floats.
        start = content.index(b"PHOTPLAM=")
    else:
        start = content.index(f"{key:<8}=".encode(), BLOCK)
    card = f"{key:<8}= {text:>20}".ljust(80).encode()
    path.write_bytes(content[:start] + card + content[start + 80 :])
    with time_limit(key), pytest.raises(MosaicError, match=r"^mosaic m\.fits: "):
        plan(path)


@pytest.mark.parametrize("key", ["NAXIS", "NAXIS1", "NAXIS2", "BITPIX"])
def test_sizes_that_are_missing(tmp_path, key):
    path = write_hla(tmp_path / "m.fits", noise())
    content = path.read_bytes()
    start = content.index(f"{key:<8}=".encode(), BLOCK)
    path.write_bytes(content[:start] + b"COMMENT ".ljust(80) + content[start + 80 :])
    with time_limit(key), pytest.raises(MosaicError, match=rf"has {key} = nothing; fetch it again"):
        plan(path)


def test_a_file_cut_exactly_after_its_image_lacks_its_weight(tmp_path):
    path = write_whole(tmp_path / "m.fits")
    with fits.open(path) as hdus:
        info = hdus[1].fileinfo()
    os.truncate(path, info["datLoc"] + info["datSpan"])
    with pytest.raises(MosaicError, match=r"announces NEXTEND = 3 extensions, there are 1"):
        plan(path)


def test_an_image_cut_out_into_a_file_of_its_own_keeps_a_nextend_that_is_none_of_its(tmp_path):
    header = sky_cards(SHAPE)
    header.update(FILTER="F814W", BUNIT="E-/S", NEXTEND=6)
    fits.PrimaryHDU(noise(), header=header).writeto(tmp_path / "m.fits")
    assert plan(tmp_path / "m.fits").wht_index is None


def test_zeros_behind_the_last_extension_are_no_header(tmp_path):
    path = write_hla(tmp_path / "m.fits", noise())
    with path.open("ab") as file:
        file.write(bytes(7 * BLOCK))
    assert plan(path).shape == SHAPE


def test_a_weight_whose_header_has_lost_its_first_byte_is_not_passed_over(tmp_path):
    path = write_hla(tmp_path / "m.fits", noise(), np.ones(SHAPE, np.float32))
    with fits.open(path) as hdus:
        start = hdus[2].fileinfo()["hdrLoc"]
    content = bytearray(path.read_bytes())
    content[start] = ord("Y")
    path.write_bytes(content)
    with pytest.raises(MosaicError, match="does not begin with XTENSION"):
        plan(path)


def test_a_compressed_stream_cut_short(tmp_path):
    """The file is whole to its headers, the stream in it is not."""
    path = write_compressed(tmp_path / "m.fits")
    content = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1]
        start = table.fileinfo()["datLoc"] + table.header["NAXIS1"] * table.header["NAXIS2"]
        length = table.header["PCOUNT"]
    content[start + length // 2 : start + length] = b"\xff" * (length - length // 2)
    # Descriptors that promise less than a tile.
    path.write_bytes(content)
    shorten_streams(path)
    with pytest.raises(MosaicError, match=r"^mosaic m\.fits: damaged, or no valid FITS"):
        plan(path)


def shorten_streams(path):
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1]
        start, width = table.fileinfo()["datLoc"], table.header["NAXIS1"]
    content = bytearray(path.read_bytes())
    for row in range(SHAPE[0]):
        # The first descriptor: bytes of the stream, and where they begin.
        content[start + row * width : start + row * width + 4] = (2).to_bytes(4, "big")
    path.write_bytes(content)


def test_gzip_of_a_damaged_file(tmp_path):
    path = write_whole(tmp_path / "whole.fits")
    content = path.read_bytes()[: 3 * BLOCK]
    (tmp_path / "m.fits.gz").write_bytes(gzip.compress(content))
    with pytest.raises(MosaicError, match=r"^mosaic m\.fits\.gz: "):
        plan(tmp_path / "m.fits.gz")
