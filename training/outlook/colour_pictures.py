"""Cutouts in two bands as colour pictures."""

from pathlib import Path

import numpy as np
from astropy.visualization import make_lupton_rgb
from numpy.typing import NDArray

from lensweep.ground.figures import picture
from lensweep.scanner.network.stretch import sky_and_noise
from lensweep.training.simulation.bands import F606W, F814W

COLUMNS, CELL_IN = 10, 0.9
# What looks white, F606W - F814W: between star-forming and old galaxies.
_WHITE = 0.6
# Lupton et al. (2004): from where the asinh bends, in units of the noise, and how sharply.
_STRETCH_SIGMA, _SOFTENING = 8.0, 8.0


def draw_colours(rows: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Draw the first cutouts of some kinds, a row each: F814W red, F606W blue, their mean green.

    Parameters
    ----------
    rows : dict of str to ndarray, shape (n, height, width, 2), float32, e-/s
        By what they are; NaN where there is no data.
    path : Path
        PNG.
    """
    with picture(path, (CELL_IN * COLUMNS, (CELL_IN + 0.15) * len(rows))) as figure:
        axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
        for of_row, (title, cutouts) in zip(axes, rows.items(), strict=True):
            for place in of_row:
                place.set_axis_off()
            for place, cutout in zip(of_row, cutouts, strict=False):
                place.imshow(as_colours(cutout), origin="lower")
            of_row[0].set_title(title, loc="left", fontsize=8)


def as_colours(cutout: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A colour picture, shape (height, width, 3), of a cutout of shape (height, width, 2)."""
    sky, sigma = sky_and_noise(np.moveaxis(cutout, -1, 0))
    red, blue = np.moveaxis(np.nan_to_num(cutout - sky), -1, 0)
    blue = blue * 10.0 ** (0.4 * (F814W.zero_point_ab - F606W.zero_point_ab + _WHITE))
    # Where nothing is above the sky it divides by nothing.
    with np.errstate(invalid="ignore", divide="ignore"):
        colours = make_lupton_rgb(
            red, 0.5 * (red + blue), blue, stretch=_STRETCH_SIGMA * float(sigma[0]), Q=_SOFTENING
        )
    return np.asarray(colours, np.uint8)
