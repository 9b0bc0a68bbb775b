"""Cutouts from the services that cut, up to the table of grades."""

import io
import shlex

import numpy as np
import pandas as pd
import pytest
from archive_on_loopback import File, archive_on_loopback, html, status
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from drizzled_files import sky_cards
from typer.testing import CliRunner

from lensweep.catalogs.known_lenses import lensflow92
from lensweep.commands.app import app
from lensweep.ground.errors import InputError
from lensweep.scanner.archive import services
from lensweep.scanner.archive.services import ServiceError
from lensweep.scanner.run import cutout_store
from lensweep.scanner.sky.origins import read_origin

SKYCELL = "hst_cutout_skycell-p0081x14y15-ra150d1163-decn2d2010_wfc_f814w.fits"
VISIT = "hst_10092_01_acs_wfc_f814w_drz.fits"


@pytest.fixture
def archive(monkeypatch, tmp_path):
    monkeypatch.setenv("LENSWEEP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("LENSWEEP_ARCHIVE_REQUESTS_PER_S", "100")
    monkeypatch.setenv("LENSWEEP_ARCHIVE_TRIES", "2")
    monkeypatch.setattr(services, "_FIRST_WAIT_S", 0.01)
    with archive_on_loopback(monkeypatch, tmp_path) as served:
        yield served


def cutout(ra, dec, scale=0.04, rotation=1.5, side=190, blank=0, cards=(), offset_px=7.3):
    """A cutout about a position as the services give it, with a star on the very position."""
    rng = np.random.default_rng(1)
    # The pixel grid is that of a mosaic, and its middle beside the position.
    header = sky_cards((side, side), scale, rotation, crval=(ra, dec))
    header["CRPIX1"] += offset_px
    x, y = WCS(header).world_to_pixel(SkyCoord(ra, dec, unit="deg"))
    rows, cols = np.indices((side, side))
    flux = rng.normal(0.0, 0.01, (side, side))
    flux += 5.0 * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / 2 / 2.0**2)
    weight = np.full((side, side), 2028.0, np.float32)
    weight[:, : round(blank * side)] = 0.0
    header.update(dict(cards))
    sci = fits.ImageHDU(flux.astype(np.float32), header, name="SCI")
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), sci, fits.ImageHDU(weight, name="WHT")]).writeto(written)
    return written.getvalue()


def run(words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, shlex.split(words))


def table(tmp_path, *positions):
    path = tmp_path / "mine.csv"
    rows = [f"{name},{ra},{dec}" for name, ra, dec in positions]
    path.write_text("\n".join(["name,ra_deg,dec_deg", *rows]) + "\n")
    return path


def fetch(tmp_path, *positions, more=""):
    listed = table(tmp_path, *positions)
    return run(f"fetch --cutouts --catalog {listed} --out {tmp_path}/cutouts {more}")


def test_cutouts_lie_on_the_scanning_grid(archive, tmp_path):
    archive.hapcut = lambda said: {
        SKYCELL: cutout(said["ra"], said["dec"], cards={"BUNIT": "ELECTRONS/S"}),
        # One exposure, another filter, another camera: not taken.
        SKYCELL.replace(".fits", "-jbp505jg.fits"): b"no FITS",
        SKYCELL.replace("f814w", "f606w"): b"no FITS",
        SKYCELL.replace("_wfc_", "_uvis_"): b"no FITS",
    }  # fmt: skip
    archive.hapcut = _only(archive.hapcut)
    done = fetch(tmp_path, ("a", 150.1, 2.2), ("b", 150.13, 2.21), ("far", 10.0, -60.0))
    assert done.exit_code == 0, done.output
    assert "3 of 3 positions have a cutout: 3 by Hapcut" in done.stdout
    rows = pd.read_csv(tmp_path / "cutouts" / "positions.csv")
    assert rows["name"].tolist() == ["a", "b", "far"]
    assert rows["store"].nunique() == 2
    assert (rows["valid_fraction"] == 1.0).all()
    for store in rows["store"].unique():
        attributes, n = cutout_store.read_attributes(tmp_path / "cutouts" / store)
        assert (attributes.band, attributes.pixel_scale_arcsec) == ("F814W", 0.05)
        cutouts, _ = cutout_store.read_written(tmp_path / "cutouts" / store, 0, n)
        wcs = WCS(fits.Header.fromstring(attributes.grid_wcs, sep="\n"))
        for window in range(n):
            # The star is where its position is, on the grid and in the window, to a tenth.
            peak = np.unravel_index(np.nanargmax(cutouts.flux[window]), (100, 100))
            assert np.hypot(peak[0] - 49.5, peak[1] - 49.5) < 1.5
            named = rows[rows["store"] == store]
            sky = SkyCoord(named["ra_deg"], named["dec_deg"], unit="deg")
            x, y = wcs.world_to_pixel(sky)
            inside = np.hypot(x - cutouts.x_pix[window], y - cutouts.y_pix[window]) < 1.0
            assert inside.sum() == 1
    origin = read_origin(next((tmp_path / "cutouts" / "fits").glob("150.10000*.fits")))
    assert (origin.collection, origin.name) == ("Hapcut", SKYCELL)


def _only(answer):
    """Leave out what astroquery could not open."""
    return lambda said: {
        name: cutout(said["ra"], said["dec"], blank=1.0) if content == b"no FITS" else content
        for name, content in answer(said).items()
    }


def test_a_second_call_asks_for_what_is_missing_only(archive, tmp_path):
    archive.hapcut = lambda said: {SKYCELL: cutout(said["ra"], said["dec"])} if (
        said["ra"] < 150.11) else {}  # fmt: skip
    done = fetch(tmp_path, ("a", 150.1, 2.2), ("b", 150.13, 2.21))
    assert done.exit_code == 3
    assert "1 of 2 positions have a cutout" in done.stdout
    assert "none: b (150.13000, 2.21000): Hapcut: nothing there; fitscut: nothing there" in (
        done.stdout
    )
    archive.hapcut = lambda said: {SKYCELL: cutout(said["ra"], said["dec"])}
    asked = len(archive.requests("hapcut"))
    done = fetch(tmp_path, ("a", 150.1, 2.2), ("b", 150.13, 2.21))
    assert done.exit_code == 0
    assert len(archive.requests("hapcut")) == asked + 1
    # Without BUNIT and FILTER, as the header of a cutout may be.
    assert pd.read_csv(tmp_path / "cutouts/positions.csv")["store"].nunique() == 1


def test_hla_has_what_hapcut_has_not(archive, tmp_path):
    archive.hla += [
        File(VISIT, 150.1, 2.2, exposure_s=500.0),
        File(VISIT.replace("_01_", "_02_"), 150.1, 2.2, exposure_s=2000.0),
    ]
    asked = []

    def answer(query):
        asked.append((query["red"], query["size"], query["format"]))
        blank = 1.0 if "_02_" in query["red"] else 0.0
        return cutout(float(query["ra"]), float(query["dec"]), 0.05, 0.0, 150, blank)

    archive.fitscut = answer
    done = fetch(tmp_path, ("a", 150.1, 2.2), more="--cite")
    assert done.exit_code == 0, done.output
    # The deeper one first, which has nothing there.
    assert [name for name, _, _ in asked] == [
        "hst_10092_02_acs_wfc_f814w_drz", "hst_10092_01_acs_wfc_f814w_drz",
    ]  # fmt: skip
    assert "1 by fitscut" in done.stdout
    assert "obtained from the Hubble Legacy Archive" in done.stdout
    assert pd.read_csv(tmp_path / "cutouts/positions.csv")["file"][0] == VISIT


def test_the_fullest_of_several_skycells_is_taken(archive, tmp_path):
    archive.hapcut = lambda said: {
        SKYCELL: cutout(said["ra"], said["dec"], blank=0.6),
        SKYCELL.replace("x14", "x15"): cutout(said["ra"], said["dec"], blank=0.1),
    }
    fetch(tmp_path, ("a", 150.1, 2.2))
    row = pd.read_csv(tmp_path / "cutouts/positions.csv").iloc[0]
    assert "x15" in row["file"]
    assert row["valid_fraction"] > 0.9


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(404), "Hapcut: HTTPError: 404"),
        (status(500), "Hapcut: InvalidQueryError"),
        (html, "Hapcut: "),
    ],
)
def test_a_silent_service_is_told_of(archive, tmp_path, fault, message):
    archive.faults["hapcut"] += [fault] * 4
    done = fetch(tmp_path, ("a", 150.1, 2.2))
    assert isinstance(done.exception, ServiceError)
    assert message in str(done.exception)


def test_what_cutouts_go_with(archive, tmp_path):
    for words in ("found.ecsv", "--moc m.fits", "--catalog castles --camera WFPC2"):
        done = run(f"fetch --cutouts {words} --out {tmp_path}/x")
        assert isinstance(done.exception, InputError)
        assert "--cutouts goes with" in str(done.exception)


def test_grades_are_two_commands(archive, tiny_bundle, monkeypatch, tmp_path):
    # One service less to ask for each of 80.
    monkeypatch.setenv("LENSWEEP_ARCHIVE_HLA", "")
    lenses = lensflow92()
    # A service that has the first dozen.
    there = lenses["ra_deg"].to_numpy()[:12]
    archive.hapcut = lambda said: (
        {SKYCELL: cutout(said["ra"], said["dec"])}
        if np.isclose(there, said["ra"], 0.0, 1e-6).any()
        else {}
    )
    done = run(f"fetch --cutouts --catalog lensflow --out {tmp_path}/cutouts")
    assert done.exit_code == 3
    assert "12 of 92 positions have a cutout" in done.stdout
    # The second one is printed by the first.
    printed = next(line for line in done.stdout.splitlines() if line.startswith("next: "))
    words = printed.removeprefix("next: lensweep ").replace("GRADES", f"{tmp_path}/grades")
    done = run(f"{words} --ensemble {tiny_bundle}")
    assert done.exit_code == 0, done.output
    graded = pd.read_parquet(tmp_path / "grades" / "graded.parquet")
    assert graded["covered"].sum() == 12
    assert graded.loc[graded["covered"], "p_ensemble"].notna().all()
