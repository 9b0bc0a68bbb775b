"""A loaded ensemble: what it makes of cutouts, as fast as this machine can.

Blank windows are passed over, then a bundle's screen passes over those that hold no lens by its
far cheaper judgement; what is left sees the trunks, once for all members. What then looks like a
lens is looked at again.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.scanner.network.batch_size import CPU_BATCH, Batches, find_batch
from lensweep.scanner.network.blank import BLANK_SIGNAL_TO_NOISE, peak_of_noise_units
from lensweep.scanner.network.bundle_store import HEADS, SCREEN, SCREEN_HEAD, Bundle
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.network.networks import load_frozen, on_gpu, reduced_precision
from lensweep.scanner.network.second_look import TURNS, own_turns, turned
from lensweep.scanner.network.stretch import in_noise_units

FULL = "float32"
# A screen is so small that the cost of a call counts.
CPU_SCREEN_BATCH = 64
# A screen passes on a dozen windows of a shard: padding them to more would cost as much again.
CPU_FEW = 8
# Cutouts whose noise is looked at together: 5 MB, and as much again for each step.
_BLOCK = 128


@dataclass(frozen=True)
class LoadedTrunk:
    """A trunk, ready to run, and the heads of the members that read it.

    Attributes
    ----------
    network : Batches
    weights : ndarray, shape (features, members), float32
    biases : ndarray, shape (members,), float32
    second_look : float or None
        As of `lensweep.scanner.network.ensemble.Trunk`.
    """

    network: Batches
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    second_look: float | None

    def first_look(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, shape (n, members), of cutouts as they are."""
        return np.asarray(self.network(scaled) @ self.weights + self.biases, np.float32)

    def logits(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, shape (n, members), after a second look where the first is promising."""
        logits = self.first_look(scaled)
        if self.second_look is None:
            return logits
        again = np.flatnonzero(logits.mean(axis=1) >= self.second_look)
        if len(again):
            images = np.concatenate([turned(scaled[again], turn) for turn in range(1, TURNS)])
            others = self.first_look(images).reshape(TURNS - 1, len(again), -1)
            logits[again] = own_turns(np.concatenate([logits[again][None], others]))
        return logits


@dataclass(frozen=True)
class Verdicts:
    """What an ensemble makes of cutouts.

    Attributes
    ----------
    scored : ndarray, shape (n,), bool
        False where the cutout was passed over.
    logits : ndarray, shape (n, members), float32
        NaN where it was.
    screen_logit : ndarray, shape (n,), float32
        NaN where the screen did not look.
    peak_sn : ndarray, shape (n,), float32
        As of `lensweep.scanner.network.blank.peak_signal_to_noise`.
    """

    scored: NDArray[np.bool_]
    logits: NDArray[np.float32]
    screen_logit: NDArray[np.float32]
    peak_sn: NDArray[np.float32]


class Ensemble:
    """A loaded bundle, ready to score.

    Parameters
    ----------
    bundle : Bundle
    precision : str
        `full`: float32. `auto`: what this machine is faster in, where the bundle's own check has
        shown that the ranks stay. Otherwise the precision itself, checked or not.
    screen : str
        For `judge`. `off`: every cutout is scored. `on`: blank ones and those below the screen's
        threshold are not. `auto`: likewise, but with the bundle's screen only if it has one, and
        that is on by default.

    Raises
    ------
    EnsembleError
        If it has no screen, and that is to be used.
    """

    def __init__(self, bundle: Bundle, precision: str = "auto", screen: str = "auto") -> None:
        self.description = bundle.description
        self.precision = _precision(bundle, precision)
        self.skips_blank = screen != "off"
        reduced = None if self.precision == FULL else self.precision
        folder, stretch = Path(bundle.folder), bundle.description.stretch
        size = bundle.description.cutout_size

        def batches(name: str, cpu_batch: int) -> Batches:
            network = load_frozen(folder, name, reduced)
            batch = find_batch(network, (size, size, 3)) if on_gpu() else cpu_batch
            return Batches(network, stretch.of_noise_units, batch)

        screened = use_screen(bundle, screen)
        self._trunks: list[LoadedTrunk] = []
        with np.load(folder / HEADS, allow_pickle=False) as heads:
            for trunk in bundle.description.trunks:
                weights, biases = heads[f"{trunk.name}.weights"], heads[f"{trunk.name}.biases"]
                network = batches(trunk.name, CPU_FEW if screened else CPU_BATCH)
                self._trunks.append(LoadedTrunk(network, weights, biases, trunk.second_look))
        self.screen_threshold: float | None = None
        if screened and bundle.description.screen is not None:
            self.screen_threshold = bundle.description.screen.threshold
            with np.load(folder / SCREEN_HEAD, allow_pickle=False) as head:
                self._screen = batches(SCREEN, CPU_SCREEN_BATCH), head["weights"], head["bias"]

    def logits(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score cutouts with every member.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s; NaN where there is no data.

        Returns
        -------
        ndarray, shape (n, members), float32
            Log-odds of a lens, at the training set's prior.
        """
        return self._logits(_noise_units(flux)[0])

    def first_look(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `logits`, with no second look at any cutout."""
        scaled, _ = _noise_units(flux)
        return np.concatenate([trunk.first_look(scaled) for trunk in self._trunks], axis=1)

    def judge(self, flux: NDArray[np.float32]) -> Verdicts:
        """Score those cutouts that may hold a lens.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s; NaN where there is no data.
        """
        n = len(flux)
        logits = np.full((n, len(self.description.members)), np.nan, np.float32)
        screen_logit = np.full(n, np.nan, np.float32)
        scaled, peak_sn = _noise_units(flux)
        left = np.arange(n)
        if self.skips_blank:
            left = left[peak_sn >= BLANK_SIGNAL_TO_NOISE]
        if self.screen_threshold is not None and len(left):
            screen_logit[left] = self._screen_logits(scaled[left])
            # What is no number is for the trunks to refuse.
            left = left[~(screen_logit[left] < self.screen_threshold)]
        scored = np.zeros(n, np.bool_)
        scored[left] = True
        logits[left] = self._logits(scaled if scored.all() else scaled[left])
        return Verdicts(scored, logits, screen_logit, peak_sn)

    def screen_logits(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """The screen's score of cutouts; only where the screen is in use.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32

        Returns
        -------
        ndarray, shape (n,), float32
        """
        return self._screen_logits(_noise_units(flux)[0])

    def _logits(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(scaled):
            return np.empty((0, len(self.description.members)), np.float32)
        return np.concatenate([trunk.logits(scaled) for trunk in self._trunks], axis=1)

    def _screen_logits(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        screen, weights, bias = self._screen
        return np.asarray(screen(scaled) @ weights + bias, np.float32)


def _noise_units(flux: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cutouts in units of their noise, and their peak signal-to-noise."""
    scaled, peak_sn = np.empty(flux.shape, np.float32), np.empty(len(flux), np.float32)
    for first in range(0, len(flux), _BLOCK):
        block = slice(first, first + _BLOCK)
        scaled[block], known = in_noise_units(flux[block])
        peak_sn[block] = peak_of_noise_units(scaled[block], known)
    return scaled, peak_sn


def use_screen(bundle: Bundle, screen: str) -> bool:
    """Whether a bundle's screen is to be used.

    Raises
    ------
    EnsembleError
        If it has none, and is to be used.
    """
    found = bundle.description.screen
    if screen == "on" and found is None:
        raise EnsembleError(
            f"ensemble {bundle.folder}: has no screen, but screen is on; give --screen auto or off"
        )
    return screen == "on" or (screen == "auto" and found is not None and found.on_by_default)


def _precision(bundle: Bundle, precision: str) -> str:
    if precision != "auto":
        return FULL if precision == "full" else precision
    fast = reduced_precision()
    check = bundle.description.precision.get(fast) if fast is not None else None
    return fast if fast is not None and check is not None and check.passed else FULL
