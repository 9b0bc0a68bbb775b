"""How long a scan would take: some of its own windows are cut and judged, and the clock read."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.files import is_remote
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.plan import Plan, read_windows
from lensweep.scanner.sky.cutouts import cut_windows

# Neighbours are cut together, as in a scan; pieces of sky from all over tell how much of it is
# empty.
BLOCKS, BLOCK = 12, 16


@dataclass(frozen=True)
class Estimate:
    """What some windows of a scan came to, in one process.

    Attributes
    ----------
    windows : int
        How many were tried.
    masked, screened, scored : float
        Which shares of them have too little data, are passed over, or see the whole ensemble.
    seconds_per_window : float
        Of cutting and judging, masked ones included.
    """

    windows: int
    masked: float
    screened: float
    scored: float
    seconds_per_window: float


def estimate(
    root: Path, plans: Sequence[Plan], bundle: Bundle, config: ScanConfig
) -> Estimate | None:
    """Try some windows of mosaics whose pixels are here; None if those of none are.

    Parameters
    ----------
    root : Path
        Where the plans' windows are kept.
    plans : sequence of Plan
    bundle : Bundle
    config : ScanConfig
    """
    here = [one for one in plans if one.n_windows and not is_remote(one.mosaic.pixels_path)]
    if not here:
        return None
    loaded = Ensemble(bundle, config.precision, config.screen)
    begin = time.perf_counter()
    cut = [cut_windows(plan.mosaic, plan.grid, corners) for plan, corners in _blocks(root, here)]
    seconds = time.perf_counter() - begin
    flux, valid = (np.concatenate(parts) for parts in zip(*cut, strict=True))
    usable = (valid >= config.min_valid_fraction) & (valid > 0.0)
    # The first time a network also makes itself ready.
    loaded.judge(flux[usable])
    begin = time.perf_counter()
    scored = int(loaded.judge(flux[usable]).scored.sum())
    seconds += time.perf_counter() - begin
    n, seen = len(flux), int(usable.sum())
    return Estimate(n, (n - seen) / n, (seen - scored) / n, scored / n, seconds / n)


def _blocks(root: Path, plans: Sequence[Plan]) -> list[tuple[Plan, NDArray[np.int32]]]:
    """Corners of blocks of neighbouring windows, spread evenly over all that are planned."""
    ends = np.cumsum([plan.n_windows for plan in plans])
    n = min(BLOCKS, -(-int(ends[-1]) // BLOCK))
    found = []
    for place in (np.arange(n) + 0.5) / n * ends[-1]:
        number = int(np.searchsorted(ends, place, side="right"))
        plan = plans[number]
        start = int(place) - int(ends[number]) + plan.n_windows - BLOCK // 2
        start = max(0, min(start, plan.n_windows - BLOCK))
        corners = read_windows(root, plan.mosaic.name).corners[start : start + BLOCK]
        found.append((plan, corners))
    return found
