"""What is simulated, kind by kind: a picture to look at beside real images.

python benchmarks/kinds.py OUT.png [SEED]
"""

import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from lensweep.ground.figures import picture
from lensweep.scanner.results.contact_sheet import stretch_for_display
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.simulation.simulate import KINDS, simulate

EACH, GAP_PX, GREYS = 8, 4, 64
# The rest is blank, or a defect laid over one of these.
SHOWN = [kind for kind in KINDS if kind not in ("blank_sky", "mosaic_edge", "chip_gap")]


def main(path: Path, seed: int) -> None:
    """Draw eight cutouts of each kind that is shown, a row each."""
    step = CUTOUT_SIZE + GAP_PX
    page = np.ones((step * len(SHOWN) - GAP_PX, step * EACH - GAP_PX, 3))
    for row, kind in enumerate(SHOWN):
        flux = np.stack([one.flux for one in simulate([kind] * EACH, seed, row * EACH)])
        for column, image in enumerate(stretch_for_display(flux)):
            y, x = row * step, column * step
            page[y : y + CUTOUT_SIZE, x : x + CUTOUT_SIZE] = np.flipud(image)
    with picture(path, (8.0, 8.0 * page.shape[0] / page.shape[1] * 0.9)) as figure:
        axes = figure.add_subplot()
        axes.imshow(page, interpolation="nearest")
        middles = step * np.arange(len(SHOWN)) + CUTOUT_SIZE / 2
        names = [textwrap.fill(kind.replace("_", " "), 10) for kind in SHOWN]
        axes.set_yticks(middles, names, fontsize=6)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    Image.open(path).convert("RGB").quantize(GREYS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2026)
