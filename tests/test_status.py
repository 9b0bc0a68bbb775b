import json
import os
import time

import pytest

from lensweep.ground.atomic import write_json
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.status import read_status, show_status


@pytest.fixture
def half_done(tmp_path):
    """A run of two mosaics, a hundred windows planned, three shards of ten done 2 s apart."""
    paths = RunPaths(tmp_path / "run")
    write_json(paths.run, {"asked": {"mosaics": ["a.fits", "b.fits"]}})
    write_json(paths.plan("a"), {"n_windows": 100})
    now = time.time()
    os.utime(paths.run, (now - 100, now - 100))
    for shard in range(3):
        write_json(paths.score_marker("a", shard), {"scored": 7, "screened": 1, "masked": 2})
        when = now - 10 + 2 * shard
        os.utime(paths.score_marker("a", shard), (when, when))
    write_json(paths.failure("a", 3), {"reason": "OSError: gone", "windows": 10})
    return paths


def test_counts_and_time_left(half_done):
    status = read_status(half_done.root)
    tally = status.tally
    assert (tally.planned, tally.scored, tally.masked, tally.failed) == (100, 21, 6, 10)
    assert (tally.screened, tally.seen) == (3, 24)
    assert tally.waiting == 60
    assert (status.mosaics_asked, status.mosaics_planned) == (2, 1)
    # Two shards of ten windows in four seconds.
    assert status.windows_per_second == pytest.approx(5.0, rel=1e-3)
    assert status.seconds_left == pytest.approx(12.0, rel=1e-3)
    assert status.seconds_since_last == pytest.approx(6.0, abs=5.0)
    assert not status.finished


def test_an_earlier_attempt_does_not_slow_the_rate(half_done):
    """The run was continued after the first shard: only the two later ones tell its speed."""
    second = half_done.score_marker("a", 1).stat().st_mtime
    first = second - 3600
    os.utime(half_done.score_marker("a", 0), (first, first))
    os.utime(half_done.run, (second - 1, second - 1))
    assert read_status(half_done.root).windows_per_second == pytest.approx(5.0, rel=1e-3)


def test_while_only_cutting(half_done, capsys):
    """Workers load their networks while others cut: the run is not idle."""
    for shard in range(3):
        half_done.score_marker("a", shard).unlink()
    half_done.failure("a", 3).unlink()
    now = time.time()
    for shard in range(4):
        write_json(half_done.cut_marker("a", shard), {"windows": 10})
        os.utime(half_done.cut_marker("a", shard), (now - 10 + shard, now - 10 + shard))
    status = read_status(half_done.root)
    assert (status.cut, status.tally.waiting, status.only_cutting) == (40, 100, True)
    assert status.windows_per_second == pytest.approx(10.0, rel=1e-3)
    assert status.seconds_left is None
    show_status(half_done.root)
    shown = capsys.readouterr().out
    assert "cut       40 windows" in shown
    assert "last      shard cut" in shown
    assert "10 windows/s, cut" in shown
    # Once one is scored, the pace is that of scoring.
    write_json(half_done.score_marker("a", 0), {"scored": 7, "screened": 1, "masked": 2})
    status = read_status(half_done.root)
    assert (status.cut, status.only_cutting, status.windows_per_second) == (40, False, None)


def test_before_the_first_shard(tmp_path):
    paths = RunPaths(tmp_path)
    write_json(paths.run, {"asked": {"mosaics": ["a.fits"]}})
    status = read_status(tmp_path)
    assert (status.windows_per_second, status.seconds_left) == (None, None)
    assert status.seconds_since_last is None
    assert not status.finished


def test_finished_means_all_mosaics(scan, field, tmp_path, capsys):
    outcome = scan([field], tmp_path / "run")
    assert read_status(outcome.paths.root).finished
    show_status(outcome.paths.root)
    shown = capsys.readouterr().out
    assert "scored    96 windows" in shown
    assert "finished  the catalogue is written" in shown
    # Begun anew after a shard was lost: the old catalogue does not make it finished.
    outcome.paths.score_marker("field_f814w_drz", 0).unlink()
    assert not read_status(outcome.paths.root).finished


def test_what_failed_is_shown_as_it_is(half_done, capsys):
    write_json(half_done.mosaic_failure("b"), {"reason": "mosaic b.fits: unknown units [x]"})
    show_status(half_done.root)
    shown = capsys.readouterr().out
    assert "failed    mosaic b.fits: unknown units [x]" in shown
    assert "5 windows/s, 12 s left" in shown
    assert json.loads(half_done.failure("a", 3).read_text())["windows"] == 10
