"""Imports point one way: lensweep, training, scanner, then catalogs and deploy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"lensweep", "training", "scanner", "catalogs", "deploy", "ensembles"}
MAY_IMPORT = {
    "lensweep": {"training", "scanner", "catalogs", "deploy"},
    "training": {"training", "scanner", "catalogs", "deploy"},
    "scanner": {"scanner", "catalogs", "deploy"},
    "catalogs": {"catalogs"},
    "deploy": {"deploy"},
}
MODULES = [
    ROOT / "lensweep.py",
    *(path for layer in MAY_IMPORT for path in sorted((ROOT / layer).glob("**/*.py"))),
]
DASK = {"dask", "distributed", "dask_cuda", "dask_jobqueue", "dask_kubernetes"}
SLOW_TO_IMPORT = {"tensorflow", "keras"}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
    found = set(imported(ast.walk(ast.parse(path.read_text())))) & OURS
    assert found <= MAY_IMPORT[layer]


NO_NETWORKS = [path for path in MODULES if path.relative_to(ROOT).parts[0] != "training"]


@pytest.mark.parametrize("path", NO_NETWORKS, ids=name_of)
def test_networks_are_imported_where_they_are_used(path):
    found = set(imported(ast.parse(path.read_text()).body))
    assert not found & SLOW_TO_IMPORT


def test_dask_is_used_by_the_run_and_opened_by_deploy():
    users = {
        name_of(path)
        for path in MODULES
        if path.relative_to(ROOT).parts[0] in ("scanner", "deploy", "catalogs")
        and DASK & set(imported(ast.walk(ast.parse(path.read_text()))))
    }
    of_scanner = {name for name in users if not name.startswith("deploy.")}
    assert of_scanner == {"lensweep.scanner.work.scan", "lensweep.scanner.work.dispatch"}
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
        "import sys, lensweep\n"
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
