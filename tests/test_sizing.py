"""The table in docs/clusters.md is what its command prints."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def sizing(*arguments):
    ran = subprocess.run([sys.executable, ROOT / "benchmarks" / "sizing.py", *arguments],
                         capture_output=True, text=True, check=False)  # fmt: skip
    rows = [line.strip("│").split("│") for line in ran.stdout.splitlines() if line.startswith("│")]
    return ran, [[cell.strip() for cell in row] for row in rows]


def test_the_page_shows_what_the_command_prints():
    _, rows = sizing("600", "16")
    page = (ROOT / "docs" / "clusters.md").read_text()
    assert len(rows) == 2
    for row in rows:
        assert f"| {' | '.join(row)} |" in page


def test_the_formula():
    # 100 fields of 36 arcmin2, half of them blank, at 100 px of 0.05 arcsec: 144 windows/arcmin2.
    _, (row,) = sizing("1", "2", "--fields", "100", "--field-arcmin2", "36", "--valid", "0.5",
                       "--stride", "100", "--nodes", "3")  # fmt: skip
    windows = 100 * 36 * 0.5 * 144
    assert row == ["100", f"{windows:,.0f}", f"{windows * 40_000 / 1e9:,.1f} GB",
                   f"{windows / 6 / 3600:.2f}", "2"]  # fmt: skip


@pytest.mark.parametrize("arguments", [("0", "16"), ("10", "0"), ("10", "16", "--valid", "0")])
def test_nothing_is_divided_by_zero(arguments):
    ran, _ = sizing(*arguments)
    assert ran.returncode == 2
    assert "must be positive" in ran.stderr
