"""How far a long run is: bars on a terminal, plain lines in a log file, both on stderr.

In a notebook it is one output of the cell, which is written again and again.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich import progress as bars
from rich.table import Column
from rich.text import Text

from lensweep.ground.loudness import Loudness, loudness
from lensweep.ground.terminal import in_notebook, plain_console, visible

SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """What a run tells of itself."""

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        """Begin a stage of `total` units, `done` of them by an earlier run; its number."""

    def advance(self, stage: int, n: int) -> None:
        """Say that n more units of a stage are done."""

    def note(self, text: str) -> None:
        """Write a line of its own."""


@contextmanager
def open_progress(console_is_terminal: bool | None = None) -> Iterator[Progress]:
    """Show the progress of a run on stderr, until the block ends.

    Parameters
    ----------
    console_is_terminal : bool, optional
        Bars if true, plain lines if false; by default what stderr is, and lines among those of a
        log. A command that is to be quiet shows neither.
    """
    if loudness() is Loudness.QUIET:
        yield _Silence()
        return
    terminal = sys.stderr.isatty() and loudness() is not Loudness.VERBOSE
    terminal = terminal if console_is_terminal is None else console_is_terminal
    if terminal:
        console = plain_console(stderr=True, force_terminal=True)
        with bars.Progress(*_columns(), console=console) as rich_progress:
            yield _Bars(rich_progress)
        return
    show = cell_output() if console_is_terminal is None else None
    lines = (
        PlainProgress(sys.stderr, time.monotonic)
        if show is None
        else NotebookProgress(show, time.monotonic)
    )
    try:
        yield lines
    finally:
        lines.close()


@dataclass
class _Stage:
    name: str
    unit: str
    total: int
    resumed: int
    done: int
    started: float
    written: float
    closed: bool = False


class PlainProgress:
    """Progress as lines of text, at most one every few seconds and one at a stage's end.

    Parameters
    ----------
    stream : text stream
    clock : callable
        Seconds that never run backwards.
    """

    seconds_between = SECONDS_BETWEEN_LINES

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._stages: list[_Stage] = []

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        """Begin a stage of `total` units, `done` of them by an earlier run; its number."""
        now = self._clock()
        self._stages.append(_Stage(name, unit, total, done, done, now, now))
        self.advance(len(self._stages) - 1, 0)
        return len(self._stages) - 1

    def advance(self, stage: int, n: int) -> None:
        """Say that n more units of a stage are done."""
        state, now = self._stages[stage], self._clock()
        state.done += n
        if state.closed:
            return
        if state.done >= state.total:
            self._finish(state)
        elif now - state.written >= self.seconds_between:
            state.written = now
            rate = _rate(state, now)
            left = (state.total - state.done) / rate if rate else None
            self._write(state, rate, "" if left is None else f"{duration(left)} left")

    def note(self, text: str) -> None:
        """Write a line of its own."""
        print(visible(text), file=self._stream, flush=True)

    def close(self) -> None:
        """Write the last line of every stage that has not come to its end."""
        for state in self._stages:
            if not state.closed:
                self._finish(state)

    def _finish(self, state: _Stage) -> None:
        state.closed = True
        now = self._clock()
        took = duration(now - state.started)
        if state.done < state.total:
            ending = f"stopped after {took}"
        elif state.done == state.resumed:
            ending = "nothing to do"
        else:
            ending = f"done in {took}"
        self._write(state, _rate(state, now), ending)

    def _write(self, state: _Stage, rate: float | None, ending: str) -> None:
        amount = _amount(state.done, state.total, state.unit)
        line = _line(f"{state.name:<9}", amount, _speed(rate, state.unit), ending)
        self._write_stage(self._stages.index(state), line)

    def _write_stage(self, stage: int, line: str) -> None:
        self.note(line)


class NotebookProgress(PlainProgress):
    """Progress as one text that changes: a line for each stage, and the notes.

    Parameters
    ----------
    show : callable
        Takes the text, in the place of what it was given before.
    clock : callable
        Seconds that never run backwards.
    """

    seconds_between = 0.5

    def __init__(self, show: Callable[[str], object], clock: Callable[[], float]) -> None:
        super().__init__(sys.stderr, clock)
        self._show = show
        # In the order in which they came: stages by their number, notes by None.
        self._lines: list[tuple[int | None, str]] = []

    def note(self, text: str) -> None:
        """Write a line of its own."""
        self._write_line(None, visible(text))

    def _write_stage(self, stage: int, line: str) -> None:
        self._write_line(stage, line)

    def _write_line(self, stage: int | None, line: str) -> None:
        known = [number for number, _ in self._lines]
        if stage is not None and stage in known:
            self._lines[known.index(stage)] = (stage, line)
        else:
            self._lines.append((stage, line))
        self._show("\n".join(text for _, text in self._lines))


def cell_output() -> Callable[[str], object] | None:
    """What replaces the text of an output of the notebook's cell that runs; None elsewhere."""
    # rich's own bars need ipywidgets there, and are not kept in the notebook's file.
    if not in_notebook():
        return None
    from IPython.display import DisplayHandle

    handle = DisplayHandle()
    handle.display({"text/plain": ""}, raw=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)


class _Silence:
    """Progress that nobody wants to hear of."""

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        return 0

    def advance(self, stage: int, n: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Bars:
    """Progress as bars on a terminal."""

    def __init__(self, rich_progress: bars.Progress) -> None:
        self._rich = rich_progress

    def stage(self, name: str, total: int, done: int = 0, unit: str = "windows") -> int:
        task = self._rich.add_task(name, total=total, completed=done, unit=unit)
        # Only an update tells rich that a stage without work is finished.
        self._rich.update(task, advance=0)
        return int(task)

    def advance(self, stage: int, n: int) -> None:
        self._rich.update(bars.TaskID(stage), advance=n)

    def note(self, text: str) -> None:
        self._rich.console.print(text)


class _Status(bars.ProgressColumn):
    """The words of a plain line, beside the bar."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: bars.Task) -> Text:
        left = task.time_remaining
        ending = "" if left is None else f"{duration(left)} left"
        if task.finished:
            ending = f"done in {duration(task.finished_time or 0.0)}"
        unit = task.fields["unit"]
        speed = _speed(task.finished_speed or task.speed, unit)
        return Text(_line(_amount(int(task.completed), int(task.total or 0), unit), speed, ending))


def _columns() -> tuple[bars.ProgressColumn, ...]:
    name = bars.TextColumn("{task.description:<9}", markup=False)
    return name, bars.BarColumn(bar_width=None), _Status()


def duration(seconds: float) -> str:
    """Seconds in words, no finer than needed: `8 s`, `12 min`, `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60.0)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def _rate(state: _Stage, now: float) -> float | None:
    """Windows a second of this run; None before there is one."""
    done, elapsed = state.done - state.resumed, now - state.started
    return done / elapsed if done and elapsed > 0.0 else None


def _line(*parts: str) -> str:
    return "   ".join(part for part in parts if part)


def _amount(done: int, total: int, unit: str) -> str:
    return f"{done:,} / {total:,} {unit}"


def _speed(rate: float | None, unit: str) -> str:
    if not rate:
        return ""
    return f"{rate:,.0f} {unit}/s" if rate >= 10.0 else f"{rate:.2g} {unit}/s"
