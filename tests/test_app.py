"""What holds for every command: its habits."""

import re
from importlib.metadata import version

import pytest
import typer
from test_commands import command, scanning  # noqa: F401 - fixtures

from lensweep.commands.app import GROUPS, app


def leaves(group, name=""):
    """Every command, by what is typed."""
    for one, child in group.commands.items():
        called = f"{name} {one}".strip()
        if hasattr(child, "commands"):
            yield from leaves(child, called)
            if child.invoke_without_command:
                yield called, child
        else:
            yield called, child


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_called_alike_everywhere(name):
    flags = {flag for one in COMMANDS[name].params for flag in one.opts}
    assert {"--quiet", "-q", "--verbose", "-v"} <= flags
    for long, short in (("--out", "-o"), ("--centres", "--centers")):
        assert (long in flags) == (short in flags), f"{long} without {short}"


@pytest.mark.parametrize("words", [[], ["scan"], ["grades", "merge"], ["catalogs"]])
def test_help_is_a_letter_away(command, words):  # noqa: F811
    short, long = (command(*words, flag) for flag in ("-h", "--help"))
    assert short == long
    assert short[0] == 0


def test_commands_stand_in_groups(command):  # noqa: F811
    _, out, _ = command("--help")
    for panel in GROUPS:
        assert f"─ {panel} ─" in out
    # All of them: none is left under no heading.
    assert "─ Commands ─" not in out


def test_version(command):  # noqa: F811
    status, out, _ = command("--version")
    assert (status, out) == (0, f"lensweep {version('lensweep')}\n")


def test_quiet_says_the_result_and_verbose_all_that_is_done(
    command, scanning, field, tmp_path  # noqa: F811
):  # fmt: skip
    asked = ["scan", field, *scanning, "--windows-per-shard", 64]
    status, quiet, err = command(*asked, "-o", tmp_path / "quiet", "-q")
    assert (status, err) == (0, "")
    assert "112 windows planned = 96 scored" in quiet
    _, plain, err = command(*asked, "-o", tmp_path / "plain")
    assert "planning" in err
    assert "shard 0" not in err
    status, verbose, err = command(*asked, "-o", tmp_path / "verbose", "-v")
    assert status == 0
    assert re.search(r"\d\d:\d\d:\d\d  mosaic field_f814w_drz: shard 1 scored, 48 windows", err)
    # Said once, to stderr: the result is the same.
    assert quiet.replace("/quiet/", "/plain/") == plain
    assert verbose.replace("/verbose/", "/plain/") == plain


def test_errors_are_said_whatever(command, tmp_path):  # noqa: F811
    status, _, err = command("status", tmp_path, "-q")
    assert status == 2
    assert "no run in this folder" in err
    status, _, err = command("status", tmp_path, "-q", "-v")
    assert status == 2
    assert "--quiet and --verbose: give one" in err


@pytest.mark.filterwarnings("ignore")  # what Dask says of a cluster that is closed
def test_the_dashboard_is_told(command, field, estimator_bundle, tmp_path):  # noqa: F811
    pytest.importorskip("bokeh")
    status, _, err = command(
        "scan", field, "--out", tmp_path / "run", "--ensemble", estimator_bundle, "--workers", 1
    )
    assert status == 0
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+/status$", err, re.MULTILINE)
