import pytest

from lensweep.scanner.archive.names import NameOfFileError, ProductName, parse_name, safe_name

# Names of real files, as they stand in papers, notebooks and programs, and in MAST's manifests.
REAL = [
    # HLA: a visit, with a visit of letters, in capitals, and of an old programme.
    ("hst_10188_10_acs_wfc_f814w_drz.fits", "HLA", "visit", "ACS/WFC", "F814W", "10188", True),
    ("hst_13671_1r_acs_wfc_f814w_drz.fits", "HLA", "visit", "ACS/WFC", "F814W", "13671", True),
    ("HST_9744_74_ACS_WFC_F814W_drz.fits", "HLA", "visit", "ACS/WFC", "F814W", "9744", True),
    ("hst_10886_02_acs_wfc_f814w_drz.fits.gz", "HLA", "visit", "ACS/WFC", "F814W", "10886", True),
    # HLA: one exposure; the sum of all filters; WFPC2 has filter and detector the other way round.
    ("hst_10268_05_acs_wfc_f606w_09_drz.fits", "HLA", "exposure", "ACS/WFC", "F606W", "10268",
     False),
    ("hst_10188_10_acs_wfc_total_drz.fits", "HLA", "visit", "ACS/WFC", "TOTAL", "10188", False),
    ("hst_08597_17_wfpc2_f814w_wf_drz.fits", "HLA", "visit", "WFPC2", "F814W", "08597", True),
    ("hst_05206_01_wfpc2_f555w_pc_drz.fits", "HLA", "visit", "WFPC2/PC", "F555W", "05206", True),
    # HLA: mosaics.
    ("hst_mos_1040600_acs_wfc_f814w_drz.fits", "HLA", "mosaic", "ACS/WFC", "F814W", "", True),
    ("hst_mos_0034519_acs_wfc_f814w_drz.fits", "HLA", "mosaic", "ACS/WFC", "F814W", "", True),
    ("hst_mos_0015261_acs_wfc_f814w_sci.fits", "HLA", "mosaic", "ACS/WFC", "F814W", "", True),
    ("hst_mos_0074259_acs_wfc_f850lp_long_drz.fits", "HLA", "mosaic", "ACS/WFC", "F850LP", "",
     True),
    ("hst_mos_1020228_wfc3_uvis_f814w_drz.fits", "HLA", "mosaic", "WFC3/UVIS", "F814W", "", True),
    # HAP: single visits, drizzled with and without correction for charge transfer.
    ("hst_10831_02_acs_wfc_f814w_j9qj02_drc.fits", "HAP-SVM", "visit", "ACS/WFC", "F814W",
     "10831", True),
    ("hst_14182_17_acs_wfc_f814w_jcwr17_drc.fits.gz", "HAP-SVM", "visit", "ACS/WFC", "F814W",
     "14182", True),
    ("hst_10886_01_acs_wfc_f814w_j9op01l7_drc.fits", "HAP-SVM", "exposure", "ACS/WFC", "F814W",
     "10886", False),
    ("hst_10634_03_acs_wfc_total_j9dm03_drc.fits", "HAP-SVM", "visit", "ACS/WFC", "TOTAL",
     "10634", False),
    # HAP: multi-visit mosaics; infrared ones have two scales.
    ("hst_skycell-p0485x05y14_acs_wfc_f814w_all_drc.fits", "HAP-MVM", "skycell", "ACS/WFC",
     "F814W", "", True),
    ("hst_skycell-p2039x08y03_wfc3_uvis_f814w_all_drc.fits", "HAP-MVM", "skycell", "WFC3/UVIS",
     "F814W", "", True),
    ("hst_skycell-p0081x14y15_wfc3_ir_f128n_coarse-all_drz.fits", "HAP-MVM", "skycell, coarse",
     "WFC3/IR", "F128N", "", False),
    ("hst_skycell-p0081x14y15_wfc3_ir_f128n_coarse-all-ibp505mf_drz.fits", "HAP-MVM", "exposure",
     "WFC3/IR", "F128N", "", False),
    # HLSP: tiles and mosaics of surveys, and a weight map.
    ("hlsp_cosmos_hst_acs-wfc_mosaic-3-6_f814w_v1.3_img.fits", "HLSP", "mosaic", "ACS/WFC",
     "F814W", "", True),
    ("hlsp_candels_hst_acs_cos-tot-sect23_f814w_v1.0_drz.fits", "HLSP", "mosaic", "ACS/WFC",
     "F814W", "", True),
    ("hlsp_candels_hst_acs_egs-tot-30mas-section11_f606w_v1.0_drz.fits", "HLSP", "mosaic",
     "ACS/WFC", "F606W", "", True),
    ("hlsp_goods_hst_acs-wfc_north-mosaic_f435w_v2.0_drz.fits", "HLSP", "mosaic", "ACS/WFC",
     "F435W", "", True),
    ("hlsp_candels_hst_acs_cos-tot_f814w_v1.0_wht.fits", "HLSP", "mosaic", "ACS/WFC", "F814W",
     "", False),
    # WFC3 alone may be either of its detectors.
    ("hlsp_candels_hst_wfc3_cos-tot_f125w_v1.0_drz.fits", "HLSP", "mosaic", "WFC3", "F125W", "",
     True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "collection", "level", "camera", "band", "programme", "to_scan"),
    REAL,
    ids=[row[0] for row in REAL],
)
def test_real_names(name, collection, level, camera, band, programme, to_scan):
    found = parse_name(name)
    assert (found.collection, found.level, found.camera, found.band) == (
        collection, level, camera, band,
    )  # fmt: skip
    assert (found.programme, found.to_scan) == (programme, to_scan)


def test_every_part_of_a_name():
    assert parse_name("hst_10831_02_acs_wfc_f814w_j9qj02_drc.fits") == ProductName(
        "HAP-SVM", "visit", "ACS", "WFC", "F814W", "drc", programme="10831", visit="02",
        part="j9qj02",
    )  # fmt: skip
    assert parse_name("hlsp_cosmos_hst_acs-wfc_mosaic-3-6_f814w_v1.3_img.fits") == ProductName(
        "HLSP", "mosaic", "ACS", "WFC", "F814W", "img", part="mosaic-3-6", survey="cosmos",
        version="v1.3",
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "j8pu0y010_drc.fits",  # the pipeline's own, of no collection here
        "hst_10268_05_acs_wfc_f606w_daophot_trm.cat",  # a catalogue
        "hst_10831_02_acs_wfc_f814w_j9qj02_point-cat.ecsv",
        "hst_15333_01_stis_nuv-mama_f25qtz_drz.fits",  # another instrument
        "hst_10188_10_acs_wfc_f814w_drz.jpg",
        "field.fits",
        "../../hst_10831_02_acs_wfc_f814w_j9qj02_drc.fits",
    ],
)
def test_other_names(name):
    assert parse_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["../../.bashrc", "a/b.fits", "..", ".hidden.fits", "", "a\\b.fits", "a b.fits", "x" * 300,
     "a..fits", "-rf.fits", "a\n.fits"],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(NameOfFileError, match="no plain file name"):
        safe_name(name)


def test_every_real_name_is_safe():
    assert [safe_name(row[0]) for row in REAL] == [row[0] for row in REAL]
