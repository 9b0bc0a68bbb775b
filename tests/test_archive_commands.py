"""`lensweep find` and `lensweep fetch`, as they are typed."""

import shlex

import numpy as np
import pytest
from archive_on_loopback import File, archive_on_loopback, status
from astropy.table import Table
from drizzled_files import write_hla
from typer.testing import CliRunner

from lensweep.catalogs.coverage import area_deg2, read_coverage
from lensweep.commands.app import app
from lensweep.ground.errors import InputError
from lensweep.scanner.archive import services
from lensweep.scanner.archive.products import read_products
from lensweep.scanner.archive.services import ServiceError
from lensweep.scanner.sky.origins import read_origin

RA, DEC = 150.1163213, 2.2009731
SVM = "hst_10092_01_acs_wfc_f814w_j8pu01_drc.fits"
HLA_VISIT = "hst_10092_01_acs_wfc_f814w_drz.fits"
HERE = f"--ra {RA} --dec {DEC} --radius 0.5arcmin"


@pytest.fixture
def archive(monkeypatch, tmp_path):
    monkeypatch.setenv("LENSWEEP_CONFIG", str(tmp_path / "config"))
    with archive_on_loopback(monkeypatch, tmp_path) as served:
        content = small_file(tmp_path)
        served.mast.append(File(SVM, RA, DEC, content=content))
        served.hla.append(File(HLA_VISIT, RA, DEC, content=content))
        yield served


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Between tries, tests wait a fiftieth of what users do."""
    monkeypatch.setattr(services, "_FIRST_WAIT_S", 0.01)


def small_file(folder):
    flux = np.random.default_rng(2).normal(size=(120, 130)).astype(np.float32)
    return write_hla(folder / "small.fits", flux, np.ones_like(flux)).read_bytes()


def run(words):
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, shlex.split(words))


def test_find_shows_and_writes(archive, tmp_path):
    done = run(f"find {HERE} --out {tmp_path}/found.ecsv")
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if SVM in line)
    for word in ("HAP-SVM visit", "ACS/WFC", "2,028 s", "2003-12-27", "10092"):
        assert word in row
    assert "1 image, 0.2 MB; 1 more show what these show (--all lists them)" in done.stdout
    assert "they cover 100.0 % of the 0.000226 square degrees asked for" in done.stdout
    assert [product.name for product in read_products(tmp_path / "found.ecsv")] == [SVM]
    assert Table.read(tmp_path / "found.ecsv").meta["asked"] == "RA 150.116, Dec 2.20097"
    coverage, _ = read_coverage(tmp_path / "found.moc.fits")
    assert area_deg2(coverage) == pytest.approx(np.pi / 120**2, rel=0.1)


def test_find_says_what_did_not_answer(archive):
    archive.faults["hlaSIAP"].append(status(404))
    done = run(f"find {HERE}")
    assert done.exit_code == 3
    assert "what only HLA has is not listed" in done.stdout


def test_find_among_a_catalogues_positions(archive, tmp_path):
    (tmp_path / "mine.csv").write_text(f"ra_deg,dec_deg\n{RA},{DEC}\n20.0,30.0\n")
    done = run(f"find --catalog {tmp_path}/mine.csv --radius 10arcsec")
    assert "1 of 2 positions" in done.stdout


def test_nothing_there(archive, tmp_path):
    done = run("find --ra 10 --dec 10")
    assert (done.exit_code, "0 images" in done.stdout) == (0, True)
    done = run(f"fetch --ra 10 --dec 10 --out {tmp_path}/nowhere")
    assert isinstance(done.exception, InputError)
    assert "nothing to fetch" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("find", "say one piece of sky.* 0 were given"),
        ("find --ra 1 --dec 2 --name M31", "2 were given"),
        ("find --ra 1", "--ra and --dec go together"),
        ("find --ra 1 --dec 95", "Dec 95.0, outside -90 to 90"),
        ("find --ra 1 --dec 2 --radius 5", "no angle"),
        ("find --ra 1 --dec 2 --camera ACS", "camera ACS: must be of ACS/WFC"),
        ("find --ra 1 --dec 2 --out x.txt", "unknown ending"),
        ("find --catalog no_such.csv", "no such file"),
        ("find --moc no_such.fits", "no such file"),
        ("fetch --ra 1 --dec 2", "give --out MIRROR"),
        ("fetch no_such.ecsv --out mirror", "no such table"),
        ("fetch found.ecsv --ra 1 --dec 2 --out mirror", "leave out --ra, --dec"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anybody_is_asked(archive, words, message):
    done = run(words)
    assert isinstance(done.exception, InputError), done.output
    with pytest.raises(InputError, match=message):
        raise done.exception
    assert archive.asked == []


def test_fetch_what_was_found(archive, tmp_path):
    run(f"find {HERE} --all --out {tmp_path}/found.parquet")
    done = run(f"fetch {tmp_path}/found.parquet --out {tmp_path}/mirror --cite")
    assert done.exit_code == 0, done.output
    assert "2 files in" in done.stdout and "2 new, 0 were here" in done.stdout
    assert "obtained from the Hubble Legacy Archive" in done.stdout
    assert "Hubble programmes: 10092" in done.stdout
    for name, host in ((SVM, "mast"), (HLA_VISIT, "hla")):
        assert (tmp_path / "mirror" / name).read_bytes() == archive.mast[0].content
        assert read_origin(tmp_path / "mirror" / name).address.startswith(f"https://{host}.stsci")
    again = run(f"fetch {tmp_path}/found.parquet --out {tmp_path}/mirror")
    assert "0 new, 2 were here" in again.stdout
    assert "next: lensweep scan" in again.stdout


def test_fetch_a_piece_of_sky(archive, tmp_path):
    done = run(f"fetch {HERE} --out {tmp_path}/mirror")
    assert done.exit_code == 0, done.output
    assert [product.name for product in read_products(tmp_path / "mirror/found.ecsv")] == [SVM]
    assert sorted(path.name for path in (tmp_path / "mirror").glob("[!.]*")) == sorted(
        [SVM, f"{SVM}.origin.json", "found.ecsv", "found.moc.fits"]
    )


def test_fetch_says_what_it_could_not(archive, tmp_path):
    archive.faults["getdata"].append(status(404))
    done = run(f"fetch {HERE} --all --out {tmp_path}/mirror")
    assert done.exit_code == 3
    assert f"not fetched: {HLA_VISIT}" in done.stdout
    archive.faults["getdata"].append(status(404))
    (tmp_path / "mirror" / SVM).unlink()
    archive.faults["Download"] += [status(503, **{"Retry-After": "0"})] * 9
    done = run(f"fetch {HERE} --all --out {tmp_path}/mirror")
    assert isinstance(done.exception, ServiceError)
