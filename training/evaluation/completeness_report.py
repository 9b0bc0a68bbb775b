"""A run's completeness, shown: tables to read and a picture to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from rich.table import Table

from lensweep.ground.figures import picture
from lensweep.ground.terminal import wide_console
from lensweep.training.evaluation.completeness import NO_WINDOW, Completeness

NAMES = {
    "theta_e_arcsec": "Einstein radius, arcsec", "source_magnitude": "unlensed source, mag",
    "host_magnitude": "lensing galaxy, mag", "signal_to_noise": "signal-to-noise of the arcs",
    "offset_px": "from the nearest window's centre, pixels",
}  # fmt: skip
COLOURS = ("#c8553d", "#4c8f63", "#3b6ea5", "#15171a")


def show_completeness(found: Completeness, out: Path) -> None:
    """Print what share of the planted lenses is found at each depth, and draw it.

    Parameters
    ----------
    found : Completeness
    out : Path
        Folder; receives ``completeness.png``.
    """
    console = wide_console()
    lenses = found.planted.lenses
    for title, table, first in (
        ("visible lenses found", found.populations, ["population"]),
        ("visible lensed galaxies found, as drawn", found.shares, ["by", "value"]),
    ):
        console.print(_table(title, table, first, found))
    depths = (f"{depth:g} per deg²: {score:+.2f}" for depth, score in found.depths.items())
    console.print(f"least mean logit at false candidates of {', '.join(depths)} "
                  f"(from {found.measured_by})")  # fmt: skip
    console.print("seen: of all that were drawn there, the share with a signal-to-noise above 20, "
                  "magnified three times; found: of these, net of hosts that were as good before; "
                  f"{int((lenses['offset_px'].isna()).sum()):,} of {len(lenses):,} lenses lie in "
                  "no window that was looked at")  # fmt: skip
    for mosaic, psf in found.planted.psfs.items():
        console.print(f"point-spread function in {mosaic}: {psf}")
    draw_completeness(found.shares, out / "completeness.png")
    written = f"wrote {out}"
    if found.selections:
        written += ", with a selection function (lensweep.selection_function)"
    console.print(written)


def _table(title: str, shares: pd.DataFrame, first: list[str], found: Completeness) -> Table:
    table = Table(title=title)
    for name in (*first, "lenses", "seen", *(f"at {depth:g} per deg²" for depth in found.depths)):
        table.add_column(name, justify="left" if name in first else "right")
    for row in shares.to_dict("records"):
        cells = []
        for depth in found.depths:
            share, low, high = (row[f"found_{depth:g}{end}"] for end in ("", "_low", "_high"))
            cells.append("" if np.isnan(share) else f"{share:.2f} ({low:.2f}-{high:.2f})")
        names = [str(NAMES.get(row[name], row[name])) for name in first]
        seen = "" if np.isnan(row["seen"]) else f"{row['seen']:.2f}"
        table.add_row(*names, f"{row['n']:,}", seen, *cells)
    return table


def draw_completeness(shares: pd.DataFrame, path: Path) -> None:
    """Draw what share of the visible lensed galaxies is found, by what they are.

    Parameters
    ----------
    shares : DataFrame
        As of `Completeness`: a line for every depth.
    path : Path
    """
    depths = [name for name in shares if f"{name}_low" in shares]
    with picture(path, (15.0, 4.2)) as figure:
        panels = figure.subplots(1, len(NAMES), sharey=True)
        for panel, (by, label) in zip(panels, NAMES.items(), strict=True):
            _draw_shares(panel, shares[shares["by"] == by], depths)
            panel.set_xlabel(label, fontsize=9)
        panels[0].set_ylim(0.0, 1.02)
        panels[0].set_ylabel("share of visible lensed galaxies found")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels),
                      frameon=False, title="at so many false candidates")  # fmt: skip


def _draw_shares(panel: Axes, rows: pd.DataFrame, depths: Sequence[str]) -> None:
    places = np.arange(len(rows))
    for number, (column, colour) in enumerate(zip(depths, COLOURS, strict=False)):
        middle, label = rows[column].to_numpy(), f"{column.removeprefix('found_')} per deg²"
        # At shares of 0 and 1 rounding may put an end of the interval on the wrong side.
        reach = np.abs([middle - rows[f"{column}_low"], rows[f"{column}_high"] - middle])
        panel.errorbar(
            places + 0.08 * (number - 1), middle, reach, color=colour, marker="o",
            markersize=4, linewidth=1.4, capsize=2, label=label,
        )  # fmt: skip
    names = [f"{_range(row.value)}\n({row.n:,})" for row in rows.itertuples()]
    panel.set_xticks(places, names, fontsize=7)
    panel.grid(color="#e6e8ea", linewidth=0.6, zorder=0)


def _range(value: str) -> str:
    """A bin's name, short enough for an axis."""
    if value == NO_WINDOW:
        return "none"
    low, high = value.split(" to ")
    return f"> {low}" if high == "inf" else f"{low}\N{EN DASH}{high}"
