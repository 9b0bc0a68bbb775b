"""Wait, a bounded time, for room on a disk that is full."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lensweep.ground.errors import TryAgainError
from lensweep.ground.progress import Progress, duration

T = TypeVar("T")
# What can get better by itself, and what cannot.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = _FULL | {errno.EROFS}
BETWEEN_TRIES_S = 2.0


class StorageError(TryAgainError):
    """The run's folder cannot take more; what is there is whole."""


class Patience:
    """Waits for room, at most so long without anything being written.

    Parameters
    ----------
    root : Path
        The run's folder.
    limit_s : float
    progress : Progress
    """

    def __init__(self, root: Path, limit_s: float, progress: Progress) -> None:
        self._root, self._limit_s, self._progress = root, limit_s, progress
        self._since: float | None = None

    def wait(self, error: OSError) -> None:
        """Wait a little before the next try.

        Raises
        ------
        StorageError
            If waiting does not help, or has not helped for so long.
        """
        now = time.monotonic()
        waited = 0.0 if self._since is None else now - self._since
        if error.errno not in _FULL or waited >= self._limit_s:
            raise StorageError(
                f"output folder {self._root}: {error.strerror}; what is written is whole: make "
                "room and repeat the command to continue"
            ) from error
        if self._since is None:
            self._since = now
            self._progress.note(
                f"output folder {self._root}: {error.strerror}; waiting up to "
                f"{duration(self._limit_s)} for room"
            )
        time.sleep(min(BETWEEN_TRIES_S, self._limit_s - waited))

    def over(self) -> None:
        """Say that something could be written again."""
        self._since = None

    def until_written(self, work: Callable[[], T]) -> T:
        """Do work that may be begun anew, again and again while there is no room for it."""
        while True:
            try:
                done = work()
            except OSError as error:
                if not is_unwritable(error):
                    raise
                self.wait(error)
            else:
                self.over()
                return done


def is_unwritable(error: BaseException) -> bool:
    """Whether an error says that the disk takes nothing more."""
    return isinstance(error, OSError) and error.errno in _UNWRITABLE
