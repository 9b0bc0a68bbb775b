"""The house: its floors and wings import one way, without circles, and what is slow comes late."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up; those of one line do not know each other. A wing may import what is listed
# before it. `train` is the conductor of its floor, and `lensweep` itself its public face.
FLOORS = (
    ("lensweep.ground",),
    ("lensweep.catalogs", "lensweep.deploy"),
    ("lensweep.scanner.sky",),
    ("lensweep.scanner.network",),
    ("lensweep.scanner.run",),
    ("lensweep.scanner.archive",),
    ("lensweep.scanner.results",),
    ("lensweep.scanner.lenses",),
    ("lensweep.scanner.inspection",),
    ("lensweep.scanner.exports",),
    ("lensweep.scanner.work",),
    ("lensweep.training.simulation",),
    ("lensweep.training.data",),
    ("lensweep.training.fit",),
    ("lensweep.training.published",),
    ("lensweep.training.outlook",),
    ("lensweep.training.evaluation",),
    ("lensweep.training.comparison",),
    ("lensweep.training.learning",),
    ("lensweep.training.train",),
    ("lensweep.commands", "lensweep.__main__", "lensweep"),
)
LINKED = ("catalogs", "deploy", "scanner", "training")
MODULES = sorted(
    path
    for folder in ("lensweep", *LINKED)
    for path in (ROOT / folder).rglob("*.py")
    if folder != "lensweep" or path.relative_to(ROOT).parts[1] not in (*LINKED, "ensembles")
)
DASK = {"dask", "distributed", "dask_cuda", "dask_kubernetes"}
SLOW_TO_IMPORT = {"tensorflow", "keras"}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lensweep" else ("lensweep", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(nodes):
    """Whole names of the modules that are imported, ours and others'."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in NAMES else node.module


def ours(path):
    found = set(imported(ast.walk(ast.parse(path.read_text()))))
    return {name for name in found if name.split(".")[0] == "lensweep"}


def height(name):
    """The number of a module's wing, counted from the ground."""
    fits = [
        (len(wing), number)
        for number, wings in enumerate(FLOORS)
        for wing in wings
        if name == wing or name.startswith(f"{wing}.")
    ]
    return max(fits)[1]


def wing_of(name):
    return next(
        (wing for wing in FLOORS[height(name)] if name == wing or name.startswith(f"{wing}.")), ""
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    name = name_of(path)
    for other in ours(path):
        assert height(other) <= height(name), f"{name} imports {other}, which stands above it"
        if height(other) == height(name) and height(name) < len(FLOORS) - 1:
            assert wing_of(other) == wing_of(name), f"{name} and {other} are of separate wings"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_of_scanner_and_training_is_in_a_wing(path):
    parts = name_of(path).split(".")
    if parts[1:2] in (["scanner"], ["training"]) and len(parts) > 2:
        assert wing_of(name_of(path)) != "lensweep"


def test_no_circles():
    graph = {name_of(path): ours(path) - {name_of(path)} for path in MODULES}
    # Raises CycleError, with the circle.
    TopologicalSorter(graph).prepare()


NO_NETWORKS = [path for path in MODULES if not name_of(path).startswith("lensweep.training.")]


@pytest.mark.parametrize("path", NO_NETWORKS, ids=name_of)
def test_networks_are_imported_where_they_are_used(path):
    found = {name.split(".")[0] for name in imported(ast.parse(path.read_text()).body)}
    assert not found & SLOW_TO_IMPORT


def test_dask_is_used_by_the_run_and_opened_by_deploy():
    users = {
        name_of(path)
        for path in MODULES
        if not name_of(path).startswith("lensweep.training.")
        and DASK & {name.split(".")[0] for name in imported(ast.walk(ast.parse(path.read_text())))}
    }
    elsewhere = {name for name in users if not name.startswith("lensweep.deploy.")}
    assert elsewhere == {
        f"lensweep.scanner.work.{name}"
        for name in ("scan", "stamps", "stages", "remedies", "dispatch")
    }
    assert "lensweep.deploy.cluster" in users


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], {"tensorflow", "keras", "distributed", "pandas", "astropy", "numpy"}),
        (["status", "."], {"tensorflow", "keras", "astropy", "zarr", "pandas"}),
        (["scan", "--help"], {"tensorflow", "keras"}),
    ],
)
def test_quick_commands_import_little(arguments, absent, tmp_path):
    (tmp_path / "run.json").write_text('{"asked": {"mosaics": []}}')
    code = (
        "import sys\nfrom lensweep.__main__ import main\n"
        f"sys.argv = ['lensweep', *{arguments}]\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('STATUS', end.code)\n"
        "print(' '.join(sys.modules))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "STATUS 0" in ran.stdout
    assert not absent & set(ran.stdout.splitlines()[-1].split())
