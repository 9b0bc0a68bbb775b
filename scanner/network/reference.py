"""Reference cutouts of a bundle, with the logits that float32 gives of them: `reference.npz`.

A device that nobody has checked shows on them that it keeps a bundle's scores in half precision,
before it scores anything so. A bundle may do without.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.files import whole_file
from lensweep.scanner.network.stretch import sky_and_noise

REFERENCE = "reference.npz"
# Pixels are kept in eighths of a cutout's noise: a sixth of the size of floats.
_STEPS_PER_SIGMA = 8
_NO_DATA, _LARGEST = -(2**15), 2**15 - 1
# Bfloat16, of which 24,000 windows have shown that it keeps the ranks, differs on the shipped
# ensemble's own by up to 0.23, with a rank correlation of 0.9999; their mean logits spread by 6.
LEAST_SPEARMAN, LARGEST_DIFFERENCE = 0.999, 0.25


@dataclass(frozen=True)
class Reference:
    """Cutouts, and what float32 makes of them.

    Attributes
    ----------
    flux : ndarray, shape (n, size, size), float32
    logits : ndarray, shape (n, members), float32
        Of first looks.
    """

    flux: NDArray[np.float32]
    logits: NDArray[np.float32]

    def agrees(self, logits: NDArray[np.float32]) -> bool:
        """Whether first looks in another precision keep ranks and mean logits.

        Parameters
        ----------
        logits : ndarray, shape (n, members)
        """
        # Half a second that every process would wait for.
        from scipy.stats import spearmanr

        expected, found = self.logits.mean(axis=1), logits.mean(axis=1)
        return bool(
            np.isfinite(found).all()
            and spearmanr(expected, found).statistic >= LEAST_SPEARMAN
            and np.abs(expected - found).max() <= LARGEST_DIFFERENCE
        )


def kept_pixels(flux: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Cutouts as a reference keeps them: whole steps, and what a step of each is in e-/s.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        NaN where there is no data.
    """
    step = sky_and_noise(flux)[1] / np.float32(_STEPS_PER_SIGMA)
    steps = np.rint(flux / step[:, None, None]).clip(_NO_DATA + 1, _LARGEST)
    return np.where(np.isnan(steps), _NO_DATA, steps).astype(np.int16), step


def pixels_of(steps: NDArray[np.int16], step: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cutouts of `kept_pixels`, float32."""
    flux = steps * step[:, None, None]
    flux[steps == _NO_DATA] = np.nan
    return flux


def write_reference(
    folder: Path,
    steps: NDArray[np.int16],
    step: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> None:
    """Write a bundle's reference; its manifest has to be written after that."""
    arrays: dict[str, Any] = {"steps": steps, "step": step, "logits": logits}
    with whole_file(folder / REFERENCE) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_reference(folder: Path) -> Reference | None:
    """Read a bundle's reference; None if it has none."""
    if not (folder / REFERENCE).is_file():
        return None
    with np.load(folder / REFERENCE, allow_pickle=False) as arrays:
        return Reference(pixels_of(arrays["steps"], arrays["step"]), arrays["logits"])
