"""What a bundle's screen loses and saves, on labelled cutouts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.lenses.recall import binomial_interval
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.training.data.examples import KIND, open_examples, read_flux
from lensweep.training.fit.metrics import threshold

RATES = (1e-2, 1e-3)
# Of the lenses that the ensemble finds with 0.1 % false positives, a screen may lose this share.
LARGEST_LOSS = 0.01
_BLOCK = 512


@dataclass(frozen=True)
class ScreenLoss:
    """What a screen does to labelled cutouts.

    Attributes
    ----------
    labels : ndarray, shape (n,), bool
        Which hold a lens.
    kinds : Series, length n
    mean_logit : ndarray, shape (n,), float32
        Of all members, without the screen.
    passed : ndarray, shape (n,), bool
        Which the screen lets pass.
    """

    labels: NDArray[np.bool_]
    kinds: pd.Series
    mean_logit: NDArray[np.float32]
    passed: NDArray[np.bool_]

    def lost(self, rate: float) -> tuple[int, int]:
        """Lenses found at a false-positive rate that the screen holds back, and all found."""
        found = self.labels & (self.mean_logit > threshold(self.mean_logit[~self.labels], rate))
        return int((found & ~self.passed).sum()), int(found.sum())

    @property
    def holds(self) -> bool:
        """Whether it loses few enough to be on by default."""
        lost, found = self.lost(RATES[-1])
        return lost <= LARGEST_LOSS * found


def measure_screen(bundle: Bundle, dataset: Path) -> ScreenLoss:
    """Score labelled cutouts that neither the screen nor the ensemble was trained on.

    Parameters
    ----------
    bundle : Bundle
    dataset : Path
        Folder with `cutouts.zarr` and `truth/`.

    Raises
    ------
    InputError
        If the bundle has no screen, or the folder no labelled cutouts.
    """
    if bundle.description.screen is None:
        raise InputError(f"ensemble {bundle.folder}: has no screen; train with screen_epochs > 0")
    examples, loaded = open_examples(dataset), Ensemble(bundle, "auto", "on")
    least = bundle.description.screen.threshold
    logits, passed = [], []
    for first in range(0, len(examples), _BLOCK):
        flux = read_flux(examples.store, np.arange(first, min(first + _BLOCK, len(examples))))
        logits.append(loaded.logits(flux).mean(axis=1))
        passed.append(loaded.screen_logits(flux) >= least)
    kinds = examples.truth[KIND].reset_index(drop=True)
    return ScreenLoss(examples.labels, kinds, np.concatenate(logits), np.concatenate(passed))


def screen_markdown(loss: ScreenLoss) -> str:
    """The tables, as Markdown: recall with and without it, and what passes by kind."""
    lines = ["| false-positive rate | recall | recall with the screen | of these lost |",
             "|---|---|---|---|"]  # fmt: skip
    n_lenses = max(1, int(loss.labels.sum()))
    for rate in RATES:
        lost, found = loss.lost(rate)
        low, high = binomial_interval(lost, found)
        lines.append(f"| {rate:g} | {found / n_lenses:.4f} | {(found - lost) / n_lenses:.4f} | "
                     f"{lost / max(1, found):.2%} ({low:.2%}-{high:.2%}) |")  # fmt: skip
    lines += ["", "| kind | n | pass the screen |", "|---|---|---|"]
    lines += [f"| {kind} | {len(rows):,} | {rows.mean():.3f} |"
              for kind, rows in pd.Series(loss.passed).groupby(loss.kinds)]  # fmt: skip
    return "\n".join(lines)
