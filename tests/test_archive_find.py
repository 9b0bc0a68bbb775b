import io
import time

import numpy as np
import pytest
from archive_on_loopback import File, archive_on_loopback, html, siap_votable, stall_after, status
from astropy.coordinates import Angle
from mocpy import MOC

from lensweep.catalogs.coverage import area_deg2, write_coverage
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.archive import services as services_module
from lensweep.scanner.archive.find import find
from lensweep.scanner.archive.services import ServiceError, Services
from lensweep.scanner.archive.sky import around_catalogue, around_name, around_position, within_map

RA, DEC = 150.1163, 2.2010
SVM = "hst_10092_01_acs_wfc_f814w_j8pu01_drc.fits"
HLA_VISIT = "hst_10092_01_acs_wfc_f814w_drz.fits"
HLA_MOSAIC = "hst_mos_0034519_acs_wfc_f814w_drz.fits"
SKYCELL = "hst_skycell-p1500x10y10_acs_wfc_f814w_all_drc.fits"
TILE = "hlsp_cosmos_hst_acs-wfc_mosaic-3-6_f814w_v1.3_img.fits"
SEARCH = "/api/v0/invoke"


@pytest.fixture
def archive(monkeypatch, tmp_path):
    with archive_on_loopback(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Between tries, tests wait a fiftieth of what users do."""
    monkeypatch.setattr(services_module, "_FIRST_WAIT_S", 0.01)


def here(radius="1arcmin"):
    return around_position(RA, DEC, Angle(radius))


def find_here(asked=None, services=None, **options):
    progress = PlainProgress(io.StringIO(), time.monotonic)
    return find(asked or here(), services or Services(), progress, **options)


def names(found):
    return [product.name for product in found.products]


def test_a_visit_in_both_services_is_taken_once(archive):
    archive.mast.append(File(SVM, RA, DEC, version="3.9.1", content=b"x" * 4096))
    archive.hla.append(File(HLA_VISIT, RA, DEC, content=b"x" * 4000))
    found = find_here()
    (product,) = found.products
    assert (product.name, product.collection, product.level) == (SVM, "HAP-SVM", "visit")
    assert (product.camera, product.band, product.rank) == ("ACS/WFC", "F814W", 1)
    assert (product.exposure_s, product.depth_s, product.size_bytes) == (2028.0, 2028.0, 4096)
    assert (product.observed, product.calibration) == ("2003-12-27", "3.9.1")
    assert product.address == (
        f"https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:HST/product/{SVM}"
    )
    assert (product.programme, found.n_all, found.percent) == ("10092", 2, 100.0)
    assert found.notes == []


def test_everything(archive):
    archive.mast.append(File(SVM, RA, DEC))
    archive.hla.append(File(HLA_VISIT, RA, DEC, content=b"x" * 4000))
    found = find_here(everything=True)
    assert [(product.name, product.rank) for product in found.products] == [
        (SVM, 1), (HLA_VISIT, 2),
    ]  # fmt: skip
    old = found.products[1]
    assert (old.collection, old.size_bytes, old.observed) == ("HLA", 4000, "2003-12-27")
    assert old.address == (
        f"https://hla.stsci.edu/cgi-bin/getdata.cgi?config=ops&dataset={HLA_VISIT}"
    )


def test_a_file_of_hla_that_mast_lists_too_comes_from_mast(archive):
    archive.mast.append(File(HLA_VISIT, RA, DEC, collection="HLA"))
    archive.hla.append(File(HLA_VISIT.upper().replace(".FITS", ".fits"), RA, DEC))
    (product,) = find_here(everything=True).products
    assert product.address.startswith("https://mast.stsci.edu/")


def test_deeper_wins_then_newer(archive):
    archive.mast += [
        File(SVM, RA, DEC, exposure_s=2000.0),
        File("hst_12440_01_acs_wfc_f814w_jbo901_drc.fits", RA, DEC, exposure_s=6900.0),
        # No deeper than 2000 s at a typical point: 20,000 s over eleven fields.
        File(SKYCELL, RA, DEC, exposure_s=20000.0, side_deg=0.19),
    ]
    archive.hla.append(File(HLA_VISIT, RA, DEC, exposure_s=2050.0))
    found = find_here(everything=True)
    assert [name.split("_")[1] for name in names(found)] == [
        "12440", "10092", "10092", "skycell-p1500x10y10",
    ]  # fmt: skip
    # The visit of 2,050 s is as deep as the one of 2,000 s, and its calibration is older.
    assert names(found)[1:3] == [SVM, HLA_VISIT]
    skycell = found.products[-1]
    assert skycell.depth_s == pytest.approx(20000.0 * 0.00315 / 0.19**2, rel=0.03)
    assert [product.rank for product in found.products] == [1, 2, 3, 4]
    assert len(find_here().products) == 1


def test_what_adds_sky_is_taken_too(archive):
    archive.mast += [
        File(SVM, RA, DEC, exposure_s=4000.0),
        File("hst_10092_02_acs_wfc_f814w_j8pu02_drc.fits", RA + 0.04, DEC),
        # Within the first two, but for a sliver.
        File("hst_10092_03_acs_wfc_f814w_j8pu03_drc.fits", RA + 0.01, DEC, exposure_s=100.0),
    ]
    found = find_here(here("3arcmin"))
    assert [product.programme for product in found.products] == ["10092", "10092"]
    assert [product.rank for product in found.products] == [1, 1]
    assert found.n_all == 3
    # What a circle of 3 arcmin has of a band of 3.36, from 1.68 west of its middle on.
    assert found.percent == pytest.approx(53.6, abs=1.0)
    assert area_deg2(found.coverage) < area_deg2(found.asked.moc)


def test_of_equally_deep_ones_few_are_taken(archive):
    archive.mast += [
        File(SVM, RA, DEC, exposure_s=3000.0, version="9.9"),
        # 3,100 s at a typical point, and all of what is asked for.
        File(SKYCELL, RA, DEC, exposure_s=35500.0, side_deg=0.19),
    ]
    assert names(find_here(here("4arcmin"))) == [SKYCELL]


def test_the_newer_of_two_calibrations(archive):
    older, newer = SVM, SVM.replace("j8pu01", "j8pu91")
    archive.mast += [File(older, RA, DEC, version="3.5.0"), File(newer, RA, DEC, version="3.9.1")]
    assert names(find_here()) == [newer]


def test_high_level_products_and_mosaics(archive):
    archive.mast += [
        File(TILE, RA, DEC, collection="HLSP", side_deg=0.2, programme=""),
        File("hlsp_candels_hst_acs_cos-tot_f814w_v1.0_drz.fits", RA, DEC, collection="HLSP",
             exposure_s=6900.0, instrument="ACS"),
    ]  # fmt: skip
    archive.hla.append(File(HLA_MOSAIC, RA, DEC, exposure_s=8000.0, side_deg=0.1, programme=""))
    found = find_here(everything=True)
    assert [(product.survey, product.doi, product.level) for product in found.products] == [
        ("candels", "10.17909/T94S3X", "mosaic"),
        ("", "", "mosaic"),
        ("cosmos", "", "mosaic"),
    ]


@pytest.mark.parametrize(
    ("cameras", "expected"),
    [
        (["ACS/WFC"], []),
        (["WFC3/UVIS"], ["hst_12345_01_wfc3_uvis_f814w_ib0101_drc.fits"]),
        (["WFPC2"], ["hst_08597_17_wfpc2_f814w_wf_drz.fits"]),
    ],
)
def test_other_cameras_on_request(archive, cameras, expected):
    archive.mast += [
        File("hst_12345_01_wfc3_uvis_f814w_ib0101_drc.fits", RA, DEC, instrument="WFC3/UVIS"),
        File("hst_08597_17_wfpc2_f814w_wf_drz.fits", RA, DEC, instrument="WFPC2/WFC",
             collection="HLA"),
        # Of another filter, and of one exposure.
        File("hst_10092_01_acs_wfc_f606w_j8pu01_drc.fits", RA, DEC, filters="F606W"),
        File("hst_10092_01_acs_wfc_f814w_j8pu01ab_drc.fits", RA, DEC),
    ]  # fmt: skip
    assert names(find_here(cameras=cameras)) == expected


def test_an_unknown_camera():
    with pytest.raises(InputError, match="camera NIRCam: must be of ACS/WFC, WFC3/UVIS, WFPC2"):
        find_here(cameras=["NIRCam"])


def test_nothing_there(archive):
    found = find_here()
    assert (found.products, found.percent, found.n_all) == ([], 0.0, 0)
    assert found.notes == []


def test_sky_that_no_product_covers(archive):
    # In the circle that is asked for, and beside what was asked.
    archive.mast.append(File(SVM, RA + 0.08, DEC))
    assert find_here().products == []


def test_across_the_meridian_and_at_a_pole(archive):
    archive.mast += [
        File("hst_10092_04_acs_wfc_f814w_j8pu04_drc.fits", 0.01, -30.0),
        File("hst_10092_05_acs_wfc_f814w_j8pu05_drc.fits", 10.0, 89.5),
    ]
    for ra, dec, visit in ((359.995, -30.0, "04"), (11.0, 89.5, "05")):
        found = find_here(around_position(ra, dec, Angle("0.5arcmin")))
        assert [name.split("_")[2] for name in names(found)] == [visit]
        assert found.percent == 100.0


def test_a_footprint_that_says_nothing_is_told_of(archive):
    archive.mast += [File(SVM, RA, DEC), File(TILE, RA, DEC, collection="HLSP", region="")]
    found = find_here()
    assert names(found) == [SVM]
    assert "1 products have no footprint that can be read" in found.notes[0]
    assert TILE in found.notes[0]


def test_a_name_that_leads_out_of_a_folder_is_no_product(archive):
    archive.mast.append(File(f"../../{SVM}", RA, DEC))
    assert find_here().n_all == 0


# What a service may answer instead.


def test_a_busy_moment_is_waited_out(archive):
    archive.mast.append(File(SVM, RA, DEC))
    archive.hla.append(File(HLA_VISIT, RA, DEC))
    archive.faults[SEARCH] += [status(500), status(503)]
    archive.faults["hlaSIAP"] += [status(500), status(429, **{"Retry-After": 0})]
    assert find_here(everything=True).n_all == 2
    assert len(archive.requests("hlaSIAP")) == 3


HLA_FAULTS = {
    "not there": (status(404), "404"),
    "a page": (html, "no table of images in its answer"),
    "an error": (
        lambda handler, _: handler.reply(
            200, "text/xml", siap_votable([], "ERROR", "POS out of range")
        ) or True,
        "POS out of range",
    ),
    "no answer in time": (stall_after(10, 30.0), "Timeout|timed out"),
}  # fmt: skip


@pytest.mark.parametrize("what", HLA_FAULTS)
def test_without_hla_the_rest_is_found_and_it_is_said(archive, what):
    fault, message = HLA_FAULTS[what]
    archive.mast.append(File(SVM, RA, DEC))
    archive.hla.append(File(HLA_VISIT, RA, DEC))
    archive.faults["hlaSIAP"] += [fault] * 5
    found = find_here(services=Services(timeout_s=0.5, tries=2))
    assert names(found) == [SVM]
    (note,) = found.notes
    assert "HLA at https://hla.stsci.edu" in note
    assert "what only HLA has is not listed" in note
    assert any(part in note for part in message.split("|")), note


MAST_FAULTS = {
    "not there": status(404),
    "a page": html,
    "an error": lambda handler, _: handler.reply(
        200, "application/json", b'{"status": "ERROR", "msg": "too busy", "data": [], "fields": []}'
    ) or True,
}  # fmt: skip


@pytest.mark.parametrize("what", MAST_FAULTS)
def test_without_mast_hla_is_found(archive, what):
    archive.mast.append(File(SVM, RA, DEC))
    archive.hla.append(File(HLA_VISIT, RA, DEC))
    archive.faults[SEARCH] += [MAST_FAULTS[what]] * 5
    found = find_here()
    assert names(found) == [HLA_VISIT]
    assert found.notes[0].startswith("MAST: ")


def test_without_any_service(archive):
    archive.faults[SEARCH] += [status(404)]
    archive.faults["hlaSIAP"] += [status(404)]
    with pytest.raises(ServiceError, match=r"MAST: .*404.*; HLA at https://hla\.stsci\.edu: .*404"):
        find_here()


def test_hla_is_not_asked_where_it_has_no_address(archive):
    archive.mast.append(File(SVM, RA, DEC))
    assert find_here(services=Services(hla="")).notes == []
    assert archive.requests("hlaSIAP") == []


def test_hla_at_another_address(archive):
    archive.hla.append(File(HLA_VISIT, RA, DEC))
    found = find_here(services=Services(hla=archive.address))
    assert found.products[0].address.startswith(f"{archive.address}/cgi-bin/getdata.cgi")


# What may be asked for.


def test_a_name_is_resolved(archive):
    archive.names["COSMOS 5921+0638"] = (RA, DEC)
    sesame = [f"{archive.address}/sesame"]
    asked = around_name("COSMOS 5921+0638", Angle("1arcmin"), sesame)
    assert (asked.ra_deg[0], asked.dec_deg[0]) == (pytest.approx(RA), pytest.approx(DEC))
    with pytest.raises(InputError, match=r"name No Such: .*say --ra and --dec instead"):
        around_name("No Such", Angle("1arcmin"), sesame)
    with pytest.raises(InputError, match=r"name M 31: .*say --ra and --dec instead"):
        around_name("M 31", Angle("1arcmin"), ["http://127.0.0.1:9"])


def test_a_catalogue_is_asked_for_in_few_questions(archive):
    asked = around_catalogue("lensflow", Angle("10arcsec"))
    assert len(asked.ra_deg) == 92
    assert len(asked.cones) < 8
    archive.mast.append(File(SVM, float(asked.ra_deg[0]), float(asked.dec_deg[0])))
    found = find_here(asked)
    assert names(found) == [SVM]
    inside = np.hypot(asked.ra_deg - asked.ra_deg[0], asked.dec_deg - asked.dec_deg[0]) < 0.028
    assert found.covered_positions == pytest.approx(inside.sum(), abs=1)
    assert len(archive.requests("hlaSIAP")) == len(asked.cones)


def test_a_table_of_positions(tmp_path):
    (tmp_path / "mine.csv").write_text("name,ra_deg,dec_deg\na,10.0,-5.0\nb,200.0,60.0\n")
    asked = around_catalogue(str(tmp_path / "mine.csv"), Angle("1arcmin"))
    assert (asked.label, len(asked.cones)) == ("mine.csv", 2)


def test_a_map(archive, tmp_path):
    write_coverage(here("20arcmin").moc, tmp_path / "moc.fits", {})
    asked = within_map(tmp_path / "moc.fits")
    archive.mast.append(File(SVM, RA + 0.2, DEC))
    found = find_here(asked)
    assert names(found) == [SVM]
    assert found.percent == pytest.approx(100 * 0.056**2 / (np.pi / 9), rel=0.05)


def test_too_large_a_map(tmp_path):
    tenth = MOC.from_healpix_cells(np.array([1], np.uint64), np.array([0], np.uint8), 8)
    write_coverage(tenth, tmp_path / "moc.fits", {})
    with pytest.raises(InputError, match=r"moc\.fits: .*cut it into several"):
        within_map(tmp_path / "moc.fits")
