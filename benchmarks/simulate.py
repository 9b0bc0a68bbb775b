"""How many cutouts a second the simulation draws.

    python benchmarks/simulate.py [N] [PROCESSES]

Draws N cutouts (1,500) of the usual mix on that many processes (2), each with a PSF bank of its own
that is made before the clock starts, and prints the rate with the machine.
"""

import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

SEED, CHUNK = 2018, 50


def main(n_cutouts: int, n_processes: int) -> None:
    """Print the rate."""
    # One thread a process, as the workers of a cluster have.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    spawn = get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=spawn) as pool:
        began = time.monotonic()
        # As many as there are processes, all at once, so that each gets one.
        list(pool.map(prepare, range(n_processes)))
        ready = time.monotonic()
        chunks = [(first, min(CHUNK, n_cutouts - first)) for first in range(0, n_cutouts, CHUNK)]
        counts = list(pool.map(draw, [n_cutouts] * len(chunks), chunks))
        took = time.monotonic() - ready
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}")
    print(f"PSF bank: {ready - began:.1f} s, once a process")
    print(f"{sum(counts):,} cutouts on {n_processes} processes in {took:.1f} s: "
          f"{sum(counts) / took:.0f} cutouts/s")  # fmt: skip


def prepare(number: int) -> int:
    """Import, and make the PSF bank of this process."""
    from lensweep.training.simulation.simulate import psf_bank

    bank = psf_bank(SEED)
    # Long enough that no process is handed two of these.
    time.sleep(1.0)
    return len(bank)


def draw(n_cutouts: int, chunk: tuple[int, int]) -> int:
    """Draw a part of the data set."""
    from lensweep.training.simulation.simulate import plan_kinds, simulate

    first, count = chunk
    kinds = plan_kinds(n_cutouts, SEED)[first : first + count]
    return sum(1 for _ in simulate(kinds, SEED, first))


def machine() -> str:
    """Processor and number of cores."""
    info = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [1500, 2][len(numbers) :]))
