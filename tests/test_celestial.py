import re
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from drizzled_files import CRVAL, add_star, sky_cards, write_hla

from lensweep.scanner.sky.grid import grid_to_sky, read_grid_region, scan_grid
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides

SHAPE = (120, 150)
AS_HEADED = HeaderOverrides()
# A quadratic that moves the corners of the image by some pixels.
POLYNOMIAL = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": -1e-3, "A_DMAX": 5.0}


def mosaic_of(folder, sky, overrides=AS_HEADED, flux=None):
    flux = np.ones(SHAPE, np.float32) if flux is None else flux
    path = write_hla(folder / "m.fits", flux.astype(np.float32), sky=sky)
    return inspect_mosaic(path, overrides, "F814W", "ens", folder / "scratch")


def corners(mosaic):
    sky = mosaic.wcs.pixel_to_world([0.0, 149.0], [0.0, 119.0]).icrs
    return SkyCoord(sky.ra, sky.dec)


def set_raw(path, key, text):
    """Write a card's value as it stands, which astropy would not."""
    content = Path(path).read_bytes()
    start = content.index(f"{key:<8}=".encode())
    card = f"{key:<8}= {text}".ljust(80)
    Path(path).write_bytes(content[:start] + card.encode("latin-1") + content[start + 80 :])


@pytest.mark.parametrize(
    ("cards", "noted"),
    [
        (POLYNOMIAL, r"A_2_0 and 4 more\) left over beside CTYPE1 = RA---TAN"),
        ({"A_ORDER": 2}, r"A_ORDER and 0 more"),  # which astropy would refuse
        ({"A_ORDER": "two"}, r"A_ORDER and 0 more"),
        ({"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP"}, r"CPDIS1, CPDIS2\) that the file does not hold"),
        ({"D2IMDIS1": "LOOKUP", "D2IMERR1": 0.1}, r"D2IMDIS1\) that the file does not hold"),
        ({"D2IMEXT": "jref$d2i.fits", "CPERR1": 0.02}, None),  # numbers of no use: no note
    ],
)
def test_left_over_distortions_are_not_applied(tmp_path, cards, noted):
    expected = corners(mosaic_of(tmp_path, sky_cards(SHAPE)))
    (tmp_path / "m.fits").unlink()
    sky = sky_cards(SHAPE)
    sky.update(cards)
    mosaic = mosaic_of(tmp_path, sky)
    assert corners(mosaic).separation(expected).arcsec.max() < 1e-6
    assert not scan_grid(mosaic).resampled
    if noted is None:
        assert mosaic.notes == ()
    else:
        (note,) = mosaic.notes
        assert re.search(noted, note)


def test_polynomials_that_count_are_applied(tmp_path):
    sky = sky_cards(SHAPE)
    sky.update(POLYNOMIAL | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})
    expected = WCS(sky).pixel_to_world([0.0, 149.0], [0.0, 119.0])
    mosaic = mosaic_of(tmp_path, sky)
    assert corners(mosaic).separation(expected).arcsec.max() < 1e-6
    assert mosaic.notes == ()
    assert scan_grid(mosaic).resampled


@pytest.mark.parametrize("tables", ["WCSDVARR", "D2IMARR"])
def test_tables_that_the_file_holds_are_a_calibrated_exposure(tmp_path, tables):
    path = write_hla(tmp_path / "m.fits", np.ones(SHAPE, np.float32),
                     sci_cards={"CPDIS1": "LOOKUP"})  # fmt: skip
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.zeros((64, 32), np.float32), name=tables))
    with pytest.raises(MosaicError, match=r"distortion tables \(CPDIS1\), so a calibrated"):
        inspect_mosaic(path, AS_HEADED, "F814W", "ens", tmp_path)


@pytest.mark.parametrize("name", ["TPV", "TAN"])  # SCAMP wrote TPV under the name of TAN
def test_tpv_is_resampled(tmp_path, name):
    sky = sky_cards(SHAPE)
    sky.update({"CTYPE1": f"RA---{name}", "CTYPE2": f"DEC--{name}"})
    sky.update({"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 20.0, "PV2_4": 30.0})
    wcs = WCS(sky)
    flux = np.full(SHAPE, 1e-6)
    add_star(flux, 110.0, 90.0, 100.0, 1.5)
    mosaic = mosaic_of(tmp_path, sky, flux=flux)
    grid = scan_grid(mosaic)
    assert grid.resampled
    image = np.nan_to_num(read_grid_region(mosaic, grid, slice(0, grid.shape[0]),
                                           slice(0, grid.shape[1])))  # fmt: skip
    rows, cols = np.indices(image.shape)
    x, y = ((image * axis).sum() / image.sum() for axis in (cols, rows))
    found = grid_to_sky(grid, x, y)
    star = wcs.pixel_to_world(110.0, 90.0)
    assert SkyCoord(*found, unit="deg").separation(star).arcsec < 0.01


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("CRVAL1", "'150.1'", "CRVAL1 = '150.1' is no finite number"),
        ("CRVAL2", "NaN", "CRVAL2"),
        ("CRVAL2", "        ", "the header has no CRVAL2"),  # a card without value
        ("CRVAL2", "95.0", "unusable sky coordinates"),
        ("CRPIX1", "'middle'", "CRPIX1 = 'middle' is no finite number"),
        ("CD1_1", "'-1.4E-5'", "CD1_1 = '-1.4E-5' is no finite number"),
        ("CD1_1", "0.0", "unusable sky coordinates"),
        ("RADESYS", "'GSC1'", "RADESYS = GSC1, none of ICRS, FK5, FK4, FK4-NO-E"),
        ("RADESYS", "'GAPPT'", "RADESYS = GAPPT, none of"),
        ("RADESYS", "'J2000'", "RADESYS = J2000, none of"),
        ("RADESYS", "5", "RADESYS = 5, none of"),
        ("CTYPE1", "'RA---TAM'", "unusable sky coordinates"),
        ("CTYPE1", "'GLON-TAN'", "unusable sky coordinates"),  # and DEC
        ("CTYPE1", "'TLON-TAN'", "no sky coordinates"),  # on the Earth
    ],
)
def test_cards_that_cannot_be_right_are_refused(tmp_path, key, text, message):
    path = write_hla(tmp_path / "m.fits", np.ones(SHAPE, np.float32))
    set_raw(path, key, text)
    with pytest.raises(MosaicError, match=rf"^mosaic m\.fits: .*{message}"):
        inspect_mosaic(path, AS_HEADED, "F814W", "ens", tmp_path)


@pytest.mark.parametrize(
    ("matrix", "gone", "message"),
    [
        ("CD", ["CRVAL1"], "the header has no CRVAL1$"),
        ("CD", ["CRPIX1", "CRPIX2"], "the header has no CRPIX1, CRPIX2$"),
        ("CD", ["CD1_1", "CD1_2", "CD2_1", "CD2_2"], "no CDELT1, CDELT2 and no CD matrix"),
        ("CD", ["CD1_1", "CD1_2"], "unusable sky coordinates"),
        ("PC", ["CDELT1", "CDELT2"], "no CDELT1, CDELT2 and no CD matrix"),
    ],
)
def test_what_is_missing_is_refused(tmp_path, matrix, gone, message):
    sky = sky_cards(SHAPE, matrix=matrix)
    for key in gone:
        del sky[key]
    with pytest.raises(MosaicError, match=message):
        mosaic_of(tmp_path, sky)


@pytest.mark.parametrize(
    ("scale", "stated", "accepted"),
    [
        (0.0049, None, False),
        (0.0051, None, True),
        (0.99, None, True),
        (1.01, None, False),
        (3600.0, None, False),  # wcslib's default, 1 degree
        (1.01, 1.01, True),  # the user confirms
        (0.003, 0.003, True),
        (0.003, 0.05, False),
    ],
)
def test_pixels_that_no_camera_has_need_the_user(tmp_path, scale, stated, accepted):
    overrides = HeaderOverrides(pixel_scale_arcsec=stated)
    if accepted:
        mosaic = mosaic_of(tmp_path, sky_cards(SHAPE, scale), overrides)
        assert mosaic.pixel_scale_arcsec == pytest.approx(scale, rel=1e-6)
    else:
        with pytest.raises(MosaicError, match=r"arcsec/pixel|unusable sky coordinates"):
            mosaic_of(tmp_path, sky_cards(SHAPE, scale), overrides)


def test_units_of_coordinates_are_honoured(tmp_path):
    expected = corners(mosaic_of(tmp_path, sky_cards(SHAPE)))
    (tmp_path / "m.fits").unlink()
    sky = sky_cards(SHAPE)
    for key in ("CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        sky[key] *= 3600.0
    sky["CUNIT1"] = sky["CUNIT2"] = "arcsec"
    assert corners(mosaic_of(tmp_path, sky)).separation(expected).arcsec.max() < 1e-5


def test_arcsec_on_degrees_is_refused(tmp_path):
    sky = sky_cards(SHAPE)
    sky["CUNIT1"] = sky["CUNIT2"] = "arcsec"
    with pytest.raises(MosaicError, match=r"1\.3889e-05 arcsec/pixel, outside 0\.005 to 1"):
        mosaic_of(tmp_path, sky)


@pytest.mark.parametrize("frame", ["fk5", "icrs", " FK5", "Icrs"])
def test_frames_in_lower_case(tmp_path, frame):
    sky = sky_cards(SHAPE, frame=frame)
    name = frame.strip().upper()
    mosaic = mosaic_of(tmp_path, sky)
    assert mosaic.wcs.wcs.radesys == name
    assert not scan_grid(mosaic).resampled
    middle = mosaic.wcs.pixel_to_world(74.5, 59.5)
    assert middle.separation(SkyCoord(*CRVAL, unit="deg", frame=name.lower())).mas < 0.01


@pytest.mark.parametrize(
    ("equinox", "frame"), [("J2000", "fk5"), ("2000.", "fk5"), ("B1950", "fk4"), ("J2000.0", "fk5")]
)
def test_an_equinox_as_text(tmp_path, equinox, frame):
    sky = sky_cards(SHAPE)
    del sky["RADESYS"]
    sky["EQUINOX"] = equinox
    reference = SkyCoord(*CRVAL, unit="deg", frame=frame)
    middle = mosaic_of(tmp_path, sky).wcs.pixel_to_world(74.5, 59.5)
    assert middle.icrs.separation(reference.icrs).mas < 0.01


@pytest.mark.parametrize("frame", ["FK4", "FK4-NO-E"])
def test_old_frames_are_transformed(tmp_path, frame):
    sky = sky_cards(SHAPE, frame=frame)
    sky["EQUINOX"] = 1950.0
    mosaic = mosaic_of(tmp_path, sky)
    grid = scan_grid(mosaic)
    ny, nx = grid.shape
    name = {"FK4": "fk4", "FK4-NO-E": "fk4noeterms"}[frame]
    reference = SkyCoord(*CRVAL, unit="deg", frame=name, equinox="B1950").icrs
    found = SkyCoord(*grid_to_sky(grid, (nx - 1) / 2, (ny - 1) / 2), unit="deg")
    # 50 years of precession are 0.6 degrees; half a pixel is what rounding the grid's size costs.
    assert found.separation(reference).arcsec < 0.05


def test_declination_may_come_first(tmp_path):
    flux = np.full(SHAPE, 1e-6)
    add_star(flux, 110.0, 90.0, 100.0, 1.5)
    sky = sky_cards(SHAPE)
    swapped = sky.copy()
    for one, other in (("CTYPE1", "CTYPE2"), ("CRVAL1", "CRVAL2"), ("CD1_1", "CD2_1"),
                       ("CD1_2", "CD2_2")):  # fmt: skip
        swapped[one], swapped[other] = sky[other], sky[one]
    expected = WCS(sky).pixel_to_world(110.0, 90.0)
    mosaic = mosaic_of(tmp_path, swapped, flux=flux)
    found = mosaic.wcs.pixel_to_world(110.0, 90.0)
    assert found.separation(expected).arcsec < 1e-6
