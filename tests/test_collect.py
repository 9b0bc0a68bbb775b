import io
import sys
import time

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from conftest import write_field
from drizzled_files import sky_cards, write_hla
from matplotlib.image import imsave

from lensweep.__main__ import main
from lensweep.catalogs.known_lenses import castles, lensflow92
from lensweep.catalogs.tables import TableError
from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.run import cutout_store
from lensweep.scanner.sky.grid import grid_to_sky, scan_grid
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.data.collect import collect, open_collection
from lensweep.training.data.image_folder import list_images, read_image
from lensweep.training.data.label_table import (
    describe_labels,
    gather_labels,
    read_catalogue,
    read_labels,
    vote,
)
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.data.places import group_overlapping, keep_apart
from lensweep.training.data.requests import CollectConfig

SHAPE = (760, 900)
NOTHING = HeaderOverrides()
ARCSEC = 1.0 / 3600.0


def collect_here(client, out, *mosaics, stated=NOTHING, images_stated=NOTHING, **options):
    options = {"random_positions": 6, "random_sources": 4, "seed": 4} | options
    config = CollectConfig(tuple(map(str, mosaics)), **options)
    progress = PlainProgress(io.StringIO(), time.monotonic)
    return collect(open_collection(config, stated, images_stated, out), client, progress)


def sky_of(path, x, y, scratch):
    mosaic = inspect_mosaic(path, NOTHING, "F814W", "x", scratch)
    return grid_to_sky(scan_grid(mosaic), x, y)


@pytest.fixture(scope="module")
def mosaic_path(tmp_path_factory):
    """A mosaic about CASTLES row 5, without data on its left."""
    lens = castles().iloc[5]
    sky = sky_cards(SHAPE, crval=(lens["ra_deg"], lens["dec_deg"]))
    return write_field(tmp_path_factory.mktemp("m") / "a_f814w_drz.fits", 2, SHAPE, 150, sky=sky)


@pytest.fixture(scope="module")
def labels(mosaic_path, tmp_path_factory):
    """Two lenses (one of them twice over, in overlapping windows), a non-lens, and three rows
    that cannot be had: without data, outside, and the CASTLES system again."""
    folder = tmp_path_factory.mktemp("labels")
    x, y = [300.0, 330.0, 700.0, 60.0], [600.0, 610.0, 150.0, 300.0]
    ra, dec = sky_of(mosaic_path, x, y, folder)
    lens = castles().iloc[5]
    table = pd.DataFrame({
        "ra_deg": [*ra, 200.0, lens["ra_deg"]], "dec_deg": [*dec, 5.0, lens["dec_deg"]],
        "label": ["lens", "lens", "nonlens", "lens", "lens", "lens"],
        "name": ["one", "one again", "spiral", "blank", "away", "castles five"],
    })  # fmt: skip
    path = folder / "mine.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def made(mosaic_path, labels, client, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    plan, missing = collect_here(client, out, mosaic_path, labels=(str(labels),))
    return out, plan, missing, read_truth(out), cutout_store.read(out / "cutouts.zarr")


def test_what_is_collected(made):
    _, _, _, truth, cutouts = made
    assert truth["kind"].value_counts().to_dict() == {
        "random_position": 6, "random_source": 4, "labelled_lens": 2, "known_lens": 1,
        "labelled_nonlens": 1,
    }  # fmt: skip
    assert truth["is_lens"].sum() == 3
    assert np.isfinite(cutouts.flux).mean(axis=(1, 2)).min() >= 0.9
    assert truth.loc[truth["kind"] == "known_lens", "name"].item() == castles()["name"].iloc[5]


def test_cutouts_are_centred_on_their_objects(made):
    _, _, _, truth, cutouts = made
    assert np.abs(truth[["x_px", "y_px"]] - 49.5).max().max() <= 0.5
    away = np.hypot(
        (cutouts.ra_deg - truth["ra_deg"]) * np.cos(np.radians(truth["dec_deg"])),
        cutouts.dec_deg - truth["dec_deg"],
    )
    assert away.max() < 0.05 * ARCSEC
    # A detected source is the brightest thing in the middle of its cutout.
    for number in np.flatnonzero(truth["kind"] == "random_source"):
        flux = cutouts.flux[number]
        assert np.nanmax(flux[45:55, 45:55]) > 5 * np.nanstd(flux[flux < np.nanmedian(flux)])


def test_what_cannot_be_had_is_listed_with_the_reason(made):
    _, _, missing, _, _ = made
    mine = missing[missing["source"] == "mine.csv"].set_index("name")["reason"]
    assert "of its window has data, not 90%" in mine["blank"]
    assert mine["away"] == "outside every mosaic"
    assert mine["castles five"] == "the same object as CASTLES row 5"
    others = missing[missing["source"] == "CASTLES"]
    assert len(others) == 99
    weak = others["reason"].str.startswith("grade C: weaker than B")
    assert weak.sum() == 8
    assert set(others["reason"][~weak]) == {"outside every mosaic"}


def test_windows_that_share_pixels_are_one_object(made):
    _, _, _, truth, cutouts = made
    numbers = truth.set_index("name")["object_id"]
    assert numbers["one"] == numbers["one again"]
    corners = np.stack([cutouts.x0, cutouts.y0], axis=1)
    shared = (np.abs(corners[:, None] - corners[None]) < 100).all(axis=2)
    same = truth["object_id"].to_numpy()[:, None] == truth["object_id"].to_numpy()[None]
    assert not (shared & ~same).any()
    assert truth["object_id"].nunique() == len(truth) - 1


def test_random_windows_keep_away_from_lenses(made):
    _, _, _, truth, _ = made
    lenses, random = truth[truth["is_lens"]], truth[truth["kind"].str.startswith("random")]
    for lens in lenses.itertuples():
        away = np.hypot(
            (random["ra_deg"] - lens.ra_deg) * np.cos(np.radians(lens.dec_deg)),
            random["dec_deg"] - lens.dec_deg,
        )
        assert away.min() > 10 * ARCSEC


def test_two_visits_of_one_lens_are_one_object(mosaic_path, client, tmp_path):
    lens = castles().iloc[5]
    # A second visit, a few pixels off.
    sky = sky_cards(SHAPE, crval=(lens["ra_deg"] + ARCSEC, lens["dec_deg"]))
    other = write_field(tmp_path / "b_f814w_drz.fits", 8, SHAPE, 0, sky=sky)
    plan, _ = collect_here(client, tmp_path / "out", mosaic_path, other)
    visits = plan[plan["kind"] == "known_lens"]
    assert sorted(visits["mosaic"]) == ["a_f814w_drz", "b_f814w_drz"]
    assert visits["object_id"].nunique() == 1
    # Random windows of the two mosaics share no sky.
    assert plan["object_id"].nunique() == len(plan) - 1


def test_fewer_random_windows_than_asked_are_said(mosaic_path, client, tmp_path):
    plan, missing = collect_here(client, tmp_path / "out", mosaic_path, random_positions=500)
    n = int((plan["kind"] == "random_position").sum())
    assert 6 < n < 60
    reason = missing.set_index("source")["reason"]["random_position"]
    assert reason.startswith(f"{n} of 500 could be had")


def test_a_stopped_collection_continues(made, mosaic_path, labels, client):
    out, _, _, truth, cutouts = made
    (out / "truth" / "00000000.parquet").unlink()
    collect_here(client, out, mosaic_path, labels=(str(labels),))
    pd.testing.assert_frame_equal(read_truth(out), truth)
    np.testing.assert_array_equal(cutout_store.read(out / "cutouts.zarr").flux, cutouts.flux)
    with pytest.raises(InputError, match="another data set"):
        collect_here(client, out, mosaic_path)


def test_labels_that_changed_are_another_set(made, mosaic_path, labels, client, tmp_path):
    out, *_ = made
    text = labels.read_text()
    labels.write_text(text.replace("nonlens", "lens", 1))
    try:
        with pytest.raises(InputError, match="holds another data set"):
            collect_here(client, out, mosaic_path, labels=(str(labels),))
    finally:
        labels.write_text(text)


def test_same_seed_same_windows(made, mosaic_path, labels, client, tmp_path):
    _, plan, _, _, _ = made
    again, _ = collect_here(client, tmp_path / "again", mosaic_path, labels=(str(labels),))
    pd.testing.assert_frame_equal(again, plan)
    other, _ = collect_here(client, tmp_path / "other", mosaic_path, labels=(str(labels),), seed=5)
    assert not other[["x0", "y0"]].equals(plan[["x0", "y0"]])


@pytest.fixture
def images(tmp_path):
    """A folder of images in each of the formats; two of them cannot be used."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "images"
    for label in ("lens", "nonlens"):
        (folder / label).mkdir(parents=True)
    np.save(folder / "lens" / "a.npy", rng.normal(0.0, 1.0, (120, 130)))
    np.save(folder / "lens" / "zeros.npy", np.zeros((60, 80)))
    np.save(folder / "lens" / "nothing.npy", np.full((100, 100), np.nan))
    np.save(folder / "nonlens" / "cube.npy", rng.normal(0.0, 1.0, (3, 100, 100)))
    imsave(folder / "nonlens" / "grey.png", rng.random((100, 100)), cmap="gray")
    write_hla(folder / "nonlens" / "b.fits", rng.normal(0, 1, (100, 100)).astype(np.float32))
    return folder


def test_images_from_a_folder(images, client, tmp_path):
    plan, missing = collect_here(
        client, tmp_path / "out", images=str(images), images_stated=HeaderOverrides(None, 0.05)
    )
    truth, cutouts = read_truth(tmp_path / "out"), cutout_store.read(tmp_path / "out/cutouts.zarr")
    assert dict(zip(truth["name"], truth["kind"], strict=True)) == {
        "a": "image_lens", "zeros": "image_lens", "grey": "image_nonlens", "b": "image_nonlens",
    }  # fmt: skip
    assert plan["object_id"].nunique() == 4
    flux = dict(zip(truth["name"], cutouts.flux, strict=True))
    np.testing.assert_allclose(flux["a"], np.load(images / "lens" / "a.npy")[10:110, 15:115],
                               rtol=1e-6)  # fmt: skip
    assert (flux["zeros"] == 0.0).sum() == 60 * 80  # zero is a value in an array
    assert np.isnan(flux["zeros"]).sum() == 100 * 100 - 60 * 80
    reasons = missing.set_index("name")["reason"]
    assert "no valid pixel" in reasons["nothing"]
    assert "shape (3, 100, 100)" in reasons["cube"]


def test_images_of_another_scale_are_resampled(tmp_path):
    y, x = np.mgrid[:200, :200] - 99.5
    np.save(tmp_path / "star.npy", np.exp(-(x**2 + y**2) / (2 * 8.0**2)))
    flux, fraction = read_image(str(tmp_path / "star.npy"), HeaderOverrides(None, 0.03))
    assert fraction == pytest.approx(1.0, abs=0.05)
    # The same angle takes fewer pixels, and the flux is kept.
    assert np.nansum(flux) == pytest.approx(2 * np.pi * 8.0**2, rel=0.02)
    assert np.nansum(flux > np.nanmax(flux) / 2) == pytest.approx(
        np.pi * (1.1774 * 8.0 * 0.6) ** 2, rel=0.15
    )


@pytest.mark.parametrize(
    ("files", "scale", "message"),
    [
        (["lens/a.jpg"], 0.05, "unknown file ending"),
        (["lenses/a.npy"], 0.05, "sub-folders name the labels"),
        (["a.npy"], 0.05, "sub-folders name the labels"),
        (["lens/a.npy"], None, "--image-scale"),
        ([], 0.05, "not one image"),
    ],
)
def test_unusable_folders_of_images(files, scale, message, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=message):
        list_images(tmp_path, HeaderOverrides(None, scale))
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "none", NOTHING)


def test_a_colour_picture_is_refused(tmp_path):
    imsave(tmp_path / "a.png", np.random.default_rng(1).random((50, 50, 3)))
    with pytest.raises(InputError, match="colour"):
        read_image(str(tmp_path / "a.png"), HeaderOverrides(None, 0.05))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ra_deg,dec_deg\n1,2\n", "no column label"),
        ("ra_deg,dec_deg,lable\n1,2,lens\n", "no column label, .* and no column grade"),
        (
            "ra_deg,dec_deg,grade\n1,2,A\n3,4,D\n",
            r"row 1 .* grade 'D', but must be one of A, B, C, X",
        ),
        ("ra_deg,dec_deg,grade\n1,2,\n", "not one row has a grade"),
        ("ra_deg,dec_deg,label\n1,2,lens\n3,4,maybe\n", r"row 1 .* label 'maybe'"),
        ("ra_deg,dec_deg,label\n1,2,lens\n3,4,\n", r"row 1 .* must be one of lens"),
        ("ra_deg,dec_deg,label\n1,95,lens\n", "Dec 95"),
        ("ra_deg,dec_deg,label\n,2,lens\n", "row 0"),
        ("ra,dec,label\n1:75:03,2,lens\n", "not all of it is sexagesimal"),
        ("ra,dec,label\n1.5,2,lens\n", "as hours do"),
        ("ra_deg,dec_deg,label\n", "no rows"),
    ],
)
def test_unusable_labels(text, message, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises((InputError, TableError), match=message):
        read_labels(tmp_path / "labels.csv")


def test_labels_in_words_and_numbers(tmp_path):
    (tmp_path / "labels.csv").write_text(
        "ra_deg,dec_deg,label\n1,2,Lens\n3,4,0\n5,6,1\n7,8,nonlens\n9,10,1.0\n"
    )
    table = read_labels(tmp_path / "labels.csv")
    assert table["is_lens"].tolist() == [True, False, True, False, True]


GRADES = """# lensweep grades
# grades: A sure, B probable, C possible, X not a lens, empty for none
candidate_id,ra_deg,dec_deg,grade,grader,graded_at,flag,comment,mosaic,rank,run_id
LSWP J1,1.5,2.0,A,ada,2026-11-26T12:00:00Z,false,"arc, and a # sign",m,1,abc
LSWP J2,3.5,4.0,X,ada,2026-11-26T12:00:00Z,false,,m,2,abc
LSWP J3,5.5,6.0,,ada,,true,,m,3,abc
LSWP J4,7.5,8.0,c,ada,2026-11-26T12:00:00Z,false,,m,4,abc
"""


def test_grades_of_the_page_are_labels(tmp_path):
    (tmp_path / "ada.csv").write_text(GRADES)
    table = read_labels(tmp_path / "ada.csv")
    assert table["name"].tolist() == ["LSWP J1", "LSWP J2", "LSWP J4"]
    assert table["is_lens"].tolist() == [True, False, True]
    assert table["source_row"].tolist() == [0, 1, 3]
    assert describe_labels(table) == (
        "ada.csv: 2 lenses, 1 others (A, B and C are lenses, X is none: 1 A, 1 C, 1 X)"
    )
    wanted = gather_labels([], [tmp_path / "ada.csv"], "B")
    assert wanted["weak"].tolist() == ["", "", "grade C: weaker than B"]


def test_graders_vote(tmp_path):
    first_is_none = GRADES.replace("2.0,A", "2.0,X")
    graders = {"ada": GRADES, "bob": first_is_none, "eve": first_is_none.replace(",c,", ",X,")}
    for name, text in graders.items():
        (tmp_path / f"{name}.csv").write_text(text)
    tables = [read_labels(tmp_path / f"{name}.csv") for name in ("ada", "bob", "eve")]
    voted, divided = vote(tables)
    assert dict(zip(voted["name"], voted["is_lens"], strict=True)) == {
        "LSWP J1": False, "LSWP J2": False, "LSWP J4": True
    }  # fmt: skip
    assert divided == 0
    # Two who do not agree leave the candidate out.
    voted, divided = vote(tables[:2])
    assert (voted["name"].tolist(), divided) == (["LSWP J2", "LSWP J4"], 1)


@pytest.mark.parametrize(
    ("catalogue", "least", "n"),
    [
        ("castles", None, 92), ("castles", "A", 82), ("castles", "C", 100),
        # lenscat's two words, until the letters are fetched.
        ("lensflow", None, 14), ("lensflow", "probable", 92), ("lensflow", "A", 0),
        # Without grades nothing is weak.
        ("faure2008", "A", 65),
    ],
)  # fmt: skip
def test_weak_grades_of_catalogues_are_no_labels_unless_asked_for(catalogue, least, n):
    wanted = gather_labels([catalogue], [], least)
    assert (wanted["weak"] == "").sum() == n
    assert wanted.loc[wanted["weak"] != "", "weak"].str.contains("weaker than").all()


def test_an_unknown_grade_to_begin_from_is_refused():
    with pytest.raises(InputError, match="min grade 'D': none of A, B, C, confident, probable"):
        gather_labels(["castles"], [], "D")


def test_contradictory_labels_are_refused(tmp_path):
    lens = lensflow92().iloc[7]
    path = tmp_path / "labels.csv"
    path.write_text(f"ra_deg,dec_deg,label\n{lens['ra_deg']},{lens['dec_deg']},nonlens\n")
    with pytest.raises(InputError, match=r"LensFlow row 7 .* labels.csv row 0 .* remove one"):
        gather_labels(["lensflow"], [path], "C")


@pytest.mark.parametrize(("name", "n"), [("castles", 100), ("lensflow", 92), ("faure2008", 65)])
def test_shipped_catalogues(name, n):
    table = read_catalogue(name)
    assert len(table) == n
    assert table["is_lens"].all()


def test_one_class_is_refused(client, tmp_path):
    away = write_field(tmp_path / "away_drz.fits", 4, (300, 400), 0)
    with pytest.raises(InputError, match=r"0 lenses and .* both classes are needed") as refused:
        collect_here(client, tmp_path / "out", away, random_positions=2, random_sources=1)
    assert "outside every mosaic" in str(refused.value)
    assert len(pd.read_parquet(tmp_path / "out" / "missing.parquet")) >= 100
    # The folder is not taken: another request, which says what else it misses, is looked at.
    with pytest.raises(InputError, match=r"0 lenses and .* both classes are needed"):
        collect_here(client, tmp_path / "out", away, random_positions=3, random_sources=1)


def test_a_mosaic_of_nan_is_refused(client, tmp_path):
    path = write_hla(tmp_path / "nan_drz.fits", np.full((200, 200), np.nan, np.float32))
    with pytest.raises(MosaicError, match="every pixel is NaN"):
        collect_here(client, tmp_path / "out", path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaics": ()}, "no mosaics and no images"),
        ({"mosaics": (), "images": "x", "labels": ("y.csv",)}, "no mosaics to cut"),
        ({"random_sources": -1}, "0 or more"),
        ({"min_valid_fraction": 0.0}, "above 0"),
        ({"exclusion_radius_arcsec": 1.0}, "at least 3.6"),
        ({"seed": -1}, "seed = -1: must lie within 0 and"),
        ({"catalogues": "castles"}, "catalogues = 'castles': must be a list of names"),
        ({"random_positions": 1.5}, "random_positions = 1.5: must be a whole number"),
    ],
)
def test_unusable_requests(changes, message):
    with pytest.raises(InputError, match=message):
        CollectConfig(**({"mosaics": ("a.fits",)} | changes))


def test_a_folder_with_other_files_is_refused(mosaic_path, client, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes.txt and no dataset.json"):
        collect_here(client, tmp_path, mosaic_path)


@pytest.mark.parametrize(
    ("ra", "dec", "kept", "groups"),
    [
        ([10.0, 10.0], [0.0, 4.9 * ARCSEC], [True, False], 1),  # above each other
        ([10.0, 10.0], [0.0, 5.0 * ARCSEC], [True, True], 2),  # they touch
        ([359.9995, 0.0005], [0.0, 0.0], [True, False], 1),  # across RA 0
        ([10.0, 10.0 + 8 * ARCSEC], [60.0, 60.0], [True, False], 1),  # 4 arcsec at Dec 60
        ([10.0] * 3, [0.0, 4 * ARCSEC, 8 * ARCSEC], [True, False, True], 1),  # a chain
    ],
)
def test_windows_apart_and_in_groups(ra, dec, kept, groups):
    ra, dec = np.array(ra), np.array(dec)
    assert keep_apart(ra, dec).tolist() == kept
    assert keep_apart(ra, dec, len(ra)).all()
    assert len(set(group_overlapping(ra, dec).tolist())) == groups


def test_lenses_and_galaxies_of_real_pixels(real_data, client, tmp_path):
    """SLACS lenses and COSMOS and AEGIS galaxies, as a folder of FITS images."""
    manifest = pd.read_csv(real_data / "MANIFEST.csv")
    lens = manifest["file"].str.contains("SDSSJ(?:0029|0737|0946|1627)")
    other = manifest["file"].str.contains("galaxies/COSMOS_1[46]")
    folder = tmp_path / "images"
    for row in manifest[lens | other].itertuples():
        target = folder / row.label / row.file.split("/")[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((real_data / row.file).read_bytes())
        with fits.open(target) as hdus:
            assert max(hdu.data.ndim for hdu in hdus if hdu.data is not None) == 2
    stated = HeaderOverrides("F814W", None, "electrons/s")
    plan, missing = collect_here(client, tmp_path / "out", images=str(folder), images_stated=stated)
    assert plan["is_lens"].sum() >= 3
    assert plan["is_lens"].sum() + missing["is_lens"].sum() == lens.sum() == 4
    # What lacks a scale in its header is listed, and why.
    assert len(plan) + len(missing) == (lens | other).sum()
    assert missing["reason"].str.contains("pixel-scale").all()


def test_command(mosaic_path, tmp_path, monkeypatch, capsys):
    arguments = ["collect", str(mosaic_path), "--out", str(tmp_path / "out"), "--workers", "1",
                 "--random-positions", "3", "--random-sources", "3"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["lensweep", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "7 cutouts of 7 objects: 1 lenses, 6 others" in shown
    assert "91  CASTLES: outside every mosaic" in shown
