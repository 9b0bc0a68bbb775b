"""One command at a time writes into a run's folder.

Who does is told by a file that is made only where there is none: `O_EXCL`, which NFS knows, or a
conditional put in an object store. No lock of the operating system is asked for: some file systems
have none. A command that was killed leaves the file; who comes next on the same host sees that the
process is gone. From another host it cannot be seen: there the file's holder counts as gone when
the file has not been touched for `GONE_S`, by the clock of who waits.
"""

import dataclasses
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.files import is_remote, make_folder, whole_file, written_at
from lensweep.scanner.run.paths import RunPaths

# How often a holder touches its file, and how long it may fail to before it counts as gone.
BEAT_S, GONE_S = 15.0, 90.0
POLL_S = 1.0
# Of two that take over at once the second has the file; the first sees so after this time.
SETTLE_S = 0.5
# A process' start is known to a hundredth of a second, by a clock that may be set meanwhile.
SAME_START_S = 2.0


class HeldError(TryAgainError):
    """Another command is at work in a run's folder."""


class LockLostError(TryAgainError):
    """Another command has taken a run's folder over: this one was taken for dead."""


@dataclass(frozen=True)
class Holder:
    """Who writes into a run's folder.

    Attributes
    ----------
    host : str
    pid : int
    started : float
        When the process began, seconds since 1970: numbers are used again.
    pids : str
        Among which processes the number counts: of which boot, and of which container.
    since : str
        When it began to hold the folder, UTC.
    token : str
        Unlike that of any other holder.
    """

    host: str
    pid: int
    started: float
    pids: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_gone(self) -> bool | None:
        """Whether its process has ended; None if that cannot be seen from here."""
        if (self.host, self.pids) != (socket.gethostname(), _pids()):
            return None
        if not psutil.pid_exists(self.pid):
            return True
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return bool(abs(process.create_time() - self.started) > SAME_START_S)
        except psutil.NoSuchProcess:  # just ended, or another user's where those are hidden
            return not psutil.pid_exists(self.pid)


@contextmanager
def sole_writer(
    paths: RunPaths, tell: Callable[[str], object] | None = None
) -> Iterator[Callable[[], None]]:
    """Hold a run's folder, which is made if it is not there, while the block runs.

    Parameters
    ----------
    paths : RunPaths
    tell : callable, optional
        Is told what is waited for; by default standard error is.

    Yields
    ------
    callable
        Raises `LockLostError` once another command has taken the folder over.

    Raises
    ------
    HeldError
        If another command holds it.
    InputError
        If the folder cannot be written to.
    """
    mine = json.dumps(dataclasses.asdict(_this_process()))
    try:
        is_new = not is_remote(paths.root) and not paths.root.exists()
        _acquire(paths, mine, tell or _say)
    except OSError as error:
        raise unwritable(paths.root, error) from error
    ended, lost = threading.Event(), threading.Event()
    beating = threading.Thread(target=_beat, args=(paths.lock, mine, ended, lost), daemon=True)
    beating.start()
    try:
        yield lambda: _confirm(paths, lost)
    finally:
        ended.set()
        beating.join()
        if _read(paths.lock) == mine:
            paths.lock.unlink(missing_ok=True)
        if is_new:
            # Nothing came of it.
            with suppress(OSError):
                paths.root.rmdir()


def read_holder(root: Path) -> Holder | None:
    """Who holds a run's folder, or was killed while holding it; None if nobody does."""
    text = _read(RunPaths(root).lock)
    return None if text is None else _holder(text)


def unwritable(root: Path, error: OSError) -> InputError:
    """What to say of a folder that cannot be written to."""
    return InputError(
        f"output folder {root}: cannot be written to ({error.strerror or error}); make room or "
        "name another"
    )


def _acquire(paths: RunPaths, mine: str, tell: Callable[[str], object]) -> None:
    make_folder(paths.root)
    while not _create(paths.lock, mine):
        found = _read(paths.lock)
        if found is None:  # released just now
            continue
        _refuse_alive(paths, found, tell)
        if _take_over(paths.lock, found, mine):
            return


def _create(path: Path, mine: str) -> bool:
    """Make the file if there is none; whether it was made."""
    try:
        with path.open("x") as file:
            file.write(mine)
    except FileExistsError:
        return False
    except OSError:
        # One without a word would keep everybody waiting.
        path.unlink(missing_ok=True)
        raise
    return True


def _refuse_alive(paths: RunPaths, found: str, tell: Callable[[str], object]) -> None:
    """Return when the holder is gone; watch for signs of life where that cannot be seen at once."""
    holder, before = _holder(found), _pulse(paths.lock)
    if holder is not None and holder.is_gone is not None:
        if holder.is_gone:
            return
        raise _held(paths, holder)
    who = holder or "somebody who has not written down who it is"
    tell(f"run {paths.root}: held by {who}; waiting up to {GONE_S:g} s for a sign of life")
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        time.sleep(min(POLL_S, GONE_S))
        after = _pulse(paths.lock)
        if after is None or (holder is None and after != before):
            return
        if holder is not None and after != before:
            raise _held(paths, holder)


def _held(paths: RunPaths, holder: Holder) -> HeldError:
    return HeldError(
        f"run {paths.root}: another command is at work in it ({holder}); wait for it, or end it, "
        "and repeat the command to continue"
    )


def _take_over(path: Path, found: str, mine: str) -> bool:
    """Put our record in place of one whose holder is gone; whether it stays there."""
    if _read(path) != found:
        return False
    with whole_file(path) as aside:
        aside.write_text(mine)
    time.sleep(SETTLE_S)
    return _read(path) == mine


def _beat(path: Path, mine: str, ended: threading.Event, lost: threading.Event) -> None:
    try:
        while not ended.wait(BEAT_S):
            # What a file system does not answer now it may answer in time.
            with suppress(OSError):
                if _read(path) != mine:
                    return
                if is_remote(path):
                    path.write_text(mine)
                else:
                    # Goes where the disk is full.
                    os.utime(path)
    finally:
        if not ended.is_set():
            lost.set()


def _confirm(paths: RunPaths, lost: threading.Event) -> None:
    if lost.is_set():
        holder = read_holder(paths.root)
        raise LockLostError(
            f"run {paths.root}: {holder or 'somebody'} has taken it over, since nothing was heard "
            f"of this command for {GONE_S:g} s; what is done stays done"
        )


def _read(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return None


def _pulse(path: Path) -> tuple[Any, ...] | None:
    """What changes when a file is touched; None if it is gone."""
    # To open it is what makes NFS ask its server how old it is.
    text = _read(path)
    with suppress(FileNotFoundError):
        return (text, *written_at(path))
    return None


def _holder(text: str) -> Holder | None:
    """The holder that a file names; None if it is half-written."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _this_process() -> Holder:
    return Holder(
        socket.gethostname(), os.getpid(), psutil.Process().create_time(), _pids(),
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), secrets.token_hex(8),
    )  # fmt: skip


def _pids() -> str:
    """Among which processes a number counts; hosts in a cloud, and containers, share their names.

    Empty where it cannot be told (macOS).
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
