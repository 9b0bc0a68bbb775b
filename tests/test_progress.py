import io
from types import SimpleNamespace

import pytest

from lensweep.ground.progress import NotebookProgress, PlainProgress, duration, open_progress


@pytest.fixture
def plain():
    """Plain progress, a clock that is moved by hand, and what has been written."""
    stream, clock = io.StringIO(), SimpleNamespace(now=100.0)
    lines = PlainProgress(stream, lambda: clock.now)
    return lines, clock, lambda: stream.getvalue().splitlines()


def test_lines_come_every_few_seconds(plain):
    progress, clock, lines = plain
    stage = progress.stage("cutting", 3481)
    assert lines() == []
    for _ in range(4):
        clock.now += 1.0
        progress.advance(stage, 256)
    assert lines() == []
    clock.now += 1.0
    progress.advance(stage, 256)
    assert lines() == ["cutting     1,280 / 3,481 windows   256 windows/s   9 s left"]
    clock.now += 1.0
    progress.advance(stage, 256)
    assert len(lines()) == 1


def test_last_line_is_always_written(plain):
    progress, clock, lines = plain
    stage = progress.stage("scoring", 100)
    clock.now += 2.0
    progress.advance(stage, 100)
    progress.close()
    assert lines() == ["scoring     100 / 100 windows   50 windows/s   done in 2 s"]


def test_unfinished_stage_says_where_it_stopped(plain):
    progress, clock, lines = plain
    stage = progress.stage("scoring", 100)
    clock.now += 4.0
    progress.advance(stage, 10)
    progress.close()
    assert lines() == ["scoring     10 / 100 windows   2.5 windows/s   stopped after 4 s"]


@pytest.mark.parametrize(
    ("total", "done"),
    [(0, 0), (3481, 3481)],  # an empty plan, and a stage that an earlier run has done
)
def test_nothing_to_do(plain, total, done):
    progress, _, lines = plain
    progress.stage("cutting", total, done)
    progress.close()
    assert lines() == [f"cutting     {total:,} / {total:,} windows   nothing to do"]


def test_resumed_windows_do_not_count_as_speed(plain):
    progress, clock, lines = plain
    stage = progress.stage("scoring", 1000, done=900)
    clock.now += 10.0
    progress.advance(stage, 50)
    assert lines() == ["scoring     950 / 1,000 windows   5 windows/s   10 s left"]


def test_stages_run_side_by_side(plain):
    progress, clock, lines = plain
    cutting, scoring = progress.stage("cutting", 10), progress.stage("scoring", 10)
    clock.now += 1.0
    progress.advance(cutting, 10)
    progress.note("mosaic a: 3 candidates")
    progress.advance(scoring, 10)
    assert [line.split()[0] for line in lines()] == ["cutting", "mosaic", "scoring"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (8.4, "8 s"),
        (99.0, "99 s"),
        (99.6, "2 min"),
        (3600.0, "60 min"),
        (3 * 3600 + 5 * 60, "3 h 05 min"),
        (1000 * 3600, "1,000 h 00 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_plain_lines_go_to_stderr(capsys):
    with open_progress(console_is_terminal=False) as progress:
        stage = progress.stage("cutting", 2048)
        progress.advance(stage, 1024)
        progress.advance(stage, 1024)
        progress.note("[bold]as it is[/bold]")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("cutting     2,048 / 2,048 windows")
    assert second == "[bold]as it is[/bold]"


def test_what_is_no_terminal_gets_plain_lines(capsys):
    with open_progress() as progress:
        progress.stage("cutting", 0)
    assert "\x1b" not in capsys.readouterr().err


def test_failure_leaves_a_last_line(capsys):
    with pytest.raises(RuntimeError), open_progress(console_is_terminal=False) as progress:
        progress.advance(progress.stage("cutting", 10), 4)
        raise RuntimeError
    assert "cutting     4 / 10 windows" in capsys.readouterr().err


def test_bars_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with open_progress(console_is_terminal=True) as progress:
        cutting = progress.stage("cutting", 3481, done=1000)
        progress.stage("merging", 0)
        progress.advance(cutting, 2481)
        progress.note("[bold]as it is[/bold]")
        progress.advance(progress.stage("scoring", 3481), 256)
    out, err = capsys.readouterr()
    assert out == ""
    assert "[bold]as it is[/bold]" in err
    # The last frame holds a bar per stage.
    *_, cut, merged, scored = [line for line in err.splitlines() if " windows" in line]
    assert "3,481 / 3,481 windows" in cut
    assert "done in" in cut
    assert "0 / 0 windows" in merged
    assert "256 / 3,481 windows" in scored


def test_a_notebook_has_one_text_that_changes():
    """A line for each stage, in the order in which they began, and the notes."""
    shown, clock = [], SimpleNamespace(now=100.0)
    progress = NotebookProgress(shown.append, lambda: clock.now)
    progress.note("dashboard: http://127.0.0.1:1/status")
    cutting, scoring = progress.stage("cutting", 100), progress.stage("scoring", 100)
    for _ in range(4):
        clock.now += 1.0
        progress.advance(cutting, 25)
    clock.now += 6.0
    progress.advance(scoring, 50)
    assert shown[-1].splitlines() == [
        "dashboard: http://127.0.0.1:1/status",
        "cutting     100 / 100 windows   25 windows/s   done in 4 s",
        "scoring     50 / 100 windows   5 windows/s   10 s left",
    ]
    progress.close()
    assert shown[-1].splitlines()[2].endswith("stopped after 10 s")
    assert len(shown[-1].splitlines()) == 3
