"""A loaded ensemble: what it makes of cutouts, as fast as this machine can.

Blank windows are passed over, then a bundle's screen passes over those that hold no lens by its
far cheaper judgement; what is left sees the trunks, once for all members. What then looks like a
lens is looked at again.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.deploy.accelerator import native_stderr_aside
from lensweep.scanner.network.batch_size import CPU_BATCH, GPU_AT_ONCE, Batches
from lensweep.scanner.network.blank import BLANK_SIGNAL_TO_NOISE
from lensweep.scanner.network.bundle_store import HEADS, SCREEN, SCREEN_HEAD, Bundle
from lensweep.scanner.network.ensemble import Description, EnsembleError
from lensweep.scanner.network.estimators import estimator_file, load_estimator
from lensweep.scanner.network.find_batch import find_batch
from lensweep.scanner.network.known_devices import KnownDevice
from lensweep.scanner.network.looks import Looks, empty_looks, first_looks, turned_looks
from lensweep.scanner.network.networks import device_name, load_frozen, on_gpu, reduced_precision
from lensweep.scanner.network.noise import Noise, measure_noise
from lensweep.scanner.network.reference import REFERENCE, read_reference
from lensweep.scanner.network.second_look import TURNS, own_turns

FULL = "float32"
# A screen that says what it thinks, and decides nothing.
LOOK = "look"
# What shows that a reduced precision may be used.
BY_REQUEST, BY_CHECK, BY_REFERENCE = "request", "recorded check", "reference cutouts"
# A screen is so small that the cost of a call counts.
CPU_SCREEN_BATCH = 64
# A screen passes on a dozen windows of a shard: padding them to more would cost as much again.
CPU_FEW = 8


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

    def look(self, looks: Looks) -> NDArray[np.float32]:
        """Logits, shape (n, members), of one look each."""
        return np.asarray(_product(self.network(looks), self.weights) + self.biases, np.float32)

    def logits(self, looks: Looks) -> NDArray[np.float32]:
        """Logits, shape (n, members), after a second look where the first is promising."""
        logits = self.look(looks)
        if self.second_look is None:
            return logits
        again = np.flatnonzero(logits.mean(axis=1) >= self.second_look)
        if len(again):
            others = self.look(turned_looks(looks[again], range(1, TURNS)))
            others = others.reshape(TURNS - 1, len(again), -1)
            logits[again] = own_turns(np.concatenate([logits[again][None], others]))
        return logits

    def features(self, looks: Looks) -> NDArray[np.float32]:
        """What `second_look.after_looks` needs of cutouts, shape (turns, n, features)."""
        n_turns = 1 if self.second_look is None else TURNS
        seen = self.network(turned_looks(looks, range(n_turns)))
        return np.asarray(seen.reshape(n_turns, len(looks), -1), np.float32)


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
        shown that the ranks stay or, if it has none of that precision, where this device agrees
        with the bundle's reference cutouts. Otherwise the precision itself, checked or not. A
        bundle without networks has float32 alone.
    screen : str
        For `judge`. `off`: every cutout is scored. `on`: blank ones and those below the screen's
        threshold are not. `auto`: likewise, but with the bundle's screen only if it has one, and
        that is on by default. `look`: every cutout is scored, and a screen, if there is one, looks
        at all of them too.

    Raises
    ------
    EnsembleError
        If it has no screen, and that is to be used.
    """

    def __init__(self, bundle: Bundle, precision: str = "auto", screen: str = "auto") -> None:
        self.description, self._folder = bundle.description, Path(bundle.folder)
        self.skips_blank = screen not in ("off", LOOK)
        self._passes_over = screen != LOOK
        self.screen_threshold: float | None = None
        self._sha256 = bundle.sha256
        self.precision, self.shown_by = FULL, None
        if bundle.has_networks:
            self.precision, self.shown_by = _precision(bundle, precision)
        agrees = f"{self.precision} agrees with the reference"
        if self.shown_by == BY_REFERENCE and self._device.known(agrees) is False:
            self.precision, self.shown_by = FULL, None
        screened = use_screen(bundle, screen)
        self._load(bundle.description, screened)
        if self.shown_by == BY_REFERENCE and not self._device.recall(agrees, self._agrees):
            self.precision, self.shown_by = FULL, None
            self._load(bundle.description, screened)

    @cached_property
    def _device(self) -> KnownDevice:
        return KnownDevice(device_name(), self._sha256)

    def _load(self, description: Description, screened: bool) -> None:
        self._trunks: list[LoadedTrunk] = []
        with np.load(self._folder / HEADS, allow_pickle=False) as heads:
            for trunk in description.trunks:
                weights, biases = heads[f"{trunk.name}.weights"], heads[f"{trunk.name}.biases"]
                few = screened and self._passes_over
                network = self._batches(trunk.name, CPU_FEW if few else CPU_BATCH)
                self._trunks.append(LoadedTrunk(network, weights, biases, trunk.second_look))
        if screened and description.screen is not None:
            self.screen_threshold = description.screen.threshold
            with np.load(self._folder / SCREEN_HEAD, allow_pickle=False) as head:
                network = self._batches(SCREEN, CPU_SCREEN_BATCH)
                self._screen = network, head["weights"], head["bias"]

    def _batches(self, name: str, cpu_batch: int) -> Batches:
        if (self._folder / estimator_file(name)).is_file():
            return Batches(load_estimator(self._folder, name), cpu_batch)
        reduced = None if self.precision == FULL else self.precision
        network = load_frozen(self._folder, name, self.description.stretch, reduced)
        if not on_gpu():
            return Batches(network, cpu_batch)
        size_px, key = self.description.cutout_size, f"batch of {name} in {self.precision}"
        with native_stderr_aside():
            n = self._device.recall(key, lambda: find_batch(network, size_px))
            batches = Batches(network, n, GPU_AT_ONCE)
            batches(empty_looks(1, size_px))  # where the size was known: its algorithms
        return batches

    def _agrees(self) -> bool:
        """Whether this device makes of the reference cutouts what float32 does."""
        reference = read_reference(self._folder)
        return reference is not None and reference.agrees(self.first_look(reference.flux))

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
        return self._logits(first_looks(flux, measure_noise(flux)))

    def first_look(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `logits`, with no second look at any cutout."""
        looks = first_looks(flux, measure_noise(flux))
        return np.concatenate([trunk.look(looks) for trunk in self._trunks], axis=1)

    def features(self, flux: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """What every trunk makes of cutouts, for heads that are not trained yet.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32

        Returns
        -------
        list of ndarray, shape (turns, n, features), float32
            By trunk, in the bundle's order; of all quarter turns where its members look again.
        """
        looks = first_looks(flux, measure_noise(flux))
        return [trunk.features(looks) for trunk in self._trunks]

    def judge(self, flux: NDArray[np.float32], noise: Noise | None = None) -> Verdicts:
        """Score those cutouts that may hold a lens.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32
            e-/s; NaN where there is no data.
        noise : Noise, optional
            Of these cutouts, where it was measured before.
        """
        n = len(flux)
        logits = np.full((n, len(self.description.members)), np.nan, np.float32)
        screen_logit = np.full(n, np.nan, np.float32)
        noise = measure_noise(flux) if noise is None else noise
        looks, left = first_looks(flux, noise), np.arange(n)
        if self.skips_blank:
            left = left[noise.peak_sn >= BLANK_SIGNAL_TO_NOISE]
        if self.screen_threshold is not None and len(left):
            screen_logit[left] = self._screen_logits(looks if len(left) == n else looks[left])
            # What is no number is for the trunks to refuse.
            passed_over = (screen_logit[left] < self.screen_threshold) & self._passes_over
            left = left[~passed_over]
        scored = np.zeros(n, np.bool_)
        scored[left] = True
        logits[left] = self._logits(looks if len(left) == n else looks[left])
        return Verdicts(scored, logits, screen_logit, noise.peak_sn)

    def screen_logits(self, flux: NDArray[np.float32]) -> NDArray[np.float32]:
        """The screen's score of cutouts; only where the screen is in use.

        Parameters
        ----------
        flux : ndarray, shape (n, size, size), float32

        Returns
        -------
        ndarray, shape (n,), float32
        """
        return self._screen_logits(first_looks(flux, measure_noise(flux)))

    def _logits(self, looks: Looks) -> NDArray[np.float32]:
        if not len(looks):
            return np.empty((0, len(self.description.members)), np.float32)
        return np.concatenate([trunk.logits(looks) for trunk in self._trunks], axis=1)

    def _screen_logits(self, looks: Looks) -> NDArray[np.float32]:
        screen, weights, bias = self._screen
        return np.asarray(screen(looks) @ weights + bias, np.float32)


def _product(features: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """``features @ weights``, whose rows do not depend on how many there are.

    BLAS multiplies one row alone by another routine, which may add in another order.
    """
    if len(features) == 1:
        return (np.repeat(features, 2, axis=0) @ weights)[:1]
    return features @ weights


def use_screen(bundle: Bundle, screen: str) -> bool:
    """Whether a bundle's screen is to be used.

    Raises
    ------
    EnsembleError
        If it has none, and is to be used.
    """
    found = bundle.description.screen
    if screen == LOOK:
        return found is not None
    if screen == "on" and found is None:
        raise EnsembleError(
            f"ensemble {bundle.folder}: has no screen, but screen is on; give --screen auto or off"
        )
    return screen == "on" or (screen == "auto" and found is not None and found.on_by_default)


def _precision(bundle: Bundle, precision: str) -> tuple[str, str | None]:
    """The precision to compute in, and what shows that it may be."""
    if precision != "auto":
        return (FULL, None) if precision == "full" else (precision, BY_REQUEST)
    fast = reduced_precision()
    if fast is None:
        return FULL, None
    check = bundle.description.precision.get(fast)
    if check is not None:
        return (fast, BY_CHECK) if check.passed else (FULL, None)
    has_reference = (Path(bundle.folder) / REFERENCE).is_file()
    return (fast, BY_REFERENCE) if has_reference else (FULL, None)
