"""Every picture of the package, on a machine whose owner has set Matplotlib up in another way."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from test_contact_sheet import candidates, noise
from test_grade_table import scores

from lensweep.ground.figures import picture
from lensweep.scanner.lenses.grade_page import GradeReport, draw_grades
from lensweep.scanner.lenses.grade_table import rank_correlations, summarise_grades
from lensweep.scanner.network.ensemble import Description, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.results.contact_sheet import draw_contact_sheet
from lensweep.training.evaluation.completeness_report import draw_completeness
from lensweep.training.evaluation.result_plots import draw_curves, draw_roc
from lensweep.training.evaluation.result_tables import Evaluation
from lensweep.training.fit.metrics import passed_by

ROOT = Path(__file__).resolve().parent.parent
# LaTeX is not installed here; the others change size, colours, crop or the place of things.
HOSTILE = """\
text.usetex: True
savefig.dpi: 300
savefig.bbox: tight
savefig.transparent: True
figure.dpi: 40
figure.constrained_layout.use: True
font.size: 30
lines.linewidth: 9
axes.facecolor: red
axes.grid: True
image.origin: upper
image.cmap: jet
"""


def truth_and_logits():
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 2 == 0
    truth = pd.DataFrame({
        "is_lens": labels, "kind": np.where(labels, "lensed_galaxy", "spiral"),
        "theta_e_arcsec": np.where(labels, rng.uniform(0.3, 2.5, 200), np.nan),
        "source_magnitude": np.where(labels, rng.uniform(22.0, 26.5, 200), np.nan),
        "signal_to_noise": np.where(labels, rng.uniform(20.0, 200.0, 200), np.nan),
    })  # fmt: skip
    return truth, rng.normal(1.5 * labels[:, None], 1.0, (200, 3))


def contact_sheet(path):
    draw_contact_sheet(path, candidates(3, castles={1: "B1938+666"}), noise(3), ["a $b_", None, ""])


def grades(path):
    made = scores()
    report = GradeReport(
        made, summarise_grades(made, True, 1), rank_correlations(made), "a_$scheme$ of_$", {}
    )
    draw_grades(report, path)


def roc(path):
    truth, logits = truth_and_logits()
    description = Description(
        name="made $up_$", trunks=(Trunk("vgg16", ("a", "b", "c")),), stretch=Stretch(),
        band="F814W", pixel_scale_arcsec=0.05, cutout_size=100,
        thresholds={}, metrics={}, training={},
    )  # fmt: skip
    draw_roc(Evaluation(description, "made up", truth, logits), path)


def learning_curves(path):
    epochs = np.arange(5)
    curves = [
        pd.DataFrame({"stage": stage, "member": "m", "epoch": epochs, "loss": 1.0 / (1 + epochs),
                      "held_out_loss": 1.2 / (1 + epochs), "held_out_auc": 0.5 + 0.1 * epochs})
        for stage in ("adapting", "heads")
    ]  # fmt: skip
    draw_curves(pd.concat(curves), path)


def completeness(path):
    truth, logits = truth_and_logits()
    draw_completeness(passed_by(logits.mean(axis=1), truth, {"catalogue": 0.5}), path)


PICTURES = (contact_sheet, grades, roc, learning_curves, completeness)


@pytest.mark.parametrize("draw", PICTURES)
def test_the_users_settings_change_no_pixel(draw, tmp_path):
    draw(tmp_path / "plain.png")
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    with matplotlib.rc_context(fname=tmp_path / "matplotlibrc"):
        draw(tmp_path / "hostile.png")
        assert matplotlib.rcParams["font.size"] == 30  # the user's again
    np.testing.assert_array_equal(imread(tmp_path / "hostile.png"), imread(tmp_path / "plain.png"))


def test_a_matplotlibrc_of_the_users_own(tmp_path):
    """The same by the file itself, as a process finds it when it starts."""
    contact_sheet(tmp_path / "plain.png")
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    code = "import pathlib, test_figures; test_figures.contact_sheet(pathlib.Path('hostile.png'))"
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    environment = os.environ | {"MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=tmp_path)
    np.testing.assert_array_equal(imread(tmp_path / "hostile.png"), imread(tmp_path / "plain.png"))


def test_a_picture_is_whole_or_not_there(tmp_path):
    (tmp_path / "a.png").write_text("earlier")
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "a.png", (1.0, 1.0)):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "earlier"


def test_all_pictures_are_made_in_one_place():
    """A figure that is made elsewhere would take the user's settings."""
    makers = {
        path.name
        for floor in ("catalogs", "deploy", "scanner", "training", "lensweep")
        for path in (ROOT / floor).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) in
        {"Figure", "savefig", "FigureCanvasAgg", "figure", "subplot_mosaic"}
    }  # fmt: skip
    assert makers == {"figures.py"}
