"""A run in Python: what is read, cut, drawn and made of it."""

import inspect
import io
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from conftest import scan_here, write_field
from matplotlib import pyplot
from PIL import Image

import lensweep
from lensweep.catalogs.schemas import CANDIDATES
from lensweep.ground.errors import InputError
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides


@pytest.fixture(scope="module")
def folder(client, tiny_bundle, tmp_path_factory):
    """A finished run, with its mosaic beside it."""
    folder = tmp_path_factory.mktemp("opened")
    field = write_field(folder / "field_f814w_drz.fits", seed=3)
    scan_here(client, tiny_bundle, [field], folder / "run")
    return folder


@pytest.fixture
def run(folder):
    return lensweep.open(folder / "run")


def test_tables(run):
    assert run.candidates["rank"].tolist() == list(range(1, len(run.candidates) + 1))
    assert list(run.candidates) == CANDIDATES.names
    table = run.table()
    assert (str(table["ra_deg"].unit), len(table)) == ("deg", len(run.candidates))
    assert table.meta["ensemble"] == "tiny-3fold"
    states = run.ledger["state"].value_counts().to_dict()
    assert states == {"scored": 96, "masked": 16}
    assert run.status.finished
    assert run.coverage.sky_fraction > 0.0


def test_cutouts_are_those_of_the_sky(run, folder, recwarn):
    """The pixels about a candidate, where its coordinates say that it is."""
    best = run.candidates.iloc[0]
    data, wcs = run.cutout(rank=1, size_arcsec=3.05)
    assert (data.shape, data.dtype) == ((61, 61), np.float32)
    x, y = wcs.wcs_world2pix([[best["ra_deg"], best["dec_deg"]]], 0)[0]
    assert (x, y) == pytest.approx((30.0, 30.0), abs=0.51)
    mosaic = inspect_mosaic(folder / "field_f814w_drz.fits", HeaderOverrides(), "F814W", "", folder)
    column, row = round(best["x_pix"]), round(best["y_pix"])
    from astropy.io import fits

    with fits.open(mosaic.pixels_path) as hdus:
        sky = hdus["SCI"].data
    there = round(float(y)), round(float(x))
    assert data[there] == pytest.approx(sky[row, column], rel=1e-5)
    assert not recwarn.list


@pytest.mark.parametrize("size_arcsec", [3.0, 7.5, 16.0])
def test_without_its_mosaic_stored_windows_are_taken_and_it_is_said(run, folder, tmp_path,
                                                                    size_arcsec):  # fmt: skip
    whole, _ = run.cutout(rank=1, size_arcsec=size_arcsec)
    mosaic, away = folder / "field_f814w_drz.fits", tmp_path / "away.fits"
    shutil.move(mosaic, away)
    try:
        with pytest.warns(UserWarning, match="put together from stored windows"):
            pasted, _ = run.cutout(rank=1, size_arcsec=size_arcsec)
    finally:
        shutil.move(away, mosaic)
    held = np.isfinite(pasted)
    assert held.sum() > 0.2 * held.size
    np.testing.assert_array_equal(pasted[held], whole[held])


def test_what_is_not_there_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"rank 9999: run .*; its ranks are 1 to \d+"):
        run.cutout(rank=9999)
    with pytest.raises(InputError, match="size_arcsec = 1000"):
        run.cutout(rank=1, size_arcsec=1000)
    with pytest.raises(InputError, match="no run in this folder"):
        lensweep.open(tmp_path)


def test_a_run_that_is_not_finished_is_opened_and_says_so(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "candidates.parquet").unlink()
    run = lensweep.open(tmp_path / "run")
    assert "not finished" in repr(run)
    assert "<img" not in run._repr_html_()
    with pytest.raises(InputError, match="finish its scan first"):
        _ = run.candidates


def test_pictures(run, tmp_path):
    picture = run.sheet(top=9)
    assert Image.open(io.BytesIO(picture._repr_png_())).size == (1597, 86 + 254)
    run.sheet(top=3, out=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size[0] == 1597
    axes = run.plot(rank=1)
    title = axes.get_title()
    assert title.startswith(f"1: {run.candidates['candidate_id'].iloc[0]}")
    assert axes.images[0].get_array().shape == (200, 200, 3)
    axes.figure.savefig(tmp_path / "one.png")
    pyplot.close(axes.figure)
    shown = run._repr_html_()
    assert shown.count("<img") == min(12, len(run.candidates))
    assert run.candidates["candidate_id"].iloc[0] in shown


def test_what_commands_make_of_it(run, tiny_bundle, tmp_path):
    ranked = run.rank("median", str(tiny_bundle))
    assert ranked["aggregate_score"].is_monotonic_decreasing
    assert ranked.attrs["path"].endswith("candidates-median.parquet")
    recall = run.recall()
    assert set(recall.summary["catalogue"]) >= {"CASTLES", "LensFlow"}
    written = run.export("votable", top=3, out=tmp_path / "three.vot")
    from astropy.table import Table

    assert len(Table.read(written)) == 3


def test_runs_in_a_bucket(finished_run, store):
    import s3fs

    s3fs.S3FileSystem().put(f"{finished_run}/", f"{store}/run/", recursive=True)
    run = lensweep.open(f"{store}/run")
    assert run.candidates.equals(lensweep.read_candidates(f"{store}/run"))
    data, _ = run.cutout(rank=1)
    assert np.isfinite(data).any()
    assert len(run.ledger) == 112
    assert "<img" in run._repr_html_()


def test_keywords_of_a_scan():
    parameters = inspect.signature(lensweep.scan).parameters
    assert parameters["stride"].default == ScanConfig.stride
    assert "Pixels between the windows of a grid." in inspect.getdoc(lensweep.scan)
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    with pytest.raises(TypeError, match=r"scan\(\) has no keyword strid; did you mean stride\?"):
        lensweep.scan(["m_drz.fits"], out="run", strid=25)
    with pytest.raises(TypeError, match="no keyword xyz; known are mosaics, out,"):
        lensweep.scan(["m_drz.fits"], out="run", xyz=25)
    assert lensweep.__version__ == version("lensweep")


def test_keywords_are_completed():
    """As a notebook does it."""
    completer = pytest.importorskip("IPython.core.completer")
    found = completer.IPCompleter(namespace={"lensweep": lensweep}, use_jedi=False)
    with completer.provisionalcompleter():
        words = {one.text for one in found.completions("lensweep.scan(a, stri", 21)}
    assert "stride=" in words


GUARDED = 'import lensweep\nif __name__ == "__main__":\n    {call}\n'
BARE = "import lensweep\n{call}\n"
IN_FUNCTION = "import lensweep\ndef main():\n    {call}\nmain()\n"
CALL = "print(lensweep.scan(['field_f814w_drz.fits'], 'run', ensemble='tiny', workers=1).tally)"


@pytest.mark.parametrize(
    ("script", "started"), [(GUARDED, True), (BARE, False), (IN_FUNCTION, False)]
)
def test_a_script_without_a_guard_is_told_so(script, started, folder, estimator_bundle, tmp_path):
    shutil.copytree(estimator_bundle, tmp_path / "tiny")
    shutil.copy(folder / "field_f814w_drz.fits", tmp_path)
    (tmp_path / "mine.py").write_text(script.format(call=CALL))
    ran = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode == 0) == started, ran.stderr
    if not started:
        line = 2 if script == BARE else 4
        assert f"mine.py, line {line}: starts processes, which import this script" in ran.stderr
        assert '`if __name__ == "__main__":`' in ran.stderr
        assert not (tmp_path / "run" / "candidates.parquet").exists()
