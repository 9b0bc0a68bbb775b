"""What users get wrong, one row each: status 2 or 3, and a message that says what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_field
from drizzled_files import write_hla

import lensweep
from lensweep.catalogs.tables import TableError
from lensweep.ground.errors import InputError
from lensweep.scanner.work.patience import StorageError

SHAPE = (300, 300)


def flux():
    return np.random.default_rng(2).normal(0.0, 0.01, SHAPE).astype(np.float32)


def write(path, values=None, weight=None, **options):
    return write_hla(path, flux() if values is None else values, weight, **options)


def truncated(path):
    write(path)
    os.truncate(path, 200_000)


def without_sky(path):
    from astropy.io import fits

    write(path, sky=fits.Header())


NAN, ZEROS = np.full(SHAPE, np.nan, np.float32), np.zeros(SHAPE, np.float32)

# Each: how the file is made, and what the message must hold beside the file's name.
BAD_MOSAICS = {
    "missing": (lambda path: None, "no such file"),
    "text": (lambda path: path.write_text("SIMPLY not"), "neither FITS nor gzip"),
    "no bytes": (lambda path: path.write_bytes(b""), "neither FITS nor gzip"),
    "truncated": (truncated, "truncated.*fetch it again"),
    "no image": (lambda path: write(path, np.zeros((0, 0), np.float32)), "empty image"),
    "no sky": (without_sky, "no sky coordinates"),
    "filter": (
        lambda path: write(path, primary_cards={"FILTER2": "F606W"}),
        "filter F606W, but ensemble .*tiny-3fold was trained on F814W",
    ),
    "no units": (lambda path: write(path, sci_cards={"BUNIT": None}), "--units"),
    "units": (lambda path: write(path, sci_cards={"BUNIT": "JY"}), "unknown units JY.*--units"),
    "NaN": (lambda path: write(path, NAN), "no valid pixel: every pixel is NaN"),
    "zero": (lambda path: write(path, ZEROS), "every pixel is exactly zero"),
    "no weight": (lambda path: write(path, weight=ZEROS), "the weight is zero"),
}


@pytest.mark.parametrize("case", BAD_MOSAICS)
def test_bad_mosaics_are_refused(scan, tmp_path, case):
    make, message = BAD_MOSAICS[case]
    path = tmp_path / "bad_drz.fits"
    make(path)
    with pytest.raises(InputError, match=rf"(?s)mosaic (\S*/)?bad_drz\.fits: .*{message}"):
        scan([path], tmp_path / "run")
    # Nothing is in the way of the corrected command.
    assert not (tmp_path / "run").exists()


def test_every_bad_mosaic_is_named(scan, tmp_path):
    paths = [tmp_path / f"{name}.fits" for name in ("first", "second")]
    with pytest.raises(InputError, match=r"(?s)mosaic \S*first\.fits.*\n.*mosaic \S*second\.fits"):
        scan(paths, tmp_path / "run")


def replaced(path, old, new):
    write(path, weight=np.ones(SHAPE, np.float32), primary_cards={"NEXTEND": 3})
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new.ljust(len(old)), 1))


def cut_after_sci(path):
    from astropy.io import fits

    write(path, weight=np.ones(SHAPE, np.float32), primary_cards={"NEXTEND": 3})
    with fits.open(path) as hdus:
        end = hdus[2].fileinfo()["hdrLoc"]
    os.truncate(path, end)


# Each ended the whole command once: with a traceback, or not at all.
BAD_HEADERS = {
    "frame": lambda path: replaced(path, b"'ICRS    '", b"'GSC1'"),
    "endless": lambda path: replaced(path, b"NAXIS1  =                  300",
                                     b"NAXIS1  =                 -300"),
    "no_naxis": lambda path: replaced(path, b"NAXIS1  =", b"COMMENT"),
    "no_bitpix": lambda path: replaced(path, b"BITPIX  =                  -32", b"COMMENT"),
    "bscale": lambda path: replaced(path, b"PHOTPLAM=            8044.8877", b"BSCALE  = 'one'"),
    "cut_header": lambda path: (write(path), os.truncate(path, 2 * 2880)),
    "cut_after": cut_after_sci,
}  # fmt: skip


def test_bad_headers_cost_no_good_mosaic(scan, field, tmp_path):
    bad = {name: tmp_path / f"{name}_drz.fits" for name in BAD_HEADERS}
    for name, path in bad.items():
        BAD_HEADERS[name](path)
    outcome = scan([field, *bad.values()], tmp_path / "run")
    assert outcome.exit_status == 3
    assert set(outcome.failed_mosaics) == {f"{name}_drz" for name in bad}
    for name, reason in outcome.failed_mosaics.items():
        assert reason.startswith(f"mosaic {name}.fits: ")
    alone = scan([field], tmp_path / "alone")
    pd.testing.assert_frame_equal(
        pd.read_parquet(outcome.paths.candidates), pd.read_parquet(alone.paths.candidates)
    )


HOLE = np.s_[100:200, 100:200]


def holed(value):
    values = flux()
    values[HOLE] = value
    return values


@pytest.mark.parametrize(
    ("values", "weight"),
    [
        (holed(np.nan), np.ones(SHAPE, np.float32)),
        (holed(0.0), None),  # no weight map: exact zeros are fill
        (holed(np.inf), np.ones(SHAPE, np.float32)),
        (flux(), np.where(np.isnan(holed(np.nan)), 0.0, 1.0).astype(np.float32)),
        (flux(), np.where(np.isnan(holed(np.nan)), np.nan, 1.0).astype(np.float32)),
    ],
    ids=["NaN", "zeros", "infinite", "no weight", "NaN weight"],
)
def test_holes_are_masked(scan, tmp_path, values, weight):
    mosaic = write(tmp_path / "holed.fits", values, weight)
    outcome = scan([mosaic], tmp_path / "run", min_valid_fraction=0.6)
    ledger = pd.read_parquet(outcome.paths.ledger).set_index(["x0", "y0"])
    # The hole's own window, and the four that lie half in it.
    masked = [(100, 100), (50, 100), (150, 100), (100, 50), (100, 150)]
    assert set(ledger.index[ledger["state"] == "masked"]) == set(masked)
    assert ledger.loc[(100, 100), "reason"] == "no data"
    assert ledger.loc[(50, 100), "reason"] == "valid fraction 0.500 < 0.6"
    assert outcome.tally.scored == 20


@pytest.mark.parametrize(
    ("centres", "error", "message"),
    [
        ("dec,mag\n2.2,20\n", TableError, r"c\.csv: no pair of RA and Dec columns among dec, mag"),
        ("ra,dec\n", TableError, "no rows"),
        ("ra,dec\n10:00:27,north\n", TableError, "'north' is neither a number .* nor sexagesimal"),
        ("ra,dec\n150.1,92.0\n", TableError, r"Dec 92\.0, outside -90 to 90"),
    ],
)
def test_bad_positions_are_refused_first(scan, field, tmp_path, centres, error, message):
    table = tmp_path / "c.csv"
    table.write_text(centres)
    with pytest.raises(error, match=message):
        scan([field], tmp_path / "run", centres=str(table))
    assert not (tmp_path / "run").exists()


def test_folders_that_are_no_runs_are_refused(scan, field, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("do not lose")
    with pytest.raises(InputError, match=r"holds thesis\.tex and no run; name a new folder"):
        scan([field], tmp_path / "run")
    assert os.listdir(tmp_path / "run") == ["thesis.tex"]  # noqa: PTH208


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/run"])
def test_folders_that_cannot_be_made_are_refused(scan, field, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output folder .*cannot be written to"):
        scan([field], tmp_path / place)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own: ``disk(options)`` mounts it, and mounts it anew."""
    folder, mounted = tmp_path / "disk", []
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a file system here")
        mounted.append(folder)
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up(scan, field, tmp_path, disk):
    root = disk("size=3m") / "run"
    with pytest.raises(StorageError, match=r"No space left.*make room and repeat the command"):
        scan([field], root, storage_wait_s=0.0)
    assert not (root / "candidates.parquet").exists()
    assert not (root / "ledger.parquet").exists()
    disk("remount,size=40m")
    outcome = scan([field], root)
    assert outcome.exit_status == 0
    expected = scan([field], tmp_path / "elsewhere").paths
    pd.testing.assert_frame_equal(
        pd.read_parquet(outcome.paths.candidates), pd.read_parquet(expected.candidates)
    )
    assert not list(root.rglob("*.partial"))


def test_a_disk_that_may_not_be_written_to(scan, field, disk):
    root = disk("size=40m") / "run"
    scan([field], root)
    disk("remount,ro")
    with pytest.raises(InputError, match=r"cannot be written to .Read-only file system"):
        scan([field], root)
    with pytest.raises(InputError, match=r"cannot be written to .Read-only file system"):
        scan([field], root.parent / "new")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_scale_arcsec": 0.03}, "at 0.03 arcsec, but a scan makes 100 at 0.05"),
        ({"cutout_size": 64}, "cutouts of 64 pixels"),
        ({"thresholds": {"fpr_0.01": 3.0}}, r"no threshold fpr_0\.3, only fpr_0\.01.*--min-logit"),
        ({"band": "F160W"}, "filter F814W, but ensemble .* was trained on F160W"),
    ],
)
def test_ensembles_that_do_not_fit_are_refused(
    client, tiny_bundle, field, tmp_path, change, message
):
    import dataclasses

    from conftest import scan_here

    from lensweep.scanner.network.bundle_store import check_bundle, save_bundle
    from lensweep.scanner.network.networks import load_network

    bundle = check_bundle(str(tiny_bundle))
    with np.load(tiny_bundle / "heads.npz") as heads:
        arrays = {"tiny": (heads["tiny.weights"], heads["tiny.biases"])}
    other = tmp_path / "other"
    description = dataclasses.replace(bundle.description, **change)
    save_bundle(other, description, {"tiny": load_network(tiny_bundle, "tiny")}, arrays)
    with pytest.raises(InputError, match=message):
        scan_here(client, other, [field], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_changes_under_a_run_stops_it(
    client, tiny_bundle, field, tmp_path, monkeypatch
):
    """A worker that finds another bundle than the command did must not score with it."""
    # No other worker will come.
    monkeypatch.setattr("lensweep.scanner.work.remedies.OTHERS_COME_S", 0.0)
    import io
    import time

    from lensweep.ground.progress import PlainProgress
    from lensweep.scanner.network.ensemble import EnsembleError
    from lensweep.scanner.run.config import ScanConfig
    from lensweep.scanner.run.opening import open_run
    from lensweep.scanner.work.scan import run_scan

    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    config = ScanConfig((str(field),), str(tmp_path / "run"), str(copy), windows_per_shard=16,
                        screen="off")  # fmt: skip
    bundle, paths = open_run(config)
    (copy / "heads.npz").write_bytes(b"")
    with pytest.raises(EnsembleError, match=r"heads\.npz has SHA-256"):
        run_scan(config, bundle, paths, client, PlainProgress(io.StringIO(), time.monotonic))
    shutil.copy(tiny_bundle / "heads.npz", copy)
    bundle, paths = open_run(config)
    outcome = run_scan(config, bundle, paths, client, PlainProgress(io.StringIO(), time.monotonic))
    assert outcome.tally.scored == 96


def test_two_mosaics_of_one_name(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_field(tmp_path / folder / "m.fits", seed=1, shape=(120, 120), blank_columns=0)
    with pytest.raises(InputError, match=r"a/m\.fits and .*b/m\.fits: one name, m, for two"):
        lensweep.scan([tmp_path / "a/m.fits", tmp_path / "b/m.fits"], tmp_path / "run")
    assert not Path(tmp_path / "run").exists()


def test_status_of_no_run(tmp_path):
    from lensweep.scanner.run.status import read_status

    with pytest.raises(InputError, match=r"no run in this folder \(no run\.json\)"):
        read_status(tmp_path)
