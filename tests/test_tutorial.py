"""The tutorial, executed: every cell runs, and what is kept in the file is what comes out."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def outputs_of(notebook):
    """The outputs of every cell with code, by what it begins with."""
    return {
        cell.source.split("\n")[0]: cell.outputs
        for cell in notebook.cells if cell.cell_type == "code"
    }  # fmt: skip


def kinds(outputs):
    return {kind for one in outputs for kind in one.get("data", {"stream": one.get("text")})}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    folder = tmp_path_factory.mktemp("tutorial")
    client = NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return folder, outputs_of(notebook)


# What jupyter_client says of its own sockets.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_tutorial_ends_in_a_graded_list(executed):
    folder, outputs = executed
    graded = outputs['graded = pd.read_parquet("example/graded.parquet")']
    assert "LSWP J" in graded[0]["data"]["text/html"]
    assert (folder / "example" / "run" / "export" / "candidates.reg").is_file()
    # Progress is one output of the cell, and the pictures are pictures.
    scanned = outputs["import lensweep"]
    text = "".join(one.get("data", {}).get("text/plain", "") for one in scanned)
    assert "scoring" in text
    assert "done in" in text
    assert "image/png" in kinds(outputs["run.sheet(top=24)"])
    assert "image/png" in kinds(outputs["run.plot(rank=1);"])
    assert "<img" in outputs['run = lensweep.open("example/run")'][0]["data"]["text/html"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_what_is_kept_in_the_file_is_what_comes_out(executed):
    kept = outputs_of(nbformat.read(NOTEBOOK, as_version=4))
    for source, outputs in executed[1].items():
        assert kinds(kept[source]) == kinds(outputs), source
        assert not [one for one in kept[source] if one["output_type"] == "error"]
