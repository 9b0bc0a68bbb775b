"""A picture of the first candidates: one page that shows at a glance what a run has found."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lensweep.ground.figures import picture
from lensweep.scanner.network.stretch import sky_and_noise
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC

COLUMNS = 8
# In screen pixels; eight stamps across make a page 1,597 wide.
DPI = 100
# Noise hardly compresses: three times the time would save a sixth of the file.
COMPRESS_LEVEL = 1
STAMP_PX, GAP_PX, MARGIN_PX, CAPTION_PX, HEADER_PX = 190, 7, 14, 64, 72
WIDTH_PX = 2 * MARGIN_PX + COLUMNS * STAMP_PX + (COLUMNS - 1) * GAP_PX
# Of a mark's letters, 8 pixels each, as many as fit on a stamp.
MARK_LETTERS = 23
# Black 2 sigma below the sky; white at the brightest pixels, but never below 25 sigma.
BLACK_SIGMA, LEAST_WHITE_SIGMA, SOFTENING_SIGMA = -2.0, 25.0, 3.0
WHITE_QUANTILE = 0.998

PAGE, TEXT, QUIET = "#15171a", "#f2f2f2", "#a3a9b1"
KNOWN, MARKED, FRAME = "#ffc857", "#4fd1c5", "#3a3f46"
INVALID_RGB = (0.22, 0.17, 0.26)


def draw_contact_sheet(
    path: Path,
    candidates: pd.DataFrame,
    cutouts: NDArray[np.float32],
    marks: Sequence[str | None] | None = None,
    limit: int = 48,
    title: str | None = None,
) -> None:
    """Draw the first candidates of a run onto a PNG page, about 1,600 pixels wide.

    Every stamp is stretched by itself (asinh, in units of its noise); pixels without data are
    violet. Captions give rank, p_mean and p_lens, the candidate's name, and that of a matched known
    lens.

    Parameters
    ----------
    path : Path
        PNG to write, aside and then renamed.
    candidates : DataFrame
        Rows by rank, with the columns of `lensweep.catalogs.schemas.CANDIDATES`; may be empty.
    cutouts : ndarray, shape (n, side, side), float32
        Of the candidates in their order, at least those that are shown, 0.05 arcsec a pixel; NaN
        without data.
    marks : sequence of str or None, optional
        A word per candidate, such as `planted`, that frames its stamp; None for no mark.
    limit : int
        Most candidates that are shown.
    title : str, optional
        Heads the page; by default the name of the folder that it is in.

    Raises
    ------
    ValueError
        If there are fewer cutouts or marks than candidates to show.
    """
    shown = candidates.head(limit)
    words = [None] * len(shown) if marks is None else marks
    for name, given in (("cutouts", len(cutouts)), ("marks", len(words))):
        if given < len(shown):
            raise ValueError(f"contact sheet: {given} {name} for {len(shown)} candidates")
    stamps = stretch_for_display(cutouts[: len(shown)]) if len(shown) else cutouts[:0]
    height_px = _height_px(len(shown))
    size_in = WIDTH_PX / DPI, height_px / DPI
    with picture(path, size_in, DPI, None, PAGE, COMPRESS_LEVEL) as figure:
        axes = _page(figure, height_px)
        heading = path.absolute().parent.name if title is None else title
        _draw_header(axes, heading, len(shown), len(candidates), cutouts.shape[1])
        for number, (row, stamp, mark) in enumerate(
            zip(shown.to_dict("records"), stamps, words, strict=False)
        ):
            left = MARGIN_PX + (number % COLUMNS) * (STAMP_PX + GAP_PX)
            top = HEADER_PX + (number // COLUMNS) * (STAMP_PX + CAPTION_PX)
            _draw_stamp(axes, left, top, stamp, row, mark)


def stretch_for_display(cutouts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey pictures of cutouts.

    Parameters
    ----------
    cutouts : ndarray, shape (n, size, size), float32
        Any flux unit; NaN without data.

    Returns
    -------
    ndarray, shape (n, size, size, 3), float32
        Red, green and blue within [0, 1]; `INVALID_RGB` without data.
    """
    sky, sigma = sky_and_noise(cutouts)
    scaled = (cutouts - sky[:, None, None]) / sigma[:, None, None]
    valid = np.isfinite(scaled)
    scaled = np.where(valid, scaled, np.float32(0.0))
    white = np.quantile(scaled, WHITE_QUANTILE, axis=(1, 2))
    white = np.maximum(white, LEAST_WHITE_SIGMA)[:, None, None]
    low, value, high = (
        np.arcsinh(level / SOFTENING_SIGMA) for level in (BLACK_SIGMA, scaled, white)
    )
    grey = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.where(valid[..., None], grey[..., None], INVALID_RGB).astype(np.float32)


def _height_px(n_shown: int) -> int:
    n_rows = max(1, -(-n_shown // COLUMNS))
    return HEADER_PX + n_rows * (STAMP_PX + CAPTION_PX) + MARGIN_PX


def _page(figure: Figure, height_px: int) -> Axes:
    """The axes of a page: screen pixels from the upper left corner.

    One pair for all stamps: to make a pair for each takes longer than to draw the page.
    """
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH_PX), ylim=(height_px, 0))
    axes.axis("off")
    return axes


def _draw_header(axes: Axes, run: str, n_shown: int, n_all: int, side_px: int) -> None:
    left, right = MARGIN_PX, WIDTH_PX - MARGIN_PX
    axes.text(left, 30, run, color=TEXT, fontsize=15, fontweight="bold", va="center",
              parse_math=False)  # fmt: skip
    count = f"{n_shown:,} of {n_all:,} candidates, best first" if n_all else "no candidates"
    legend = "mean: of the members' probabilities  ·  p: of being a lens, at the run's density"
    axes.text(left, 54, f"{count}  ·  {legend}  ·  violet: no data", color=QUIET, fontsize=9,
              va="center")  # fmt: skip
    bar = STAMP_PX / side_px / PIXEL_SCALE_ARCSEC
    axes.plot([right - bar, right], [48, 48], color=TEXT, linewidth=2, solid_capstyle="butt")
    axes.text(right - bar / 2, 30, '1"', color=TEXT, fontsize=10, ha="center", va="center")
    axes.text(right - bar - 20, 40, "N up, E left", color=QUIET, fontsize=10, ha="right",
              va="center")  # fmt: skip
    if not n_all:
        axes.text(WIDTH_PX / 2, HEADER_PX + STAMP_PX / 2, "No candidates to show.", color=QUIET,
                  fontsize=16, ha="center", va="center")  # fmt: skip


def _draw_stamp(
    axes: Axes,
    left: int,
    top: int,
    stamp: NDArray[np.float32],
    row: dict[Hashable, Any],
    mark: str | None,
) -> None:
    right, bottom = left + STAMP_PX, top + STAMP_PX
    axes.imshow(stamp, origin="lower", interpolation="bicubic", aspect="auto",
                extent=(left, right, bottom, top))  # fmt: skip
    known = _known_name(row)
    colour = MARKED if mark else KNOWN if known else FRAME
    width = 3.0 if mark or known else 1.0
    axes.add_patch(
        Rectangle((left, top), STAMP_PX, STAMP_PX, fill=False, edgecolor=colour, linewidth=width)
    )
    if mark:
        mark = mark[:MARK_LETTERS]
        axes.add_patch(Rectangle((left, top), 6 + 8 * len(mark), 20, color=MARKED))
        axes.text(left + 5, top + 10, mark, color=PAGE, fontsize=8.5, fontweight="bold",
                  va="center", parse_math=False)  # fmt: skip
    axes.text(left, bottom + 9, f"{row['rank']}", color=TEXT, fontsize=10, fontweight="bold",
              va="top")  # fmt: skip
    numbers = f"mean {row['p_mean']:.3f}"
    if pd.notna(row["p_lens"]):
        numbers += f"   p {row['p_lens']:.2g}"
    axes.text(right, bottom + 10, numbers, color=TEXT, fontsize=8.5, ha="right", va="top")
    axes.text(left, bottom + 33, row["candidate_id"], color=QUIET, fontsize=8.5, va="center",
              parse_math=False)  # fmt: skip
    if known:
        axes.text(left, bottom + 50, known, color=KNOWN, fontsize=9, fontweight="bold",
                  va="center", parse_math=False)  # fmt: skip


def _known_name(row: dict[Hashable, Any]) -> str:
    """The matched known lens of a candidate, CASTLES before LensFlow; empty without one."""
    if not pd.isna(row["castles_name"]):
        return str(row["castles_name"])
    return "" if pd.isna(row["lensflow_id"]) else f"LensFlow {int(row['lensflow_id'])}"
