"""Ways to do one thing, against each other in one interleaved run.

Every way lives in a process of its own, started by spawn, so that its peak memory is its own. They
take turns: one round of all, then the next, so that what else the machine does hits all alike.
"""

import multiprocessing
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

Work = Callable[[], float]


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes
    ----------
    name : str
    prepare : callable
        Called in the way's process; loads what is not timed and returns the work, which returns
        how much it did. An `ImportError` means that the way is not installed.
    arguments : tuple
        Of `prepare`.
    scratch : str
        A folder that is made before and removed after every turn, untimed; empty for none.
    """

    name: str
    prepare: Callable[..., Work]
    arguments: tuple[Any, ...] = ()
    scratch: str = ""


@dataclass
class Runs:
    """What came of a way.

    Attributes
    ----------
    name : str
    seconds, cpu_seconds : list of float
        Per unit of work, one entry a round.
    peak_bytes : int
        Largest resident memory of its process.
    skipped : str
        Why it did not run; empty if it did.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    skipped: str = ""

    @property
    def rate(self) -> float:
        """Median of units a second."""
        return float(1.0 / np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Half the range of the rounds between the quartiles, as a share of the median."""
        low, middle, high = np.percentile(self.seconds, [25, 50, 75])
        return float((high - low) / 2.0 / middle)

    @property
    def cpu_rate(self) -> float:
        """Median of units per CPU-second."""
        return float(1.0 / np.median(self.cpu_seconds))


def contest(ways: Sequence[Way], rounds: int) -> dict[str, Runs]:
    """Let all ways take turns.

    Parameters
    ----------
    ways : sequence of Way
    rounds : int
        Beside one first round that does not count.
    """
    context = multiprocessing.get_context("spawn")
    results, open_ways = {}, []
    for way in ways:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, way), daemon=False)
        process.start()
        there.close()
        results[way.name] = Runs(way.name, skipped=here.recv())
        if not results[way.name].skipped:
            open_ways.append((way.name, here, process))
    for number in range(rounds + 1):
        for name, pipe, _ in open_ways:
            pipe.send(True)
            amount, seconds, cpu_seconds, peak = pipe.recv()
            if number:
                results[name].seconds.append(seconds / amount)
                results[name].cpu_seconds.append(cpu_seconds / amount)
            results[name].peak_bytes = max(results[name].peak_bytes, peak)
    for _, pipe, process in open_ways:
        pipe.send(False)
        process.join()
    return results


def _serve(pipe: Connection, way: Way) -> None:
    try:
        work = way.prepare(*way.arguments)
    except ImportError as error:
        pipe.send(f"{error.name} is not installed")
        return
    pipe.send("")
    while pipe.recv():
        if way.scratch:
            Path(way.scratch).mkdir()
        begin, cpu = time.perf_counter(), _cpu_seconds()
        amount = work()
        seconds, spent = time.perf_counter() - begin, _cpu_seconds() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if way.scratch:
            shutil.rmtree(way.scratch)
        pipe.send((amount, seconds, spent, peak))


def _cpu_seconds() -> float:
    """Of this process, of its children that have ended, and of those that live."""
    own, ended = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    living = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    spent = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    return float(spent + sum(times.user + times.system for times in living))


def machine() -> str:
    """The machine, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        named = (line.split(": ")[1] for line in lines if line.startswith("model name"))
        model = next(named, model)
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory().total / 2**30
    return (f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} "
            f"{platform.release()}, Python {platform.python_version()}")  # fmt: skip


def print_table(results: dict[str, Runs], unit: str, reference: str) -> None:
    """Print medians, spread and ratios to one of the ways, as Markdown."""
    print(f"\n{machine()}\n")
    print(f"| way | {unit}/s | spread | {unit} per CPU-second | × {reference} | peak memory |")
    print("|---|---|---|---|---|---|")
    base = results[reference]
    for runs in results.values():
        if runs.skipped:
            print(f"| {runs.name} | skipped: {runs.skipped} | | | | |")
            continue
        ratio = "" if base.skipped else f"{runs.rate / base.rate:.2f}"
        print(f"| {runs.name} | {runs.rate:,.1f} | {runs.spread:.0%} | {runs.cpu_rate:,.1f} | "
              f"{ratio} | {runs.peak_bytes / 1e9:.2f} GB |")  # fmt: skip
