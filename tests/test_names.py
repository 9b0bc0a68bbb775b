"""Names of mosaics, which become files, folders, groups of Zarr, objects and rows."""

import json
import os

import pandas as pd
import pytest
from conftest import write_field

import lensweep
from lensweep.ground.errors import InputError
from lensweep.ground.files import remove_folder
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.tally import failed_mosaics, planned_mosaics
from lensweep.scanner.sky.names import LONGEST_BYTES, mosaic_name, printable

LATIN_1 = os.fsdecode(b"gal\xe9xia_drz.fits")
STRANGE = [
    "...fits",  # `..` without its ending
    "..fits",
    ".fits",  # nothing without it
    ".fits.gz",
    "zarr.json.fits",  # the file of a Zarr group
    "x.json.fits",  # a folder of failures called as a file of them
    "__array.fits",  # Zarr keeps names of two underscores to itself
    ".hidden.partial.fits",  # as what is being written, and swept
    "x" * 245 + ".fits",
    "ä" * 120 + ".fits",  # longer in bytes than in letters
    LATIN_1,
    "a[1]*?.fits",  # a pattern of file names
    "new\nline\x1b[31m.fits",
    "ends with a dot..fits",
]


@pytest.mark.parametrize("file_name", STRANGE, ids=ascii)
def test_a_strange_name_is_changed_and_stays_its_own(file_name):
    name = mosaic_name(f"/data/{file_name}")
    assert len(name.encode()) <= LONGEST_BYTES + 9
    assert name.isprintable()
    assert "/" not in name
    assert not name.startswith((".", "__"))
    assert not name.endswith((".json", "."))
    # Not that of a file of nearly the same name.
    assert name != mosaic_name(f"/data/_{file_name}")
    paths = RunPaths.at("/run")
    for own in (paths.plan, paths.windows, paths.cutouts, paths.scores, paths.markers):
        assert own(name).parent in (paths.plans, paths.all_cutouts, paths.all_scores,
                                    paths.root / "done")  # fmt: skip


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("hst_9405_6d_acs_wfc_f814w_drz.fits", "hst_9405_6d_acs_wfc_f814w_drz"),
        ("field.FITS.gz", "field"),
        ("Abell 370 (north)+1.fit.fz", "Abell 370 (north)+1"),
        ("M 87.v2", "M 87.v2"),
        ("галактика.fits", "галактика"),
    ],
)
def test_a_usual_name_stays(file_name, name):
    assert mosaic_name(file_name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "/etc"])
def test_no_name_leads_out_of_its_folder(name):
    with pytest.raises(ValueError, match="out of its folder"):
        RunPaths.at("/run").cutouts(name)


@pytest.mark.parametrize("folder", ["{}/run/cutouts.zarr/..", "/", "."])
def test_what_is_not_its_own_is_not_removed(tmp_path, folder):
    (tmp_path / "run" / "cutouts.zarr").mkdir(parents=True)
    with pytest.raises(ValueError, match="not removed"):
        remove_folder(type(tmp_path)(folder.format(tmp_path)))
    assert (tmp_path / "run" / "cutouts.zarr").is_dir()


def test_strange_names_are_scanned_with_the_others(scan, tmp_path):
    """All in one run: none costs another one's files, and every table can be written."""
    names = ["...fits", ".fits", "zarr.json.fits", "x.json.fits", "y" * 245 + ".fits", LATIN_1,
             "a[1].fits", "usual.fits"]  # fmt: skip
    files = [write_field(tmp_path / name, seed, (130, 150), 0) for seed, name in enumerate(names)]
    bad = tmp_path / os.fsdecode(b"b\xe4d.fits")
    bad.write_bytes(b"no FITS")
    (tmp_path / "loop.fits").symlink_to("loop.fits")
    other = tmp_path / "run-of-somebody"
    other.mkdir()
    (other / "precious").touch()
    outcome = scan([*files, bad, tmp_path / "loop.fits"], tmp_path / "run")
    assert outcome.exit_status == 3
    assert set(outcome.failed_mosaics) == {mosaic_name(bad), "loop"}
    assert "b\\xe4d.fits" in outcome.failed_mosaics[mosaic_name(bad)]
    assert failed_mosaics(outcome.paths.root) == outcome.failed_mosaics
    assert planned_mosaics(outcome.paths.root) == sorted(map(mosaic_name, files))
    ledger = pd.read_parquet(outcome.paths.ledger)
    assert set(ledger["mosaic"]) == set(map(mosaic_name, files))
    assert outcome.tally.scored == len(ledger)
    # The name that the user gave stands beside the one that is used.
    plan = json.loads(outcome.paths.plan(mosaic_name(LATIN_1)).read_text())
    assert plan["mosaic"]["path"] == str(tmp_path / LATIN_1)
    assert (other / "precious").exists()
    assert scan([*files, bad, tmp_path / "loop.fits"], tmp_path / "run").tally == outcome.tally


def test_a_name_that_is_no_text_in_a_table_of_scores(tiny_bundle, tmp_path):
    path = write_field(tmp_path / LATIN_1, 1, (130, 150), 0)
    table = lensweep.score([path, tmp_path / os.fsdecode(b"\xff.fits")], str(tiny_bundle))
    first, second = table.to_dict("records")
    assert first["file"].endswith("gal\\xe9xia_drz.fits")
    assert pd.isna(first["message"])
    assert "\\xff.fits: no such file" in second["message"]


@pytest.mark.parametrize("option", ["out", "ensemble", "centres"])
def test_other_paths_are_refused_before_anything_runs(option):
    options = {"out": "run", option: os.fsdecode(b"\xe9")}
    with pytest.raises(InputError, match=rf"{option} = \\xe9: .*no UTF-8.*rename"):
        ScanConfig(("a.fits",), **options)


def test_paths_that_no_file_can_have():
    with pytest.raises(InputError, match="zero byte"):
        ScanConfig(("a\0.fits",), "run")
    with pytest.raises(InputError, match="nor a file that is there"):
        ScanConfig(("a.fits",), "run", centres="x" * 5000)


def test_two_of_one_name_are_refused():
    strange = os.fsdecode(b"/\xe9/a.fits")
    with pytest.raises(InputError, match=r"/b/a\.fits and /\\xe9/a\.fits: one name, a, for two"):
        ScanConfig(("/b/a.fits", strange), "run")


def test_printable_leaves_text_alone():
    assert printable("Abell 370 ä\\x") == "Abell 370 ä\\x"
