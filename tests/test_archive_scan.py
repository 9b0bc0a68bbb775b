"""Scans of mosaics at addresses: by section, or fetched first; and of what `find` wrote."""

import dataclasses
import io
import json
import shlex
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from archive_on_loopback import File, archive_on_loopback, stall_after, status
from conftest import write_field
from distributed import Client
from drizzled_files import CRVAL, write_hla
from typer.testing import CliRunner

from lensweep.commands.app import app
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.archive import services
from lensweep.scanner.archive.addresses import bring, product_of, way_to_read, with_addresses
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.opening import open_run
from lensweep.scanner.run.plan import plan_mosaic, read_plan
from lensweep.scanner.sky import remote
from lensweep.scanner.sky.mosaics import MosaicError, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import read_region
from lensweep.scanner.work.scan import run_scan
from lensweep.scanner.work.tasks import plan_unless_lost

NAME = "hst_10092_01_acs_wfc_f814w_j8pu01_drc.fits"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Between tries, tests wait a fiftieth of what users do."""
    monkeypatch.setattr(services, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("field") / NAME
    return write_field(path, seed=3, shape=(240, 330), blank_columns=50)


@pytest.fixture
def archive(monkeypatch, tmp_path, file):
    monkeypatch.setenv("LENSWEEP_CONFIG", str(tmp_path / "config"))
    with archive_on_loopback(monkeypatch, tmp_path) as served:
        served.files[f"/{NAME}"] = file.read_bytes()
        yield served


@pytest.fixture
def scan_told(client, tiny_bundle):
    """A scan and what it said: ``scan_told(mosaics, out, **options)``."""

    def run(mosaics, out, **options):
        few = {"windows_per_shard": 32, "merge_radius_arcsec": 10.0, "screen": "off"}
        options = few | {"ensemble": str(tiny_bundle)} | options
        config = ScanConfig(with_addresses([str(one) for one in mosaics]), str(out), **options)
        told = io.StringIO()
        bundle, paths = open_run(config)
        outcome = run_scan(config, bundle, paths, client, PlainProgress(told, time.monotonic))
        return outcome, told.getvalue()

    return run


def candidates(outcome):
    return pd.read_parquet(outcome.paths.candidates)


def origins(outcome):
    metadata = pq.read_schema(outcome.paths.candidates).metadata
    return json.loads(metadata[b"lensweep.origins"])


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A mosaic of which two windows are a fraction."""
    flux = np.random.default_rng(4).normal(0.0, 0.01, (2400, 400)).astype(np.float32)
    path = tmp_path_factory.mktemp("tall") / "tall_f814w_drz.fits"
    return write_hla(path, flux, np.ones_like(flux)).read_bytes()


@pytest.fixture
def tall_archive(archive, tall):
    archive.files["/tall_f814w_drz.fits"] = tall
    return archive


def test_a_grid_is_fetched_and_it_is_said_why(archive, scan_told, file, tmp_path):
    outcome, told = scan_told([f"{archive.address}/{NAME}"], tmp_path / "run")
    assert outcome.exit_status == 0
    assert f"{NAME}: fetched (1 MB), since every pixel of it is looked at" in told
    expected, _ = scan_told([file], tmp_path / "expected")
    pd.testing.assert_frame_equal(candidates(outcome), candidates(expected))
    # Where it came from ends in the catalogue, though the file itself is gone with the run's work.
    (origin,) = origins(outcome)
    assert origin["address"] == f"{archive.address}/{NAME}"
    assert origin["sha256"] == read_plan(outcome.paths.root, NAME[:-5]).mosaic.sha256
    assert (origin["collection"], origin["programme"]) == ("HAP-SVM", "10092")
    assert not outcome.paths.scratch.exists()
    assert origins(expected) == []


def test_a_few_windows_are_read_by_section(tall_archive, scan_told, tmp_path):
    address = f"{tall_archive.address}/tall_f814w_drz.fits"
    outcome, told = scan_told([address], tmp_path / "run", centres=positions(tmp_path, 2))
    assert outcome.exit_status == 0
    assert "tall_f814w_drz: read by section: 2 windows take at most 12 % of its 12 MB" in told
    assert outcome.tally.scored == 2
    (origin,) = origins(outcome)
    assert (origin["address"], origin["sha256"]) == (address, "")
    sent = sum(_length(headers.get("Range")) for _, _, headers in tall_archive.requests("tall"))
    assert sent < len(tall_archive.files["/tall_f814w_drz.fits"]) / 2


def _length(asked):
    if not asked:
        return 0
    first, last = asked.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


def positions(folder, n):
    """A table of n positions, from the middle of the tall field down."""
    path = folder / "positions.csv"
    rows = [f"{CRVAL[0]},{CRVAL[1] - 40 * row * 0.05 / 3600}" for row in range(n)]
    path.write_text("\n".join(["ra_deg,dec_deg", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("n", "options", "why"),
    [
        (2, {}, None),
        # As many rows as half the file has.
        (20, {}, "since its windows would take about as much, or its server gives whole files"),
        (2, {"ranges": False}, "or its server gives whole files only"),
        (2, {"mirror": True}, "as --mirror asks"),
        (0, {}, "since every pixel of it is looked at"),
    ],
)
def test_which_way_is_cheaper(tall_archive, tiny_bundle, tmp_path, n, options, why):
    tall_archive.ranges = options.get("ranges", True)
    address = f"{tall_archive.address}/tall_f814w_drz.fits"
    config = ScanConfig(
        (address,), str(tmp_path / "run"), centres=positions(tmp_path, n) if n else "grid",
        mirror=str(tmp_path / "mirror") if "mirror" in options else None,
    )  # fmt: skip
    section = way_to_read(address, config, "F814W", config.out)
    assert (section is None) == (why is not None)
    if why is not None:
        reading = bring(address, config, config.out)
        assert why in reading.why
        assert Path(reading.path).read_bytes() == tall_archive.files["/tall_f814w_drz.fits"]


def test_a_mirror_is_kept_and_used_again(archive, scan_told, tmp_path):
    address = f"{archive.address}/{NAME}"
    outcome, told = scan_told([address], tmp_path / "run", mirror=str(tmp_path / "mirror"))
    assert "as --mirror asks" in told
    assert (len(origins(outcome)), outcome.exit_status) == (1, 0)
    asked = len(archive.asked)
    config = ScanConfig((address,), str(tmp_path / "again"), mirror=str(tmp_path / "mirror"))
    assert bring(address, config, config.out).path == str(tmp_path / "mirror" / NAME)
    assert len(archive.asked) == asked


def test_a_fetched_file_that_was_changed_is_told_of(archive, tmp_path):
    config = ScanConfig((f"{archive.address}/{NAME}",), str(tmp_path / "run"))
    path = Path(bring(config.mosaics[0], config, config.out).path)
    changed = bytearray(path.read_bytes())
    changed[-100_000] ^= 1
    path.write_bytes(changed)
    with pytest.raises(MosaicError, match=r"but it was fetched with .*; fetch it again"):
        plan_mosaic(str(path), config, "F814W", config.out)


def test_a_cluster_fetches_few_at_a_time(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("LENSWEEP_ARCHIVE_CONNECTIONS", "2")
    addresses = []
    for number in range(6):
        name = f"field{number}_f814w_drz.fits"
        archive.files[f"/{name}"] = archive.files[f"/{NAME}"]
        archive.faults[f"/{name}"].append(stall_after(100_000, 0.3))
        addresses.append(f"{archive.address}/{name}")
    config = ScanConfig(tuple(addresses), str(tmp_path / "run"))
    with Client(
        processes=False, n_workers=4, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as several:
        planned = several.gather([
            several.submit(plan_unless_lost, address, config, "F814W", config.out, pure=False)
            for address in addresses
        ])  # fmt: skip
    assert [plan.n_windows for plan, _ in planned] == [24] * 6
    # Four workers, and never more than two at it, nor fewer where there is work for two.
    assert archive.most_at_once == 2


def test_what_does_not_come_now_may_come_later(archive, scan_told, tmp_path):
    address = f"{archive.address}/{NAME}"
    archive.faults[NAME] += [status(503, **{"Retry-After": "0"})] * 50
    with pytest.raises(TryAgainError, match="answers 503"):
        scan_told([address], tmp_path / "run")
    archive.faults.clear()
    outcome, _ = scan_told([address], tmp_path / "run")
    assert outcome.exit_status == 0


def test_one_of_two_that_is_not_there(archive, scan_told, tmp_path):
    outcome, _ = scan_told(
        [f"{archive.address}/{NAME}", f"{archive.address}/gone_drz.fits"], tmp_path / "run"
    )
    assert outcome.exit_status == 3
    assert "answers 404" in outcome.failed_mosaics["gone_drz"]


def test_an_address_without_a_name_of_a_file(archive, scan_told, tmp_path):
    with pytest.raises(InputError, match="no plain file name"):
        scan_told([f"{archive.address}/"], tmp_path / "run")


def test_a_run_in_a_bucket_needs_a_mirror(archive, tmp_path):
    config = ScanConfig((f"{archive.address}/{NAME}",), "memory://run")
    with pytest.raises(InputError, match="name --mirror FOLDER"):
        bring(config.mosaics[0], config, "memory://run")


# Sections.


def inspect(path, tmp_path):
    return inspect_mosaic(path, HeaderOverrides(), "F814W", "tiny", tmp_path)


def test_a_mosaic_at_an_address_is_the_mosaic_here(archive, file, tmp_path):
    there = inspect(f"{archive.address}/{NAME}", tmp_path)
    here = inspect(file, tmp_path)
    assert there.sha256 == '"made-for-a-test"'
    assert (
        dataclasses.replace(there, path=here.path, pixels_path=here.pixels_path, sha256=here.sha256)
        == here
    )
    for rows, cols in ((slice(10, 60), slice(200, 333)), (slice(-20, 10), slice(700, 760))):
        np.testing.assert_array_equal(read_region(there, rows, cols), read_region(here, rows, cols))


def test_a_section_that_fails_is_asked_for_again(archive, tmp_path):
    mosaic = inspect(f"{archive.address}/{NAME}", tmp_path)
    archive.faults[NAME] += [status(500), status(500)]
    assert np.isfinite(read_region(mosaic, slice(0, 5), slice(200, 300))).any()
    archive.faults[NAME] += [status(500)] * 20
    with pytest.raises(remote.RemoteError, match=f"{NAME}: http"):
        read_region(mosaic, slice(300, 305), slice(200, 300))


def test_a_mosaic_that_breaks_off_at_its_address(archive, file, tmp_path):
    archive.files[f"/{NAME}"] = file.read_bytes()[:500_000]
    with pytest.raises(MosaicError, match="truncated"):
        inspect(f"{archive.address}/{NAME}", tmp_path)


def test_no_such_address(archive, tmp_path):
    with pytest.raises(remote.RemoteError, match="gone_drz"):
        inspect(f"{archive.address}/gone_drz.fits", tmp_path)


# What `find` wrote.


def test_a_find_table_is_scanned(archive, scan_told, file, tmp_path):
    archive.mast.append(File(NAME, *CRVAL, content=file.read_bytes()))
    words = f"find --ra {CRVAL[0]} --dec {CRVAL[1]} --radius 0.3arcmin --out {tmp_path}/found.ecsv"
    assert CliRunner().invoke(app, shlex.split(words)).exit_code == 0
    fetch = f"fetch {tmp_path}/found.ecsv --out {tmp_path}/mirror"
    done = CliRunner().invoke(app, shlex.split(fetch))
    assert f"next: lensweep scan {tmp_path}/found.ecsv --mirror {tmp_path}/mirror" in (
        done.stdout.replace("\n", "")
    )
    asked = len(archive.asked)
    outcome, _ = scan_told(
        [tmp_path / "found.ecsv"], tmp_path / "run", mirror=str(tmp_path / "mirror")
    )
    assert outcome.exit_status == 0
    assert len(archive.asked) == asked
    (origin,) = origins(outcome)
    assert origin["address"].startswith("https://mast.stsci.edu/api")


def test_a_table_that_lists_nothing(archive, tmp_path):
    words = f"find --ra 1 --dec 2 --out {tmp_path}/found.csv"
    CliRunner().invoke(app, shlex.split(words))
    with pytest.raises(InputError, match=r"found\.csv: lists no product"):
        with_addresses([f"{tmp_path}/found.csv"])
    assert with_addresses(["a.fits", "https://x.org/b.fits"]) == ("a.fits", "https://x.org/b.fits")


def test_what_an_address_says_by_itself():
    product = product_of("https://hla.stsci.edu/cgi-bin/getdata.cgi?config=ops&dataset=" + NAME)
    assert (product.name, product.collection, product.band) == (NAME, "HAP-SVM", "F814W")
    other = product_of("https://x.org/mine.fits.gz?token=1")
    assert (other.name, other.collection) == ("mine.fits.gz", "")


def test_a_plan_of_an_address(archive, tiny_bundle, tmp_path):
    config = ScanConfig((f"{archive.address}/{NAME}",), str(tmp_path / "run"))
    plan = plan_mosaic(config.mosaics[0], config, "F814W", config.out)
    assert (plan.grid.shape, plan.n_windows) == ((240, 330), 24)
    assert sum(_length(headers.get("Range")) for _, _, headers in archive.asked) < 500_000
    words = f"scan {config.mosaics[0]} --out x --ensemble {tiny_bundle} --centres sources --plan"
    done = CliRunner().invoke(app, shlex.split(words))
    assert isinstance(done.exception, InputError)
    assert "its sources are known once it is fetched" in done.stdout.replace("\n", " ")


def test_from_a_catalogue_to_candidates_and_grades(archive, scan_told, tiny_bundle, file, tmp_path):
    """One line each: find, fetch, scan, grades; of a catalogue of two, of which one is there."""
    catalogue = tmp_path / "mine.csv"
    catalogue.write_text(
        f"name,ra_deg,dec_deg,grade\nhere,{CRVAL[0]},{CRVAL[1]},A\nelsewhere,{CRVAL[0]},9.0,B\n"
    )
    archive.mast.append(File(NAME, *CRVAL, content=file.read_bytes(), side_deg=0.004))
    words = f"fetch --catalog {catalogue} --radius 5arcsec --out {tmp_path}/mirror --cite"
    done = CliRunner().invoke(app, shlex.split(words))
    assert done.exit_code == 0, done.output
    assert "1 of 2 positions" in done.stdout
    assert "Hubble programmes: 10092" in done.stdout
    outcome, _ = scan_told(
        [tmp_path / "mirror" / "found.ecsv"], tmp_path / "run", mirror=str(tmp_path / "mirror")
    )
    assert len(candidates(outcome)) > 0
    assert origins(outcome)[0]["address"].startswith("https://mast.stsci.edu/")
    words = (
        f"grades --run {outcome.paths.root} --list {catalogue} --control 5"
        f" --ensemble {tiny_bundle} --out {tmp_path}/grades"
    )
    done = CliRunner().invoke(app, shlex.split(words))
    assert done.exit_code == 0, done.output
    graded = pd.read_parquet(tmp_path / "grades" / "graded.parquet")
    assert graded["covered"].tolist() == [True, False]
