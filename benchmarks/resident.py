"""Run a command, and sample the memory of it and of all its children."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.25


@dataclass(frozen=True)
class Ran:
    """What a command took.

    Attributes
    ----------
    status : int
        Exit status.
    seconds : float
    resident_bytes : int
        Peak sum of what is resident of each process; pages that several map count for each.
    proportional_bytes : int
        Peak sum of proportional set sizes: a page that several processes map counts once. This is
        the memory that a machine must have. 0 where the system does not tell.
    """

    status: int
    seconds: float
    resident_bytes: int
    proportional_bytes: int


def run(command: list[str], folder: Path | None = None) -> Ran:
    """Run a command to its end."""
    begin, resident, proportional = time.perf_counter(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) as process:
        while process.poll() is None:
            rss, pss = _memory(process.pid)
            resident, proportional = max(resident, rss), max(proportional, pss)
            time.sleep(SAMPLE_S)
    seconds = time.perf_counter() - begin
    return Ran(int(process.returncode), seconds, resident, proportional)


def _memory(pid: int) -> tuple[int, int]:
    resident = proportional = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # ended just now
            continue
        resident += memory.rss
        proportional += getattr(memory, "pss", 0)
    return resident, proportional
