"""What the generative network makes, beside what it was shown."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.figures import picture
from lensweep.scanner.network.stretch import in_noise_units
from lensweep.training.outlook.adversarial import AdversarialNetwork, binned

EACH, CELL_IN = 8, 0.9


def draw_generated(
    finder: AdversarialNetwork,
    flux: NDArray[np.float32],
    labels: NDArray[np.bool_],
    seed: int,
    path: Path,
) -> None:
    """Draw a row each of lenses and others, as given and as generated.

    Parameters
    ----------
    finder : AdversarialNetwork
        Fitted.
    flux : ndarray, shape (n, 100, 100), float32
    labels : ndarray of bool, shape (n,)
    seed : int
    path : Path
        PNG.
    """
    shown = binned(in_noise_units(flux)[0])
    rows = {
        f"{name}, {how}": images
        for name, is_lens in (("lenses", True), ("others", False))
        for how, images in (
            ("given", shown[labels == is_lens][:EACH]),
            ("generated", finder.generate(np.full(EACH, is_lens), seed)),
        )
    }
    with picture(path, (CELL_IN * EACH + 1.0, CELL_IN * len(rows))) as figure:
        axes = figure.subplots(len(rows), EACH, squeeze=False)
        for of_row, (title, images) in zip(axes, rows.items(), strict=True):
            for place in of_row:
                place.set_axis_off()
            for place, image in zip(of_row, images, strict=False):
                place.imshow(image[..., 0], cmap="gray", vmin=-1.0, vmax=1.0, origin="lower")
            of_row[0].set_title(title, loc="left", fontsize=8)
