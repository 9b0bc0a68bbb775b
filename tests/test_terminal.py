"""What is shown of names and messages that come from outside."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from lensweep.ground.progress import PlainProgress, open_progress
from lensweep.ground.terminal import say, visible, wide_console

ROOT = Path(__file__).resolve().parent.parent

NAMES = [
    ("[red]run[/red]", "[red]run[/red]"),  # markup
    ("a[/]b", "a[/]b"),  # markup that closes nothing: MarkupError
    ("[link=http://x]a", "[link=http://x]a"),
    (":star: 1234 None", ":star: 1234 None"),  # an emoji's code, and what is highlighted
    ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),  # colours a terminal, and rings its bell
    ("caf\udce9.fits", "caf\\udce9.fits"),  # a byte of Latin-1 in a file's name
    ("a\u202eb", "a\\u202eb"),  # reads backwards from here
    ("a\rb", "a\\rb"),  # overwrites the line
    ("two\n\tlines, θ_E 1.2″", "two\n\tlines, θ_E 1.2″"),  # of ours
]


@pytest.mark.parametrize(("name", "shown"), NAMES)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_names_as_they_are(name, shown, terminal):
    stream = io.StringIO()
    console = wide_console(file=stream, force_terminal=terminal, color_system=None)
    console.print(f"wrote {name}", style="red" if terminal else "")
    assert f"wrote {shown}".expandtabs() in stream.getvalue()


@pytest.mark.parametrize(("name", "shown"), NAMES[:-1])
def test_tables_show_names_as_they_are(name, shown):
    stream = io.StringIO()
    table = Table(title=f"title {name}")
    table.add_column(f"column {name}")
    table.add_row(f"cell {name}")
    wide_console(file=stream).print(table)
    for part in ("title", "column", "cell"):
        assert f"{part} {shown}" in stream.getvalue()


@pytest.mark.parametrize(("name", "shown"), NAMES)
def test_lines_and_notes_show_names_as_they_are(name, shown, capsys):
    say(f"wrote {name}")
    say(f"lensweep: {name}", err=True)
    stream = io.StringIO()
    PlainProgress(stream, lambda: 0.0).note(f"note {name}")
    with open_progress(console_is_terminal=True) as progress:
        progress.note(f"note {name}")
    out, err = capsys.readouterr()
    assert out == f"wrote {shown}\n"
    assert f"lensweep: {shown}\n" in err
    assert stream.getvalue() == f"note {shown}\n"
    assert f"note {shown}".expandtabs() in err


def test_what_is_visible_already_stays():
    assert visible("J1000+0221 ① — naïve\u00a0日本 ′″·±") == "J1000+0221 ① — naïve\u00a0日本 ′″·±"


def test_a_log_without_utf_8_ends_no_command(tmp_path):
    """Names and units outside of its letters are spelled out."""
    script = (
        "import sys\nfrom lensweep.__main__ import main\n"
        "sys.argv = ['lensweep', 'example', 'gal\\u03b8xy']\n"
        "main()\n"
    )
    folder = tmp_path / "galθxy"
    folder.mkdir()
    (folder / "hst_99999_01_acs_wfc_f814w_drz.fits").touch()
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "gal\\u03b8xy" in ran.stdout
    assert "is there already" in ran.stdout


def test_all_that_is_printed_goes_one_way():
    """Another console, `print` or `echo` would read names as a language of its own."""
    printers = {
        path.name
        for floor in ("catalogs", "deploy", "scanner", "training", "lensweep")
        for path in (ROOT / floor).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") or getattr(node.func, "id", ""))
        in {"Console", "echo", "secho", "rprint"}
    }
    assert printers == {"terminal.py"}
