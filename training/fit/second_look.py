"""Second looks in cross-validation: those of a scan, on features that are kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from lensweep.ground.progress import Progress
from lensweep.scanner.network.second_look import TURNS, own_turns
from lensweep.training.data.examples import Examples
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.features import View, compute_features
from lensweep.training.fit.heads import Head


@dataclass(frozen=True)
class SecondLook:
    """From the logits of first looks to those that the ensemble's second looks make of them.

    Attributes
    ----------
    trunk : Path
        As `lensweep.training.fit.features.save_trunk` wrote it.
    config : TrainConfig
    workdir : Path
        Keeps the features of turned cutouts.
    client : distributed.Client
    progress : Progress
    """

    trunk: Path
    config: TrainConfig
    workdir: Path
    client: Client
    progress: Progress

    def of_members(
        self, heads: list[Head], examples: Examples, first: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Of promising cutouts each member's logit at its own turn.

        Parameters
        ----------
        heads : list of Head
        examples : Examples
            That no member was trained on.
        first : ndarray, shape (n, folds)
            Logits of all members.
        """
        again = self._promising(first.mean(axis=1), "test")
        seen = self._turned(examples, again, "test")
        others = [np.stack([head.logits(one) for head in heads], axis=1) for one in seen]
        logits = first.copy()
        logits[again] = own_turns(np.stack([first[again], *others]))
        return logits

    def of_held_out(
        self,
        heads: list[Head],
        examples: Examples,
        folds: NDArray[np.int64],
        first: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Of promising cutouts the mean logit over the turns.

        Only one member may be asked about a cutout, so that it takes all turns of the ensemble.

        Parameters
        ----------
        heads : list of Head
        examples : Examples
            Of the folds.
        folds : ndarray of int, shape (n,)
            In which every cutout is held out.
        first : ndarray, shape (n,)
            Out-of-fold logits.
        """
        again = self._promising(first, "train")
        looks = [first[again]]
        for seen in self._turned(examples, again, "train"):
            logits = np.empty(len(again))
            for fold, head in enumerate(heads):
                held_out = folds[again] == fold
                logits[held_out] = head.logits(seen[held_out])
            looks.append(logits)
        logits = first.copy()
        logits[again] = np.mean(looks, axis=0)
        return logits

    def _promising(self, logits: NDArray[np.float64], name: str) -> NDArray[np.int64]:
        assert self.config.second_look is not None
        again = np.flatnonzero(logits >= self.config.second_look)
        self.progress.note(f"{name}: {len(again):,} of {len(logits):,} are looked at again")
        return again

    def _turned(
        self, examples: Examples, rows: NDArray[np.int64], name: str
    ) -> list[NDArray[np.float32]]:
        """Features of some cutouts at all turns but the first; of none at none."""
        folder = self.workdir / "features" / self.trunk.stem
        views = [View(0, self.config.augmentation, self.config.seed, n) for n in range(1, TURNS)]
        return [
            compute_features(
                self.trunk, examples, view, folder / f"{name}-turned-{view.turn}.zarr",
                self.client, self.progress, rows,
            )
            for view in views
        ]  # fmt: skip
