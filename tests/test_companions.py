import gzip

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from conftest import write_field
from drizzled_files import sky_cards, write_hla

from lensweep.commands.show import show_plan
from lensweep.ground.errors import InputError
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.plan import read_plan
from lensweep.scanner.sky.mosaics import CompanionError, MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import read_region

SHAPE = (40, 60)


def noise(shape=SHAPE):
    return np.random.default_rng(814).normal(0.1, 0.01, shape).astype(np.float32)


def half_weight(shape=SHAPE):
    weight = np.full(shape, 2028.0, np.float32)
    weight[:, : shape[1] // 2] = 0.0
    return weight


def write_plane(path, data, **cards):
    """One image in the primary header, as AstroDrizzle writes it with build=False."""
    header = sky_cards(data.shape)
    header.update({"FILTER1": "CLEAR1L", "FILTER2": "F814W", "BUNIT": "ELECTRONS/S"} | cards)
    fits.PrimaryHDU(data, header=header).writeto(path)
    return path


def inspect(path, **options):
    return inspect_mosaic(
        path, HeaderOverrides(), "F814W", "ens", path.parent / "scratch", **options
    )


@pytest.mark.parametrize(
    ("name", "cards", "message"),
    [
        ("a_drz_wht.fits", {"FILETYPE": "WHT"}, "a weight map, and no image: not scanned"),
        ("a.fits", {"FILETYPE": "WHT"}, "a weight map, and"),
        ("a.fits", {"EXTNAME": "WHT"}, "a weight map, and"),
        ("a.fits", {"EXTNAME": "CTX"}, "a context map, and"),
        ("a_drz_ctx.fits", {}, "a context map, by its name, and"),
        ("a_wht.fits", {"FILETYPE": "SCI"}, "a weight map, by its name"),  # the template's FILETYPE
        ("A_WHT.FITS", {}, "a weight map, by its name"),
        ("acs_I_100006_unrot_wht_20.fits", {}, "a weight map, by its name"),  # COSMOS
        ("hlsp_a2744_f814w_v1.0_rms.fits", {}, "a map of RMS, by its name"),
        ("a_wht.fits.gz", {}, "a weight map, by its name"),
    ],
)
def test_maps_are_no_images(tmp_path, name, cards, message):
    path = write_plane(tmp_path / name.removesuffix(".gz"), half_weight(), **cards)
    if name.endswith(".gz"):
        path = path.with_name(name)
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    with pytest.raises(CompanionError, match=message):
        inspect(path)


@pytest.mark.parametrize("name", ["a_sci.fits", "weight_of_light_drz.fits", "wht.fits"])
def test_images_are_images(tmp_path, name):
    path = write_plane(tmp_path / name, noise(), FILETYPE="SCI")
    assert inspect(path).name == path.stem


def test_an_image_with_its_weight_is_one_whatever_its_name(tmp_path):
    path = write_hla(tmp_path / "m_sci_wht.fits", noise(), half_weight())
    assert inspect(path).wht_index == 2


@pytest.mark.parametrize(
    ("image", "weight"),
    [
        ("a_sci.fits", "a_wht.fits"),
        ("a_drz.fits", "a_wht.fits"),  # CANDELS, CLASH, Frontier Fields
        ("a_drz.fits", "a_drz_wht.fits"),
        ("a_drc_sci.fits", "a_drc_wht.fits"),  # AstroDrizzle
        ("acs_I_unrot_sci_20.fits", "acs_I_unrot_wht_20.fits"),  # COSMOS
        ("A_SCI.fits", "A_WHT.fits"),
        ("a.fits", "a_wht.fits"),
        ("a_sci.fits", "a_wht.fits.gz"),
    ],
)
def test_a_weight_beside_its_image_is_used(tmp_path, image, weight):
    path = write_plane(tmp_path / image, noise())
    beside = write_plane(tmp_path / weight.removesuffix(".gz"), half_weight())
    if weight.endswith(".gz"):
        beside.with_name(weight).write_bytes(gzip.compress(beside.read_bytes()))
        beside.unlink()
    mosaic = inspect(path)
    assert mosaic.notes == (f"without weight in it: {weight} is its weight",)
    flux = read_region(mosaic, slice(0, 40), slice(0, 60))
    assert np.isnan(flux[:, :30]).all()
    np.testing.assert_array_equal(flux[:, 30:], noise()[:, 30:])


def test_a_weight_in_another_folder_is_used_when_it_is_given(tmp_path):
    (tmp_path / "weights").mkdir()
    path = write_plane(tmp_path / "a_sci.fits", noise())
    weight = write_plane(tmp_path / "weights" / "a_wht.fits", half_weight())
    assert inspect(path).wht_path is None
    assert inspect(path, given=[str(path), str(weight)]).wht_path == str(weight)


def test_a_weight_within_wins(tmp_path):
    path = write_hla(tmp_path / "a_drz.fits", noise(), np.ones(SHAPE, np.float32))
    write_plane(tmp_path / "a_wht.fits", half_weight())
    mosaic = inspect(path)
    assert (mosaic.wht_index, mosaic.wht_path, mosaic.notes) == (2, None, ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (half_weight((40, 61)), r"its weight map a_wht\.fits: images of shape \[\(40, 61\)\], but"),
        (None, r"its weight map a_wht\.fits: .*truncated"),
    ],
)
def test_a_weight_that_does_not_fit_is_refused(tmp_path, data, message):
    path = write_plane(tmp_path / "a_sci.fits", noise())
    weight = write_plane(tmp_path / "a_wht.fits", half_weight() if data is None else data)
    if data is None:
        weight.write_bytes(weight.read_bytes()[:-6000])
    with pytest.raises(MosaicError, match=rf"^mosaic a_sci\.fits: {message}"):
        inspect(path)


@pytest.fixture
def separate(tmp_path):
    """A field as `_sci.fits`, `_wht.fits` and `_ctx.fits`."""
    whole = write_field(tmp_path / "whole.fits", seed=3, shape=(220, 320))
    with fits.open(whole) as hdus:
        flux, weight = hdus["SCI"].data, hdus["WHT"].data
    # A value where there is no weight: without its map it would be scanned.
    flux = np.where(weight > 0, flux, np.float32(0.5))
    return [write_plane(tmp_path / f"f_{kind}.fits", data) for kind, data in
            (("sci", flux), ("wht", weight), ("ctx", np.ones_like(weight)))]  # fmt: skip


def test_one_glob_is_one_mosaic(scan, separate, tmp_path):
    together = scan(separate, tmp_path / "together")
    assert together.exit_status == 0
    ledger = pd.read_parquet(together.paths.ledger)
    assert set(ledger["mosaic"]) == {"f_sci"}
    masked = ledger["state"] == "masked"
    np.testing.assert_array_equal(masked, ledger["x0"] < 100)
    assert "f_wht.fits is its weight" in read_plan(together.paths.root, "f_sci").mosaic.notes[0]
    alone = scan(separate[:1], tmp_path / "alone")
    pd.testing.assert_frame_equal(ledger, pd.read_parquet(alone.paths.ledger))
    # Repeated, it is finished and stays so.
    assert scan(separate, tmp_path / "together").exit_status == 0


def test_a_weight_that_goes_is_no_silent_change(scan, separate, tmp_path):
    scan(separate[:1], tmp_path / "run")
    separate[1].unlink()
    with pytest.raises(InputError, match="is read otherwise since this run began"):
        scan(separate[:1], tmp_path / "run")


def test_maps_alone_are_refused(scan, separate, tmp_path):
    with pytest.raises(InputError, match=r"(?s)f_wht\.fits: a weight map.*f_ctx\.fits: a context"):
        scan(separate[1:], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_plan_says_what_is_passed_over(separate, tmp_path, tiny_bundle, capsys):
    config = ScanConfig(tuple(map(str, separate)), str(tmp_path / "run"), str(tiny_bundle))
    assert show_plan(config) == 0
    shown = capsys.readouterr().out
    assert "f_ctx.fits: a context map" in shown
    assert "f_wht.fits is its weight" in shown
