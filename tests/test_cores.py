import os
import subprocess
import sys
from pathlib import Path

import pytest

from lensweep.deploy.cores import usable_cores

ROOT = Path(__file__).resolve().parent.parent


def test_a_system_without_affinity(monkeypatch):
    """macOS has none."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert 1 <= usable_cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_cores_that_a_process_is_kept_to():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from lensweep.deploy.cores import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_nobody_else_asks():
    for layer in ("catalogs", "deploy", "lensweep", "scanner", "training"):
        for path in (ROOT / layer).glob("**/*.py"):
            assert "sched_getaffinity" not in path.read_text()
            assert "os.cpu_count" not in path.read_text()
