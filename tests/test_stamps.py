import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from conftest import write_field
from drizzled_files import add_star, write_hla

import lensweep
from lensweep.catalogs.schemas import SCORES
from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble


@pytest.fixture
def stamps(tmp_path):
    """Two good stamps, and between them one for each way of being unfit."""
    for number in range(2):
        flux = np.random.default_rng(number).normal(0.0, 0.01, (100, 100)).astype(np.float32)
        add_star(flux, 49.5, 49.5, 10.0 + number, 3.0)
        write_hla(tmp_path / f"good{number}.fits", flux)
    hollow = np.random.default_rng(5).normal(0.0, 0.01, (300, 300)).astype(np.float32)
    hollow[80:220, 80:220] = np.nan
    write_hla(tmp_path / "hollow.fits", hollow)
    (tmp_path / "text.fits").write_text("not an image")
    write_field(tmp_path / "cps.fits", 1, (120, 120), 0, sci_cards={"BUNIT": "counts/s"})
    names = ("good0", "text", "missing", "hollow", "cps", "good1")
    return [tmp_path / f"{name}.fits" for name in names]


def test_a_row_per_image_in_order(stamps, tiny_bundle):
    table = lensweep.score(stamps, str(tiny_bundle))
    assert list(table.columns) == SCORES.names
    assert table["file"].tolist() == [str(path) for path in stamps]
    assert table["p_mean"].notna().tolist() == [True, False, False, False, False, True]
    assert (table["message"].isna() == table["p_mean"].notna()).all()
    for row, words in ((1, "neither FITS"), (2, "no such file"), (3, "no data at its centre"),
                       (4, "--units electrons/s or")):  # fmt: skip
        assert words in table["message"][row]


def test_scores_are_those_of_the_pixels(stamps, tiny_bundle):
    table = lensweep.score([stamps[-1]], str(tiny_bundle))
    logits = Ensemble(check_bundle(str(tiny_bundle))).logits(fits.getdata(stamps[-1], 1)[None])
    assert table["logit_mean"][0] == pytest.approx(logits.mean(), abs=1e-4)
    assert table["n_members"][0] == 3
    assert table["screen_logit"].isna().all()


def test_sky_coordinates_are_not_needed(tmp_path, tiny_bundle):
    flux = np.random.default_rng(0).normal(0.0, 0.01, (100, 100)).astype(np.float32)
    path = write_hla(tmp_path / "plain.fits", flux, sky=fits.Header())
    silent = lensweep.score([path], str(tiny_bundle))
    assert "--pixel-scale" in silent["message"][0]
    stated = lensweep.score([path], str(tiny_bundle), pixel_scale_arcsec=0.05)
    assert stated["valid_fraction"][0] == 1.0


def test_the_file_holds_the_table(stamps, tiny_bundle, tmp_path):
    out = tmp_path / "scores.parquet"
    lensweep.score(stamps, str(tiny_bundle), out=out)
    table = pq.read_table(out)
    assert table.schema.remove_metadata().equals(SCORES.remove_metadata())
    assert len(table) == len(stamps)
    assert table.schema.metadata[b"lensweep.ensemble"] == b"tiny-3fold"


@pytest.mark.parametrize("out", ["nowhere/scores.parquet", "."])
def test_a_file_that_cannot_be_written_is_refused_first(tmp_path, out):
    # Before the ensemble is looked for: there is none of that name.
    with pytest.raises(InputError, match="output file"):
        lensweep.score(["a.fits"], "no-such-ensemble", out=tmp_path / out)


def test_no_images(tiny_bundle):
    with pytest.raises(InputError, match="no images"):
        lensweep.score([], str(tiny_bundle))
