"""Sheets of samples: the training set by class, and augmented with labels (Figures 5-1, 5-2)."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lensweep.ground.figures import picture
from lensweep.scanner.network.stretch import in_noise_units
from lensweep.training.data.augment import transform_at_random
from lensweep.training.published.stamps import Stamps, faint

# Of each class; a square.
SIDE = 5
AUGMENTED_ROWS, AUGMENTED_COLUMNS = 4, 8
_LENSES, _OTHERS = "#2a9d4a", "#d1383d"


def draw_classes(stamps: Stamps, path: Path, seed: int) -> None:
    """Draw lenses in a green box on the left and the others in a red one on the right.

    Parameters
    ----------
    stamps : Stamps
    path : Path
    seed : int
        Which are drawn.
    """
    rng = np.random.default_rng([seed, 51])
    with picture(path, (2.0 * SIDE, SIDE), layout=None) as figure:
        for side, (wanted, color) in enumerate(((True, _LENSES), (False, _OTHERS))):
            rows = np.flatnonzero(stamps.labels == wanted)
            chosen = rng.permutation(rows)[: SIDE**2]
            left = 0.5 * side
            for number, image in enumerate(_shown(stamps.flux[chosen])):
                row, column = divmod(number, SIDE)
                panel = figure.add_axes(
                    (left + 0.01 + column * 0.48 / SIDE, 0.98 - (row + 1) * 0.96 / SIDE,
                     0.47 / SIDE, 0.94 / SIDE)
                )  # fmt: skip
                _draw(panel, image)
            figure.add_artist(
                Rectangle((left + 0.004, 0.008), 0.492, 0.984, fill=False, edgecolor=color,
                          linewidth=4.0, transform=figure.transFigure)
            )  # fmt: skip


def draw_augmented(stamps: Stamps, path: Path, seed: int) -> None:
    """Draw a random sample, augmented as the thesis did, with what each is: True for a lens.

    Parameters
    ----------
    stamps : Stamps
    path : Path
    seed : int
    """
    rng = np.random.default_rng([seed, 52])
    n = min(AUGMENTED_ROWS * AUGMENTED_COLUMNS, len(stamps))
    chosen = rng.permutation(len(stamps))[:n]
    images = _shown(transform_at_random(stamps.flux[chosen], rng))
    with picture(path, (1.25 * AUGMENTED_COLUMNS, 1.45 * AUGMENTED_ROWS)) as figure:
        panels = figure.subplots(AUGMENTED_ROWS, AUGMENTED_COLUMNS).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, image, row in zip(panels, images, chosen, strict=False):
            _draw(panel, image)
            panel.set_title(f"[{bool(stamps.labels[row])}]", fontsize=9)


def _shown(flux: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(faint(in_noise_units(flux)[0])[..., 0])


def _draw(panel: Axes, image: NDArray[np.float32]) -> None:
    panel.imshow(image, cmap="gray", vmin=-0.8, vmax=0.8, origin="lower")
    panel.set_axis_off()
