"""What is installed: one import package, whatever a user's folder holds beside their script."""

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("catalogs", "deploy", "ensembles", "scanner", "training")


def test_names_beside_a_script_change_nothing(tmp_path):
    for name in ("training", "scanner", "deploy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('of the user')\n")
    (tmp_path / "catalogs").mkdir()
    (tmp_path / "catalogs" / "__init__.py").write_text("raise RuntimeError('of the user')\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import lensweep\n"
        "from lensweep.catalogs.known_lenses import castles\n"
        "from lensweep.scanner.network.bundle_store import check_bundle\n"
        "from lensweep.training.fit.config import TrainConfig\n"
        "print(len(castles()), check_bundle('xception-7fold').description.name)\n"
    )
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout == "100 xception-7fold\n"


def committed():
    """The files of the checkout, as far as they are committed."""
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.split("\n")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel of what is committed."""
    committed()
    folder = tmp_path_factory.mktemp("wheel")
    # A build leaves its traces where it is made.
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "checkout"], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--wheel-dir", folder, folder / "checkout"],
        check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_a_wheel_has_one_name_at_its_top(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lensweep"}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_wheel_has_all_that_the_checkout_has(wheel, floor):
    # The images are built from a checkout.
    kept = {name for name in committed()
            if name.startswith(f"{floor}/") and not name.startswith("deploy/docker/")}  # fmt: skip
    assert kept
    assert {f"lensweep/{name}" for name in kept} <= wheel


def test_an_environment_is_not_made_in_silence():
    """Minutes without a word look like a command that hangs."""
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", "venv"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert "pip install" in said
    assert "quiet" not in said


def test_what_draws_the_dashboard_is_an_extra():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert "bokeh" in settings["options.extras_require"]["dashboard"]
    assert "bokeh" not in settings["options"]["install_requires"]
