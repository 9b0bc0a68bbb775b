import dataclasses
import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from drizzled_files import sky_cards, write_hla

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels, read_region

SHAPE = (40, 60)
AS_HEADED = HeaderOverrides()
NO_WHEELS = {"FILTER1": None, "FILTER2": None}
# Its FILTER1 is a number of the filter wheel's.
WFPC2 = {"INSTRUME": "WFPC2", "FILTER1": 38, "FILTER2": 0, "FILTNAM1": "F814W", "FILTNAM2": ""}


def real_data() -> Path:
    if "LENSWEEP_REAL_DATA" not in os.environ:
        pytest.skip("LENSWEEP_REAL_DATA is not set: no real Hubble pixels here")
    return Path(os.environ["LENSWEEP_REAL_DATA"])


def noise(shape=SHAPE, dtype=np.float32):
    return np.random.default_rng(814).normal(0.1, 0.01, shape).astype(dtype)


def inspect(path, overrides=AS_HEADED, **options):
    return inspect_mosaic(
        path, overrides, "F814W", "xception-7fold", Path(path).parent / "scratch", **options
    )


def whole(mosaic):
    flux = read_region(mosaic, slice(0, mosaic.shape[0]), slice(0, mosaic.shape[1]))
    return flux, np.isfinite(flux)


def test_hla_drizzle_is_described(tmp_path):
    path = write_hla(tmp_path / "hst_10886_02_acs_wfc_f814w_drz.fits", noise(), np.ones(SHAPE))
    mosaic = inspect(path)
    assert mosaic.name == "hst_10886_02_acs_wfc_f814w_drz"
    assert mosaic.path == mosaic.pixels_path == str(path)
    assert (mosaic.sci_index, mosaic.wht_index, mosaic.shape) == (1, 2, SHAPE)
    assert (mosaic.band, mosaic.units, mosaic.flux_scale) == ("F814W", "ELECTRONS/S", 1.0)
    assert mosaic.exposure_time_s == 2028.0
    assert mosaic.pixel_scale_arcsec == pytest.approx(0.05, rel=1e-9)
    # SDSSJ0029-0055's PHOTFLAM and PHOTPLAM by hand: 47.8745 - 19.5277 - 2.408.
    assert mosaic.zero_point_ab == pytest.approx(25.9388, abs=1e-4)
    assert mosaic.sha256 == inspect(path).sha256
    assert len(mosaic.sha256) == 64


def test_mosaic_travels_and_is_json(tmp_path):
    mosaic = inspect(write_hla(tmp_path / "m.fits", noise()))
    assert pickle.loads(pickle.dumps(mosaic)) == mosaic
    assert json.loads(json.dumps(dataclasses.asdict(mosaic)))["shape"] == list(SHAPE)


def write_sci_alone(folder, flux):
    return write_hla(folder / "m_sci.fits", flux)


def write_unnamed_extension(folder, flux):
    path = write_hla(folder / "m_sci.fits", flux)
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["EXTNAME"]
    return path


def write_primary_only(folder, flux):
    header = sky_cards(flux.shape)
    header.update(FILTER="F814W", BUNIT="electrons / s")
    fits.PrimaryHDU(flux, header=header).writeto(folder / "m.fits")
    return folder / "m.fits"


def write_gzip(folder, flux):
    packed = folder / "m_drz.fits.gz"
    packed.write_bytes(gzip.compress(write_hla(folder / "m.fits", flux).read_bytes()))
    return packed


def write_gzip_without_ending(folder, flux):
    return write_gzip(folder, flux).rename(folder / "m_gz.fits")


def write_tile_compressed(folder, flux):
    header = sky_cards(flux.shape)
    header.update(FILTER="F814W", BUNIT="E-/S")
    image = fits.CompImageHDU(
        flux, header=header, name="SCI", compression_type="GZIP_2", quantize_level=0.0
    )
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "m.fits.fz")
    return folder / "m.fits.fz"


def write_without_padding(folder, flux):
    path = write_hla(folder / "m_sci.fits", flux)
    # Every pixel is there; astropy warns of it at each read.
    return cut_short(path, end_of(path, 1))


def write_hapcut(folder, flux):
    return write_hla(folder / "m_drc.fits", flux, np.full(flux.shape, 2028.0, np.float32))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_hapcut, "m_drc"),  # SCI, WHT, CTX
        (write_sci_alone, "m_sci"),  # the HLA's _sci.fits
        (write_unnamed_extension, "m_sci"),  # data in [1], no EXTNAME
        (write_primary_only, "m"),  # everything in the primary
        (write_gzip, "m_drz"),  # compressed as a whole
        (write_gzip_without_ending, "m_gz"),  # the same, renamed
        (write_tile_compressed, "m"),  # compressed by tiles
        (write_without_padding, "m_sci"),  # the last block is not filled up
    ],
)
def test_every_layout_gives_the_same_pixels(tmp_path, write, name):
    flux = noise()
    mosaic = inspect(write(tmp_path, flux))
    assert mosaic.name == name
    assert check_pixels(mosaic) == flux.size
    read, valid = whole(mosaic)
    assert valid.all()
    np.testing.assert_array_equal(read, flux)
    part = read_region(mosaic, slice(7, 19), slice(11, 53))
    np.testing.assert_array_equal(part, flux[7:19, 11:53])


def test_gzip_is_inflated_once_per_content(tmp_path):
    first = inspect(write_gzip(tmp_path, noise()))
    stamp = Path(first.pixels_path).stat().st_mtime_ns
    assert Path(inspect(first.path).pixels_path).stat().st_mtime_ns == stamp
    # A namesake with other pixels must not meet the old copy.
    (tmp_path / "m.fits").unlink()
    second = inspect(write_gzip(tmp_path, noise() + 1))
    assert second.pixels_path != first.pixels_path
    assert whole(second)[0].mean() > 1
    assert not list((tmp_path / "scratch").glob("*.part"))


@pytest.mark.parametrize("matrix", ["CD", "PC"])
@pytest.mark.parametrize("frame", ["ICRS", "FK5"])
def test_sky_coordinates_survive(tmp_path, matrix, frame):
    header = sky_cards(SHAPE, 0.05, -76.0, matrix, frame)
    mosaic = inspect(write_hla(tmp_path / "m.fits", noise(), sky=header))
    expected = WCS(header).pixel_to_world([0, 59, 3.5], [0, 39, -200])
    found = mosaic.wcs.pixel_to_world([0, 59, 3.5], [0, 39, -200])
    assert found.frame.name == expected.frame.name == frame.lower()
    assert found.separation(expected).arcsec.max() < 1e-6


def test_distortion_survives(tmp_path):
    header = sky_cards(SHAPE)
    header.update(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP")
    header.update(A_ORDER=2, B_ORDER=2, A_2_0=1e-4, B_0_2=-1e-4)
    mosaic = inspect(write_hla(tmp_path / "m.fits", noise(), sky=header))
    expected = WCS(header).pixel_to_world([0, 59], [0, 39])
    assert mosaic.wcs.pixel_to_world([0, 59], [0, 39]).separation(expected).arcsec.max() < 1e-6
    assert mosaic.wcs.sip is not None


def test_mended_old_dates_make_no_noise(tmp_path):
    sky = sky_cards(SHAPE, frame="FK5")
    del sky["RADESYS"]
    # wcslib derives MJD-OBS and says so; COSMOS drizzles are like this.
    sky["DATE-OBS"] = "2003-12-22"
    mosaic = inspect(write_hla(tmp_path / "m.fits", noise(), sky=sky))
    assert mosaic.wcs.wcs.radesys == "FK5"


@pytest.mark.parametrize(
    ("primary", "sci", "stated"),
    [
        ({"FILTER1": None, "FILTER2": None, "FILTER": "F814W"}, {}, None),  # HLA primary
        ({"FILTER": "HST-F814W"}, {}, None),  # COSMOS
        ({"FILTER": "CLEAR1L;F814W"}, {}, None),  # both wheels in one card
        ({"FILTER": "F435W"}, {"FILTER": "F814W"}, None),  # SCI wins
        ({"FILTER1": "F814W", "FILTER2": "CLEAR2L"}, {}, None),  # other wheel
        ({"FILTER1": None, "FILTER2": None}, {"PHOTMODE": "ACS WFC1 F814W MJD#53990.67"}, None),
        ({"FILTER": "  "}, {}, None),  # a blank card is no filter
        (WFPC2, {}, None),
        (WFPC2, {}, "F814W"),  # stated, and no contradiction
        (WFPC2 | {"FILTNAM1": "", "FILTNAM2": "F814W"}, {}, None),
        (WFPC2 | {"FILTNAM1": None}, {"PHOTMODE": "WFPC2,1,A2D7,F814W,,CAL"}, None),
        (WFPC2 | {"FILTER": "F814W", "FILTNAM1": None}, {}, None),  # HLA and HAP add FILTER
        (NO_WHEELS | {"INSTRUME": "WFC3", "FILTER": "F814W"}, {}, None),
        (NO_WHEELS | {"FILTER": "ACS/WFC F814W"}, {}, None),  # HLSP
        ({"FILTER": "N/A"}, {}, None),
        ({"FILTER1": None, "FILTER2": None}, {}, "f814w"),  # stated by the user
        ({}, {}, "F814W"),  # stated and agreed
    ],
)
def test_band_is_read(tmp_path, primary, sci, stated):
    path = write_hla(tmp_path / "m.fits", noise(), primary_cards=primary, sci_cards=sci)
    assert inspect(path, HeaderOverrides(band=stated)).band == "F814W"


@pytest.mark.parametrize(
    ("primary", "stated", "message"),
    [
        (
            {"FILTER2": "F435W"},
            None,
            "mosaic m81.fits: filter F435W, but ensemble xception-7fold was trained on F814W",
        ),
        ({"FILTER1": "F814W", "FILTER2": "POL0V"}, None, r"filter F814W\+POL0V, but"),  # polariser
        ({"FILTER": "F814W;POL60V"}, None, r"filter F814W\+POL60V, but"),
        ({"FILTER": "detection"}, None, "filter DETECTION, but"),  # white light
        ({"FILTER1": None, "FILTER2": None}, None, "names no filter .*--band"),  # unknown
        ({"FILTER2": "F435W"}, "F814W", "says filter F435W, --band says F814W"),  # contradiction
        (WFPC2 | {"FILTNAM1": "F606W"}, None, "filter F606W, but"),
        (WFPC2 | {"FILTNAM2": "POLQN33"}, None, r"filter F814W\+POLQN33, but"),
        (NO_WHEELS | {"INSTRUME": "NICMOS", "FILTER": "F160W"}, None, "filter F160W, but"),
        (WFPC2 | {"FILTNAM1": None}, None, "names no filter"),  # numbers are no names
    ],
)
def test_band_is_refused(tmp_path, primary, stated, message):
    path = write_hla(tmp_path / "m81.fits", noise(), primary_cards=primary)
    with pytest.raises(MosaicError, match=message):
        inspect(path, HeaderOverrides(band=stated))


@pytest.mark.parametrize(
    ("cards", "stated", "scale"),
    [
        ({"BUNIT": "electrons/s"}, None, 1.0),
        ({"BUNIT": "ELECTRON / S"}, None, 1.0),
        ({"BUNIT": "e-/s", "D001OUUN": "cps"}, None, 1.0),
        ({"BUNIT": "ELECTRONS"}, None, 1 / 2028),  # a total: divided by EXPTIME
        ({"BUNIT": "ELECTRONS", "EXPTIME": 0.0}, None, 1 / 2028),  # of the primary header
        ({"BUNIT": "ELECTRONS", "D001OUUN": "counts"}, None, 1 / 2028),
        ({"BUNIT": "ELECTRONS", "D001OUUN": "cps"}, "electrons/s", 1.0),  # the user decides
        ({"BUNIT": None}, "counts/s", 1.0),  # any gain cancels in the stretch
        ({"BUNIT": "COUNTS/S"}, "electrons/s", 1.0),
        ({"BUNIT": None}, "electrons", 1 / 2028),
        ({"BUNIT": None}, "counts", 1 / 2028),
        ({"BUNIT": "electron s-1"}, None, 1.0),  # FITS and astropy
        ({"BUNIT": "electron s**-1"}, None, 1.0),
        ({"BUNIT": "e- s^-1"}, None, 1.0),
        ({"BUNIT": "electron / min"}, None, 1 / 60),
        ({"BUNIT": "0.001 electron/s"}, None, 1e-3),
        ({"BUNIT": None}, "electron/s", 1.0),
        ({"BUNIT": None}, "ct/s", 1.0),
        ({"BUNIT": "MJy/sr"}, "cps", 1.0),  # the user decides
        ({"BUNIT": None}, "DN / s", 1.0),
    ],
)
def test_units_become_electrons_per_second(tmp_path, cards, stated, scale):
    path = write_hla(tmp_path / "m.fits", noise(), sci_cards=cards)
    mosaic = inspect(path, HeaderOverrides(units=stated))
    assert mosaic.flux_scale == pytest.approx(scale, rel=1e-12)
    assert mosaic.units == (stated or cards["BUNIT"])
    np.testing.assert_allclose(whole(mosaic)[0], noise() * scale, rtol=1e-6)


@pytest.mark.parametrize(
    ("primary", "cards", "stated", "message"),
    [
        ({}, {"BUNIT": None}, None, "states no units .*--units"),
        ({}, {"BUNIT": "COUNTS/S"}, None, "COUNTS/S, which may or may not include the gain"),
        ({}, {"BUNIT": "MJy/sr"}, None, "unknown units MJy/sr"),
        ({}, {"BUNIT": "ct / s"}, None, "ct / s, which may .* --units electrons/s or .* counts/s"),
        ({}, {"BUNIT": "DN"}, None, "DN, which may .* --units electrons or --units counts"),
        ({}, {"BUNIT": "s"}, None, "unknown units s, no flux"),  # an exposure map
        ({}, {"BUNIT": "electron2/s"}, None, "unknown units electron2/s, no flux"),  # a variance
        ({}, {"BUNIT": "1/(e-/s)**2"}, None, "no flux"),  # an inverse variance
        ({}, {}, "mag", "--units mag, but it takes electrons/s, counts/s"),
        (
            {},
            {"BUNIT": "ELECTRONS", "D001OUUN": "cps"},
            None,
            "BUNIT = ELECTRONS, but drizzle wrote D001OUUN = cps; say --units electrons/s",
        ),
        ({}, {"BUNIT": "ELECTRONS/S", "D001OUUN": "counts"}, None, "say --units electrons$"),
        ({"EXPTIME": None}, {"BUNIT": "ELECTRONS"}, None, "need EXPTIME > 0"),
        ({"EXPTIME": 0.0}, {"BUNIT": None}, "electrons", "need EXPTIME > 0"),
        ({}, {}, "janskys", "--units janskys, but it takes"),
    ],
)
def test_units_are_refused(tmp_path, primary, cards, stated, message):
    path = write_hla(tmp_path / "m.fits", noise(), primary_cards=primary, sci_cards=cards)
    with pytest.raises(MosaicError, match=message):
        inspect(path, HeaderOverrides(units=stated))


def test_missing_photometry_is_none(tmp_path):
    cards = {"PHOTFLAM": 0.0}
    path = write_hla(tmp_path / "m.fits", noise(), primary_cards={"EXPTIME": None}, sci_cards=cards)
    mosaic = inspect(path)
    assert mosaic.zero_point_ab is None
    assert mosaic.exposure_time_s is None


def test_pixel_scale_can_stand_in_for_sky_coordinates(tmp_path):
    path = write_hla(tmp_path / "m.fits", noise(), sky=fits.Header())
    stated = HeaderOverrides(pixel_scale_arcsec=0.04)
    mosaic = inspect(path, stated, require_sky_wcs=False)
    assert (mosaic.has_sky_wcs, mosaic.pixel_scale_arcsec) == (False, 0.04)
    with pytest.raises(MosaicError, match=r"mosaic m\.fits: no sky coordinates"):
        mosaic.wcs.has_celestial  # noqa: B018
    with pytest.raises(MosaicError, match="which a scan needs"):
        inspect(path, stated)


@pytest.mark.parametrize(
    ("sky", "cards", "scale", "message"),
    [
        (fits.Header(), {}, 0.0, "--pixel-scale 0.0, but it must be above 0"),
        (fits.Header(), {}, float("nan"), "--pixel-scale nan, but it must be above 0"),
        (sky_cards(SHAPE), {}, 0.04, "says 0.05 arcsec/pixel, --pixel-scale says 0.04"),
        (fits.Header(), {}, None, "state the scale with --pixel-scale"),
        (fits.Header(), {"PIXSCALE": 0.04}, None, "notes PIXSCALE = 0.04: confirm with"),
    ],
)
def test_pixel_scale_is_not_guessed(tmp_path, sky, cards, scale, message):
    path = write_hla(tmp_path / "m.fits", noise(), sky=sky, sci_cards=cards)
    with pytest.raises(MosaicError, match=message):
        inspect(path, HeaderOverrides(pixel_scale_arcsec=scale), require_sky_wcs=False)


def test_a_rounded_pixel_scale_agrees(tmp_path):
    path = write_hla(tmp_path / "m.fits", noise(), sky=sky_cards(SHAPE, 0.0496))
    mosaic = inspect(path, HeaderOverrides(pixel_scale_arcsec=0.05))
    assert mosaic.pixel_scale_arcsec == pytest.approx(0.0496)


def cut_short(path, length):
    os.truncate(path, length)
    return path


def end_of(path, index):
    with fits.open(path) as hdus:
        return hdus[index].fileinfo()["datLoc"] + hdus[index].size


def no_file(folder):
    return folder / "m.fits"


def a_folder(folder):
    (folder / "m.fits").mkdir()
    return folder / "m.fits"


def empty_file(folder):
    (folder / "m.fits").touch()
    return folder / "m.fits"


def web_page(folder):
    (folder / "m.fits").write_text("<html>503 Service Unavailable</html>")
    return folder / "m.fits"


def cut_in_first_header(folder):
    return cut_short(write_hla(folder / "m.fits", noise()), 1000)


def cut_in_sci_header(folder):
    return cut_short(write_hla(folder / "m.fits", noise()), 2880 + 1000)


def cut_in_sci(folder):
    path = write_hla(folder / "m.fits", noise())
    return cut_short(path, end_of(path, 1) - 1)


def cut_in_wht(folder):
    path = write_hla(folder / "m.fits", noise(), np.ones(SHAPE))
    return cut_short(path, end_of(path, 2) - 1)


def cut_in_wht_header(folder):
    path = write_hla(folder / "m.fits", noise(), np.ones(SHAPE))
    with fits.open(path) as hdus:
        length = hdus[2].fileinfo()["hdrLoc"] + 100
    return cut_short(path, length)


def cut_gzip(folder):
    path = write_gzip(folder, noise())
    return cut_short(path, path.stat().st_size // 2).rename(folder / "m.fits")


def cut_tiles(folder):
    path = write_tile_compressed(folder, noise((400, 600))).rename(folder / "m.fits")
    return cut_short(path, path.stat().st_size - 2880 * 2)


def packed_twice(folder):
    path = write_hla(folder / "raw.fits", noise())
    (folder / "m.fits").write_bytes(gzip.compress(gzip.compress(path.read_bytes())))
    return folder / "m.fits"


def no_image(folder):
    fits.PrimaryHDU().writeto(folder / "m.fits")
    return folder / "m.fits"


def weight_alone(folder):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(), name="WHT")]).writeto(folder / "m.fits")
    return folder / "m.fits"


def cube(folder):
    fits.PrimaryHDU(np.zeros((3, 4, 5))).writeto(folder / "m.fits")
    return folder / "m.fits"


def empty_image(folder):
    return write_hla(folder / "m.fits", np.zeros((0, 60), np.float32), sky=sky_cards(SHAPE))


def two_chips(folder):
    chips = [fits.ImageHDU(noise(), name="SCI", ver=number) for number in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(folder / "m.fits")
    return folder / "m.fits"


def unlike_weight(folder):
    path = write_hla(folder / "m.fits", noise())
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(noise((40, 61)), name="WHT"))
    return path


def no_sky(folder):
    return write_hla(folder / "m.fits", noise(), sky=fits.Header())


def half_a_matrix(folder):
    sky = sky_cards(SHAPE)
    sky.update(CD1_1=0.0, CD1_2=0.0)
    return write_hla(folder / "m.fits", noise(), sky=sky)


def singular_sky(folder):
    sky = sky_cards(SHAPE)
    sky.update(CD1_1=sky["CD2_1"], CD1_2=sky["CD2_2"])
    return write_hla(folder / "m.fits", noise(), sky=sky)


def exposure(folder):
    cards = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CPDIS1": "LOOKUP"}
    return write_hla(folder / "m.fits", noise(), sci_cards=cards)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (no_file, "no such file"),
        (a_folder, "cannot be read: Is a directory"),
        (empty_file, "neither FITS nor gzip"),
        (web_page, "neither FITS nor gzip"),  # a server's excuse saved under the file's name
        (cut_in_first_header, "truncated; fetch it again"),
        (cut_in_sci_header, "ends inside a header"),
        (cut_in_sci, "truncated; .*SCI ends at byte"),
        (cut_in_wht, "truncated; .*WHT ends at byte"),
        (cut_in_wht_header, "ends inside a header"),  # SCI is whole, and must not pass alone
        (cut_gzip, "truncated or damaged gzip"),
        (cut_tiles, "truncated; fetch it again"),
        (packed_twice, "compressed more than once"),
        (no_image, "no 2-D science image; shapes found: none"),
        (weight_alone, "a weight map, and no image"),  # a _wht.fits given by mistake
        (cube, r"no 2-D science image; shapes found: \[\(3, 4, 5\)\]"),
        (empty_image, r"empty image, shape \(0, 60\)"),
        (two_chips, "2 images that could be the mosaic"),  # an flc
        (unlike_weight, r"SCI has shape \(40, 60\), WHT \(40, 61\)"),
        (no_sky, "no sky coordinates"),
        (half_a_matrix, "unusable sky coordinates: pixels of"),
        (singular_sky, "unusable sky coordinates"),
        (exposure, r"distortion tables \(CPDIS1\)"),
    ],
)
def test_what_cannot_be_scanned_is_refused(tmp_path, write, message):
    with pytest.raises(InputError, match=rf"^mosaic m\.fits: .*{message}"):
        inspect(write(tmp_path))
    assert not list(tmp_path.glob("scratch/*"))


@pytest.mark.parametrize(
    ("flux", "weight", "reason"),
    [
        (np.nan, None, "every pixel is NaN or infinite"),
        (np.nan, 1.0, "every pixel is NaN or infinite"),
        (0.0, None, "exactly zero, and there is no weight map"),
        (1.0, 0.0, "the weight is zero, negative or not finite everywhere"),
        (1.0, np.nan, "the weight is zero, negative or not finite everywhere"),
    ],
)
def test_a_mosaic_without_valid_pixels_is_refused(tmp_path, flux, weight, reason):
    planes = [
        None if value is None else np.full(SHAPE, value, np.float32) for value in (flux, weight)
    ]
    mosaic = inspect(write_hla(tmp_path / "m.fits", *planes))
    with pytest.raises(MosaicError, match=rf"^mosaic m\.fits: no valid pixel: .*{reason}"):
        check_pixels(mosaic)


def test_weight_and_flux_that_never_meet_are_refused(tmp_path):
    flux, weight = noise(), np.ones(SHAPE, np.float32)
    flux[:20], weight[20:] = np.nan, 0
    mosaic = inspect(write_hla(tmp_path / "m.fits", flux, weight))
    with pytest.raises(MosaicError, match="no pixel is finite where it has weight"):
        check_pixels(mosaic)


@pytest.mark.parametrize("strip_pixels", [1, 60 * 7, 10**6])  # a row, uneven strips, all
def test_valid_pixels_are_counted_over_all_strips(tmp_path, strip_pixels):
    flux = noise()
    flux[3, 4], flux[39, 59], flux[20] = np.nan, np.inf, 0.0
    mosaic = inspect(write_hla(tmp_path / "m.fits", flux))
    assert check_pixels(mosaic, strip_pixels) == flux.size - 62


def test_invalid_pixels(tmp_path):
    flux, weight = noise(), np.ones(SHAPE)
    flux[0, :3] = np.nan, -np.inf, 0.0
    weight[1, :3] = 0.0, -1.0, np.nan
    with_weight = inspect(write_hla(tmp_path / "weighted.fits", flux, weight))
    without = inspect(write_hla(tmp_path / "alone.fits", flux))
    # Zero is a value where a weight vouches for it, and missing data where none does.
    for mosaic, bad in ((with_weight, {0, 1, 60, 61, 62}), (without, {0, 1, 2})):
        read, valid = whole(mosaic)
        assert set(np.flatnonzero(~valid)) == bad
        assert np.isnan(read[~valid]).all()


@pytest.mark.parametrize(
    ("rows", "cols"),
    [
        (slice(-5, 10), slice(-7, 20)),  # over the lower left corner
        (slice(30, 55), slice(50, 75)),  # over the upper right corner
        (slice(-3, 50), slice(-3, 70)),  # larger than the image
        (slice(-20, -10), slice(0, 5)),  # below
        (slice(0, 5), slice(60, 65)),  # right beside
    ],
)
def test_pixels_beyond_the_image_are_invalid(tmp_path, rows, cols):
    mosaic = inspect(write_hla(tmp_path / "m.fits", noise()))
    padded = np.pad(noise(), 30, constant_values=np.nan)
    expected = padded[rows.start + 30 : rows.stop + 30, cols.start + 30 : cols.stop + 30]
    np.testing.assert_array_equal(read_region(mosaic, rows, cols), expected)


@pytest.mark.parametrize(
    "raw",
    [
        noise(dtype=np.float64),  # BITPIX -64
        np.arange(1, 2401, dtype=np.uint16).reshape(SHAPE),  # BZERO
        np.arange(1, 2401, dtype=np.int32).reshape(SHAPE),
    ],
)
def test_pixels_are_native_float32(tmp_path, raw):
    flux, valid = whole(inspect(write_hla(tmp_path / "m.fits", raw)))
    assert flux.dtype == np.dtype(np.float32)
    assert flux.dtype.isnative
    assert valid.all()
    np.testing.assert_allclose(flux, raw, rtol=1e-7)


def test_a_value_beyond_float32_is_invalid(tmp_path):
    flux = noise(dtype=np.float64)
    flux[2, 3] = 1e300
    _, valid = whole(inspect(write_hla(tmp_path / "m.fits", flux)))
    assert np.flatnonzero(~valid).tolist() == [2 * 60 + 3]


@pytest.mark.parametrize(
    ("name", "shape", "scale_arcsec", "zero_point_ab", "exposure_time_s"),
    [
        ("SDSSJ0029-0055_acs_f814w.fits", (198, 198), 0.05, 25.939, None),  # HLA, PHOTMODE only
        ("SDSSJ0737+3216_acs_f814w.fits", (198, 198), 0.05, 25.957, None),  # rotated, FK5
        ("COSJ100024+015334_acs_f814w.fits.gz", (419, 419), 0.03, 25.950, 248755.0),  # gzip
        (
            "COSJ100024+021749_acs_f814w.fits.gz",
            (419, 419),
            0.03,
            25.947,
            466016.056,
        ),  # 33,200 cards
    ],
)
def test_real_lenses_are_read(tmp_path, name, shape, scale_arcsec, zero_point_ab, exposure_time_s):
    path = real_data() / "lenses" / name
    mosaic = inspect_mosaic(path, AS_HEADED, "F814W", "xception-7fold", tmp_path)
    assert mosaic.shape == shape
    assert mosaic.pixel_scale_arcsec == pytest.approx(scale_arcsec, rel=1e-6)
    assert mosaic.zero_point_ab == pytest.approx(zero_point_ab, abs=1e-3)
    assert mosaic.exposure_time_s == exposure_time_s
    assert check_pixels(mosaic) == shape[0] * shape[1]
    np.testing.assert_array_equal(whole(mosaic)[0], fits.getdata(path))


def test_real_drizzle_that_contradicts_itself_needs_the_user(tmp_path):
    path = real_data() / "galaxies" / "COSMOS_147246_acs_f814w_drz.fits"
    with pytest.raises(MosaicError, match=r"ELECTRONS, but .* cps; say --units electrons/s"):
        inspect_mosaic(path, AS_HEADED, "F814W", "xception-7fold", tmp_path)
    stated = HeaderOverrides(units="electrons/s")
    mosaic = inspect_mosaic(path, stated, "F814W", "xception-7fold", tmp_path)
    assert (mosaic.flux_scale, mosaic.exposure_time_s) == (1.0, 4056.0)


def test_real_file_of_another_band_is_refused(tmp_path):
    path = real_data() / "lenses" / "DESIJ0132-1600_wfc3ir_f140w.fits"
    stated = HeaderOverrides(pixel_scale_arcsec=0.08)
    with pytest.raises(MosaicError, match="filter F140W, but ensemble xception-7fold"):
        inspect_mosaic(path, stated, "F814W", "xception-7fold", tmp_path, require_sky_wcs=False)
