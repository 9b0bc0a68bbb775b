"""Stamps for the page: from mosaics and without them, as pictures, with what flags say of them."""

import base64
import gzip
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from conftest import scan_here, write_field
from drizzled_files import add_star
from PIL import Image

from lensweep.scanner.inspection.flags import EDGE, HALF_VALID, POINT_LIKE, flags_of
from lensweep.scanner.inspection.pictures import draw_picture
from lensweep.scanner.inspection.wide_stamps import FROM_MOSAIC, FROM_WINDOWS, GONE, cut_stamps
from lensweep.scanner.run.paths import RunPaths


@pytest.fixture(scope="module")
def scanned(client, tiny_bundle, tmp_path_factory):
    """A run, its mosaic and its candidates; copied before anything in it is changed."""
    folder = tmp_path_factory.mktemp("stamps")
    mosaic = write_field(folder / "one_f814w_drz.fits", 4)
    run = scan_here(client, tiny_bundle, [mosaic], folder / "run").paths.root
    return run, mosaic, pd.read_parquet(RunPaths(run).candidates)


def stamps(run, candidates, scratch):
    found = sorted(cut_stamps(run, candidates, scratch), key=lambda stamp: stamp.row)
    return np.stack([stamp.flux for stamp in found]), {stamp.source for stamp in found}


def test_stamps_are_cut_again_with_the_candidate_in_the_middle(scanned, tmp_path):
    run, mosaic, candidates = scanned
    flux, sources = stamps(run, candidates, tmp_path)
    assert sources == {FROM_MOSAIC}
    assert flux.shape == (len(candidates), 200, 200)
    pixels = np.where(fits.getdata(mosaic, "WHT") > 0, fits.getdata(mosaic, "SCI"), np.nan)
    padded = np.pad(pixels, 200, constant_values=np.nan)
    for stamp, row in zip(flux, candidates.itertuples(), strict=True):
        # The pixel of the position is the 100th of 200, or the 101st.
        x, y = (int(np.floor(pix - 99 + 1e-3)) for pix in (row.x_pix, row.y_pix))
        np.testing.assert_array_equal(stamp, padded[y + 200 : y + 400, x + 200 : x + 400])


def test_without_its_mosaic_the_stored_windows_give_the_same_pixels(scanned, tmp_path):
    run, mosaic, candidates = scanned
    whole, _ = stamps(run, candidates, tmp_path)
    aside = mosaic.with_suffix(".aside")
    mosaic.rename(aside)
    try:
        pasted, sources = stamps(run, candidates, tmp_path)
    finally:
        aside.rename(mosaic)
    assert sources == {FROM_WINDOWS}
    # A grid's windows overlap: nothing of 10 arcsec is missing within the mosaic.
    np.testing.assert_array_equal(pasted, whole)


def test_a_mosaic_that_has_changed_is_not_cut(scanned, tmp_path):
    run, mosaic, candidates = scanned
    aside = mosaic.with_suffix(".aside")
    mosaic.rename(aside)
    try:
        write_field(mosaic, 5)
        pasted, sources = stamps(run, candidates, tmp_path)
    finally:
        aside.replace(mosaic)
    assert sources == {FROM_WINDOWS}
    np.testing.assert_array_equal(pasted, stamps(run, candidates, tmp_path)[0])


def test_a_truncated_mosaic_is_not_cut(scanned, tmp_path):
    run, mosaic, candidates = scanned
    whole = mosaic.read_bytes()
    try:
        mosaic.write_bytes(whole[: len(whole) // 3])
        assert stamps(run, candidates, tmp_path)[1] == {FROM_WINDOWS}
    finally:
        mosaic.write_bytes(whole)


def test_without_mosaic_and_windows_a_stamp_is_empty(scanned, tmp_path):
    run, mosaic, candidates = scanned
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(RunPaths(copy).all_cutouts)
    # The mosaic alone is enough, if its checksum says that it is the same.
    assert stamps(copy, candidates, tmp_path)[1] == {FROM_MOSAIC}
    aside = mosaic.with_suffix(".aside")
    mosaic.rename(aside)
    try:
        flux, sources = stamps(copy, candidates, tmp_path)
    finally:
        aside.rename(mosaic)
    assert sources == {GONE}
    assert np.isnan(flux).all()


def test_a_compressed_mosaic_is_unpacked_again(client, tiny_bundle, tmp_path):
    plain = write_field(tmp_path / "two_f814w_drz.fits", 6, (300, 300), 20)
    packed = tmp_path / "two_f814w_drz.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), 1))
    plain.unlink()
    run = scan_here(client, tiny_bundle, [packed], tmp_path / "run").paths.root
    candidates = pd.read_parquet(RunPaths(run).candidates)
    scratch = tmp_path / "scratch"
    assert stamps(run, candidates, scratch)[1] == {FROM_MOSAIC}
    assert not RunPaths(run).scratch.exists()
    assert list(scratch.iterdir())


def test_pictures_give_the_pixels_back():
    rng = np.random.default_rng(0)
    flux = rng.normal(0.3, 0.02, (200, 200)).astype(np.float32)
    add_star(flux, 120.0, 60.0, 50.0, 2.0)
    flux[:, :30] = np.nan
    picture = draw_picture(flux)
    codes = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.jpeg))))[::-1]
    holes = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.mask))))[::-1]
    np.testing.assert_array_equal(holes, np.isnan(flux))
    sigmas = 3.0 * np.sinh(picture.low + codes * (picture.high - picture.low) / 255.0)
    truth = (flux - 0.3) / 0.02
    # Faint pixels to a fraction of the noise, bright ones to a few per cent; the hole's edge, where
    # eight pixels of a JPEG lie on both sides, is left out.
    faint = np.abs(truth[:, 40:]) < 3.0
    assert np.abs(sigmas - truth)[:, 40:][faint].mean() < 0.3
    assert sigmas[60, 120] == pytest.approx(truth[60, 120], rel=0.05)


def test_a_picture_without_data_is_all_hole():
    picture = draw_picture(np.full((200, 200), np.nan, np.float32))
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.mask)))).all()


def galaxy(side=200):
    y, x = np.indices((side, side)) - 99.5
    return 2.0 * np.exp(-np.sqrt((x / 12.0) ** 2 + (y / 8.0) ** 2))


@pytest.mark.parametrize(
    ("change", "valid_fraction", "expected"),
    [
        (lambda flux: None, 1.0, []),
        (lambda flux: add_star(flux, 115.0, 90.0, 20.0, 1.3), 1.0, [POINT_LIKE]),
        # Outside of what a lens's images reach.
        (lambda flux: add_star(flux, 180.0, 90.0, 20.0, 1.3), 1.0, []),
        # A pixel that no optics makes: a cosmic ray.
        (lambda flux: flux.__setitem__((130, 115), 8.0), 1.0, []),
        (lambda flux: flux.__setitem__((slice(None), slice(0, 40)), np.nan), 1.0, []),
        (lambda flux: flux.__setitem__((slice(None), slice(0, 60)), np.nan), 0.9, [EDGE]),
        (lambda flux: flux.__setitem__((slice(None), slice(0, 90)), np.nan), 0.6,
         [EDGE, HALF_VALID]),
    ],
)  # fmt: skip
def test_flags(change, valid_fraction, expected):
    flux = galaxy() + np.random.default_rng(1).normal(0.0, 0.02, (200, 200))
    change(flux)
    assert flags_of(flux.astype(np.float32), valid_fraction) == expected
