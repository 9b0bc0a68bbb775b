"""A file system that knows no locks, as some NFS mounts: a scan asks for none."""

import json
import subprocess
import sys
from pathlib import Path

from lock_watch import LOCKING


def test_a_scan_locks_nothing_in_its_folder(tiny_bundle, field, tmp_path):
    """Of its driver, scheduler and worker, which are one process here."""
    watch = Path(__file__).with_name("lock_watch.py")
    ran = subprocess.run(
        [sys.executable, str(watch), str(field), str(tmp_path / "run"), str(tiny_bundle)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    seen = [(event, Path(path)) for event, path in json.loads(ran.stdout.splitlines()[-1])]
    # The watch itself works.
    assert ("fcntl.flock", tmp_path / "watched") in seen
    locked = [path for event, path in seen if event in LOCKING]
    assert not [path for path in locked if path.is_relative_to(tmp_path / "run")]
    assert field not in locked
