"""Pictures: the same whatever the user's matplotlibrc says, and whole or not there.

Only a figure that is handed to the user follows the user's settings.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lensweep.ground.files import whole_file


def figure_of_user() -> Figure:
    """An empty figure of pyplot with the user's own settings, which a notebook shows."""
    from matplotlib import pyplot

    return pyplot.figure()


@contextmanager
def picture(
    path: Path,
    size_in: tuple[float, float],
    dpi: int = 110,
    layout: Literal["constrained"] | None = "constrained",
    background: str = "white",
    compress_level: int = 6,
) -> Iterator[Figure]:
    """An empty figure to draw on, which is saved as a PNG file when the block ends well.

    What is drawn within the block has Matplotlib's own defaults. The user's settings (LaTeX for
    every text, another resolution, a crop) are for the user's figures, and are back afterwards.

    Parameters
    ----------
    path : Path
        Written aside and renamed; its folder exists.
    size_in : tuple of float
        Width and height, inches.
    dpi : int
        Pixels per inch.
    layout : str or None
        ``constrained``, or left to who draws.
    background : str
        Colour of the page.
    compress_level : int
        Of PNG, 0 to 9.

    Yields
    ------
    Figure
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(size_in, dpi=dpi, layout=layout, facecolor=background)
        FigureCanvasAgg(figure)
        yield figure
        with whole_file(path) as aside:
            figure.savefig(
                aside, format="png", dpi=dpi, facecolor=background,
                pil_kwargs={"compress_level": compress_level},
            )  # fmt: skip
