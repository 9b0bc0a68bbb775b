"""What a command reads and writes is looked at before a cluster is opened.

Every command here is told of a scheduler that is not there. Asking it would end with status 75; a
wrong path ends with status 2 and a message that names it.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import scan_here, write_field

import lensweep
from lensweep.__main__ import main
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_file, check_folder
from lensweep.scanner.sky.names import file_names

NOBODY = ["--cluster", "tcp://127.0.0.1:1"]
CONFIG = """\
name = "tiny"
seed = 3
backbone = "vgg16"
init = "random"
input_size = 32
stem = "fixed"
trainable = "head"
n_adapt = 0
adapt_epochs = 0
adapt_learning_rate = 1e-3
n_train = 42
n_test = 20
n_folds = 3
dropout = 0.3
head_epochs = 4
head_learning_rate = 1e-3
"""


@pytest.fixture(scope="module")
def place(client, tiny_bundle, tmp_path_factory):
    """A mosaic, a finished run, an ensemble and configs; a file where no folder can be."""
    folder = tmp_path_factory.mktemp("checked")
    write_field(folder / "field_f814w_drz.fits", 3, (300, 400), 0)
    scan_here(client, tiny_bundle, [folder / "field_f814w_drz.fits"], folder / "run")
    (folder / "tiny").symlink_to(tiny_bundle)
    (folder / "file").touch()
    (folder / "mine.csv").write_text("ra,dec\n1,2\n")
    (folder / "t.toml").write_text(CONFIG)
    (folder / "also.toml").write_text(CONFIG + 'adapt_also = ["gone"]\n')
    (folder / "weights.toml").write_text(
        CONFIG.replace('"random"', '"imagenet"') + 'weights = "gone.h5"\n'
    )
    return folder


@pytest.fixture
def command(place, monkeypatch, capfd):
    """Run a command in that place: its exit status, and what it complained of."""

    def run(*arguments):
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["lensweep", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
            raise SystemExit(0)
        return end.value.code or 0, capfd.readouterr().err

    return run


FIELD = "field_f814w_drz.fits"
SCAN = ["scan", FIELD, "--ensemble", "tiny", *NOBODY]
OF_RUN = ["completeness", "run", "--ensemble", "tiny", "--n", "3", *NOBODY]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SCAN, "--out", "new", "--truth", "gone.csv"], "gone.csv: no such file"),
        ([*SCAN, "--out", "new", "--truth", "t.toml"], "t.toml: unknown file ending"),
        ([*SCAN, "--out", "file/new"], "file/new: cannot be written to"),
        ([*SCAN, "--out", "new", "--config", "gone.toml"], "config gone.toml: cannot be read"),
        (
            ["scan", "a.fits", "b.fits", "--out", "new", "--ensemble", "tiny", *NOBODY],
            "mosaic b.fits: no such file",
        ),
        (["scan", FIELD, "--out", "new", "--ensemble", "gone", *NOBODY], "ensemble gone: neither"),
        (["simulate", "--n", "4", "--out", "new", "--psf", "gone.fits", *NOBODY], "PSF gone.fits"),
        (["simulate", "--n", "4", "--out", "file/new", *NOBODY], "file/new: cannot be written to"),
        (["inject", "gone.fits", "--out", "new", *NOBODY], "mosaic gone.fits: no such file"),
        (["inject", FIELD, "--out", "new", "--known", "gone.csv", *NOBODY], "gone.csv: no such"),
        (["inject", FIELD, "--out", "new", "--psf", "gone.fits", *NOBODY], "PSF gone.fits"),
        (["inject", FIELD, "--out", "file/new", *NOBODY], "file/new: cannot be written to"),
        (["collect", "gone.fits", "--out", "new", *NOBODY], "mosaic gone.fits: no such file"),
        (["collect", FIELD, "--out", "new", "--labels", "gone.csv", *NOBODY], "gone.csv: no such"),
        (["collect", FIELD, "--out", "new", "--catalog", "gone.csv", *NOBODY], "gone.csv: no"),
        (["collect", FIELD, "--out", "new", "--known", "gone.csv", *NOBODY], "gone.csv: no such"),
        (["collect", "--images", "gone", "--out", "new", *NOBODY], "gone: no such folder"),
        (["collect", FIELD, "--out", "file/new", *NOBODY], "file/new: cannot be written to"),
        (["mine", "--out", "new", "--ensemble", "gone", *NOBODY], "ensemble gone: neither"),
        (["mine", "--out", "file/new", "--ensemble", "tiny", *NOBODY], "file/new: cannot be"),
        (["survey", "new", "--ensemble", "gone", *NOBODY], "ensemble gone: neither"),
        (["survey", "file/new", "--ensemble", "tiny", *NOBODY], "file/new: cannot be written to"),
        (["train", "new", "--config", "gone.toml", *NOBODY], "gone.toml: cannot be read"),
        (["train", "new", "--config", "t.toml", "--data", "gone", *NOBODY], "gone/train: no such"),
        (["train", "new", "--config", "also.toml", *NOBODY], "data set gone: no such folder"),
        (["train", "new", "--config", "weights.toml", *NOBODY], "weights gone.h5: no such file"),
        (["train", "file/new", "--config", "t.toml", *NOBODY], "file/new: cannot be written to"),
        (["evaluate", "gone", *NOBODY], "ensemble gone: neither"),
        (["evaluate", "tiny", "--data", "gone", "--out", "new", *NOBODY], "data set gone: no"),
        (["completeness", "gone", *NOBODY], "run gone: no such folder"),
        (["completeness", "run", "--ensemble", "gone", *NOBODY], "ensemble gone: neither"),
        ([*OF_RUN, "--known", "gone.csv"], "gone.csv: no such file"),
        ([*OF_RUN, "--psf", "gone.fits"], "PSF gone.fits"),
        ([*OF_RUN, "--out", "file/new"], "file/new: cannot be written to"),
        # These open no cluster, or none yet, and read networks or pixels.
        (["compare", "gone", "--out", "new", *NOBODY], "data set gone: no"),
        (["outlook", "gone", "--out", "new"], "data set gone: no"),
        (["parameters", "train", "new", "--data", "gone"], "data set gone: no"),
        (["join", "run", "gone", "--out", "new"], "gone: no run in this folder"),
        (["merge", "gone", "--out", "new"], "training folder gone: no"),
        (["score", FIELD, "--ensemble", "tiny", "--out", "file/new.parquet"], "file/new.parquet"),
        (["recall", "run", "--known", "gone.csv"], "gone.csv: no such file"),
        (["recall", "run", "--out", "file/new.parquet"], "output file file/new.parquet"),
        (["crossmatch", "run", "--known", "gone.csv"], "gone.csv: no such file"),
        (["crossmatch", "gone.csv"], "gone.csv: no such file"),
        (["crossmatch", "run", "--out", "."], "is a folder"),
        (["grades", "--run", "gone", "--out", "new", "--ensemble", "tiny"], "gone: neither a run"),
        (["grades", "--mosaics", "gone.fits", "--out", "new", "--ensemble", "tiny"], "gone.fits"),
        (["grades", "--run", "run", "--list", "gone.csv", "--out", "new"], "gone.csv: no such"),
        (["grades", "--run", "run", "--out", "file/new"], "file/new: cannot be"),
        (["example", "file/new"], "file/new: cannot be written to"),
        (["certificates", "file/new"], "file/new: cannot be written to"),
        (["find", "--ra", "1", "--dec", "2", "--out", "file/new.ecsv"], "file/new.ecsv: has no"),
        (["find", "--catalog", "mine.csv", "--out", "mine.csv"], "mine.csv: is an input of this"),
        (["fetch", "--ra", "1", "--dec", "2", "--out", "file/new"], "file/new: cannot be written"),
        (["fetch", "found.ecsv", "--cloud", "--out", "new"], "what to fetch; leave out --cloud"),
        (
            ["learn", "run", "--labels", "mine.csv", "--out", "file/new", "--ensemble", "tiny"],
            "file: cannot be written to",
        ),
        (["status", "file"], "file"),
        (["cancel", "gone"], "run gone: no such folder"),
        (["send", "gone"], "run gone: no such folder"),
        (["grades", "merge", "mine.csv", "--run", "gone"], "run gone: no such folder"),
        # Nothing is written over that somebody needs.
        (["export", "run", "--to", "fits", "--out", FIELD], "is no file that lensweep wrote"),
        (["export", "run", "--to", "votable", "--out", "run/candidates.parquet"], "not *.parquet"),
        (["export", "run", "--to", "csv", "--out", FIELD], "not *.fits"),
        (["export", "run", "--to", "votable", "--out", "."], "is a folder"),
        (["export", "run", "--to", "ds9", "--out", "run/run.json"], "the run "),
        (["export", "run", "--to", "csv", "--out", "s3://b/x.csv"], "is an address"),
        (["sheet", "run", "--out", FIELD], "is no file that lensweep wrote"),
        (["sheet", "run", "--out", "run/ledger.parquet"], "is made of it; name another"),
        (["recall", "run", "--out", "run/candidates.parquet"], "is made of it; name another"),
        (["crossmatch", "run", "--out", "run/candidates.parquet"], "is made of it; name another"),
        (["score", FIELD, "--ensemble", "tiny", "--out", "run/candidates.parquet"], "is made of"),
        (["lens-light", "other.fits", "--out", FIELD], "is no file that lensweep wrote"),
        (["lens-light", "other.fits", "--out", "new.png"], "is written as FITS"),
        (["lens-light", "other.fits", "other.fits", "--out", "new.fits"], "is named twice"),
        (["example", "s3://bucket/sky"], "is an address"),
        (["merge", "gone", "--out", "s3://bucket/both"], "is an address"),
        (["simulate", "--n", "4", "--out", "s3://bucket/set", *NOBODY], "is an address"),
        # Numbers that cannot be.
        (["survey", "new", "--seed", "-1", "--ensemble", "tiny", *NOBODY], "seed = -1: must lie"),
        (["grades", "--run", "run", "--seed", "-1", "--out", "new"], "seed = -1: must lie within"),
        (["example", "new", "--seed", "-1"], "seed = -1: must lie within"),
        (["inspect", "run", "--blind", "--seed", "-1"], "seed = -1: must lie within"),
        (["inspect", "run", "--blind", "--top", "0"], "top = 0: must be at least 1"),
        (["inspect", "run", "--blind", "--planted", "-2"], "planted = -2: must be at least 0"),
        (["inspect", "run", "--planted", "3"], "give --blind too"),
        (["learn", "run", "--labels", "mine.csv", "--top", "0"], "top = 0: must be at least 1"),
        (["learn", "run", "--labels", "mine.csv", "--seed", "-1"], "seed = -1: must lie within"),
        (["lens-light", "other.fits", "--out", "new.fits", "--seed", "-1"], "seed = -1: must lie"),
        (["parameters", "train", "new", "--data", "gone", "--n", "-3"], "n = -3: must be at least"),
        (["parameters", "train", "new", "--data", "gone", "--epochs", "0"], "epochs = 0: must be"),
        (["recall", "run", "--false-per-deg2", "nan"], "false_per_deg2 = nan: must lie within"),
        (["export", "run", "--to", "csv", "--where", "rank > 99999999999999999999"], "cannot be"),
        # A cluster that is none is no reason to begin a folder.
        (["simulate", "--n", "4", "--out", "new", "--cluster", "slrum"], "no such kind"),
        (["compare", "gone", "--out", "new", "--cluster", "slrum"], "no such kind"),
        (["evaluate", "tiny", "--data", "gone", "--out", "new", "--cluster", "slrum"], "no such"),
        (["simulate", "--n", "4", "--band", "F814W", "--out", "new"], "leave --band out"),
    ],
)
def test_a_wrong_path_is_found_before_a_cluster(command, place, arguments, message):
    as_made = (place / FIELD).stat().st_size
    status, err = command(*arguments)
    assert (status, message in err) == (2, True), err
    assert "planning" not in err
    assert (place / FIELD).stat().st_size == as_made
    assert (place / "mine.csv").read_text() == "ra,dec\n1,2\n"
    left = list(place.glob("new*"))
    for path in left:
        shutil.rmtree(path)
    assert not left


def test_a_good_command_asks_for_the_cluster(command):
    """The rows above can fail: nobody answers, if nothing else is wrong."""
    status, err = command(*SCAN, "--out", "good")
    assert (status, "127.0.0.1:1" in err) == (75, True), err


def test_outputs(tmp_path):
    (tmp_path / "file").touch()
    check_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(InputError, match=r"training folder .*file/b: cannot be written to"):
        check_folder(tmp_path / "file" / "b", "training folder")
    check_file(tmp_path / "new.csv", [tmp_path / "gone.csv", "castles"])
    check_file(tmp_path / "file", [tmp_path / "other"])
    with pytest.raises(InputError, match="is an input of this command; name another"):
        check_file(tmp_path / "file", [tmp_path / "a" / ".." / "file"])
    with pytest.raises(InputError, match="has no folder"):
        check_file(tmp_path / "gone" / "new.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "file"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("one.fits", ("one.fits",)),  # not its letters
        (Path("one.fits"), ("one.fits",)),
        (["one.fits", Path("b/two.fits")], ("one.fits", "b/two.fits")),
        ((path for path in ("one.fits", "two.fits")), ("one.fits", "two.fits")),
        (np.array(["one.fits", "two.fits"]), ("one.fits", "two.fits")),
        ([], ()),
    ],
)
def test_names_of_files(given, names):
    assert file_names(given, "images") == names


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([np.zeros((100, 100))], "list"),
        (b"one.fits", "bytes"),
        (7, "int"),
        (None, "NoneType"),
        (["one.fits", None], "list"),
    ],
)
def test_pixels_are_no_names(given, found):
    for call in (lensweep.score, lambda mosaics: lensweep.scan(mosaics, "run")):
        with pytest.raises(InputError, match=f"several are needed, not {found}$"):
            call(given)


def test_mosaics_are_no_pixels():
    words = r"mosaics: .* are needed, not ndarray of shape \(3, 100, 100\)"
    with pytest.raises(InputError, match=words):
        lensweep.scan(np.zeros((3, 100, 100)), "run")
