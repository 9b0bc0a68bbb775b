import io
import os
import socket
import time
from types import SimpleNamespace

import pytest

from lensweep.ground.kept_progress import RECORD, KeptProgress, keep_progress, read_kept
from lensweep.ground.progress import PlainProgress


@pytest.fixture
def kept(tmp_path):
    """Kept progress, a clock that is moved by hand, and what is kept by now."""
    clock = SimpleNamespace(now=1000.0)
    shown = PlainProgress(io.StringIO(), lambda: clock.now)
    return KeptProgress(shown, tmp_path / RECORD, lambda: clock.now), clock


def test_who_asks_elsewhere_is_told(kept, tmp_path):
    progress, clock = kept
    assert read_kept(tmp_path) is None
    stage = progress.stage("simulating", 4000, done=1000, unit="cutouts")
    clock.now += 10.0
    progress.advance(stage, 500)
    found = read_kept(tmp_path)
    assert (found.host, found.pid) == (socket.gethostname(), os.getpid())
    (only,) = found.stages
    # Of this command: what an earlier one did says nothing of its pace.
    assert only.rate == pytest.approx(50.0)
    assert str(only) == "simulating 1,500 of 4,000 cutouts, 50 s left at the present rate"
    assert "at work" in found.state
    progress.advance(stage, 2500)
    progress.end(True)
    assert read_kept(tmp_path).state == "finished"
    assert str(read_kept(tmp_path).stages[0]) == "simulating 4,000 of 4,000 cutouts"


def test_a_process_that_is_gone_is_not_at_work(kept, tmp_path):
    progress, _ = kept
    progress.stage("simulating", 10)
    record = tmp_path / RECORD
    record.write_text(record.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {2**22 + 1}'))
    assert "its process is gone" in read_kept(tmp_path).state


def test_a_command_that_is_stopped_says_so(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), keep_progress(tmp_path) as progress:
        progress.stage("simulating", 10)
        raise KeyboardInterrupt
    assert "stopped: repeat it" in read_kept(tmp_path).state


def test_nothing_is_kept_of_what_did_not_begin(tmp_path):
    with pytest.raises(ValueError, match="unfit"), keep_progress(tmp_path):
        raise ValueError("unfit")
    assert list(tmp_path.iterdir()) == []


def test_status_of_a_data_set(command, tmp_path, client):
    """As of any command that takes minutes: its folder is asked for."""
    out = tmp_path / "set"
    asked = ("simulate", "--n", 4, "--out", out, "--cluster", client.scheduler.address)
    assert command(*asked)[0] in (0, None)
    _, shown = command("status", out)
    assert "finished" in shown
    assert "4 of 4 cutouts" in shown
    assert time.time() - read_kept(out).heard < 600.0
