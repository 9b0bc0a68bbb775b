import io
import shutil
import time

import pandas as pd
import pytest

from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.lens_parameters import load_parameter_network
from lensweep.training.data.examples import open_examples
from lensweep.training.data.simulated_set import make_dataset


@pytest.fixture(scope="module")
def lenses(client, tmp_path_factory):
    """A simulated set of 24 cutouts, 20 of them lenses."""
    folder = tmp_path_factory.mktemp("sets") / "set"
    progress = PlainProgress(io.StringIO(), time.monotonic)
    make_dataset(folder, 24, 3, client, progress, lens_fraction=20 / 24)
    return folder


def test_the_commands_train_and_measure(lenses, tmp_path, command):
    out = tmp_path / "network"
    out.mkdir()
    # Of another training: not continued, and gone in the end.
    (out / "checkpoint-0123456789abcdef.npz").write_bytes(b"of something else")
    asked = ("parameters", "train", out, "--data", lenses, "--epochs", 1)
    status, printed = command(*asked, "--n", 16)
    assert status == 0, printed
    assert not list(out.glob("checkpoint*"))
    facts = load_parameter_network(str(out)).facts
    # A tenth of 16 widens the errors.
    assert facts.training["n_lenses"] == 14
    assert facts.training["cutouts_sha256"] == [open_examples(lenses).fingerprint]
    status, printed = command("parameters", "check", "--data", lenses, "--network", out)
    assert status == 0, printed
    assert "0-inf" in printed
    status, printed = command(*asked)
    assert status == 2
    assert "holds a network already" in printed


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda truth: truth.drop(columns="axis_ratio"), "its truth has no axis_ratio"),
        (lambda truth: truth.assign(is_lens=False), "it holds no lens"),
        (lambda truth: truth, "20 lenses, but 30 are asked for"),
    ],
)
def test_sets_that_cannot_be_trained_on_are_refused(lenses, tmp_path, command, spoil, what):
    folder = shutil.copytree(lenses, tmp_path / "set")
    (path,) = (folder / "truth").glob("*.parquet")
    spoil(pd.read_parquet(path)).to_parquet(path)
    status, printed = command("parameters", "train", tmp_path / "out", "--data", folder, "--n", 30)
    assert status == 2
    assert what in printed
