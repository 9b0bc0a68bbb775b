"""A run's completeness, shown: a table to read and a picture to look at."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from rich.table import Table

from lensweep.ground.figures import picture
from lensweep.ground.terminal import wide_console
from lensweep.training.evaluation.completeness import Completeness

NAMES = {
    "kind": "kind of lens", "theta_e_arcsec": "Einstein radius, arcsec",
    "source_magnitude": "unlensed source, mag", "signal_to_noise": "signal-to-noise of the arcs",
}  # fmt: skip
OTHERS = "no lens painted"
PANELS = {by: name for by, name in NAMES.items() if by != "kind"}
COLOURS = ("#15171a", "#3b6ea5", "#4c8f63", "#c8553d")


def show_completeness(found: Completeness, out: Path) -> None:
    """Print what share of the painted lenses is found at each depth, and draw it.

    Parameters
    ----------
    found : Completeness
    out : Path
        Folder; receives ``completeness.png``.
    """
    table = Table()
    for name in ("", "", "cutouts", *(depth.replace("_", " ") for depth in found.depths)):
        table.add_column(name, justify="right" if name else "left")
    lens = found.shares["value"].isin(found.lenses["kind"]) | (found.shares["by"] != "kind")
    names = found.shares["by"].map(NAMES).where(lens, OTHERS)
    for name, rows in found.shares.groupby(names, sort=False):
        for row in rows.to_dict("records"):
            shares = (f"{row[d]:.2f} ({row[f'{d}_low']:.2f}-{row[f'{d}_high']:.2f})"
                      for d in found.depths)  # fmt: skip
            table.add_row(str(name), row["value"], f"{row['n']:,}", *shares)
        table.add_section()
    draw_completeness(found.shares, out / "completeness.png")
    console = wide_console()
    console.print(table)
    depths = (f"{name.replace('_', ' ')} {least:+.2f}" for name, least in found.depths.items())
    places = found.lenses["object_id"].nunique()
    console.print(f"{len(found.lenses):,} lenses at {places:,} places, whose neighbours and noise "
                  f"they share; least mean logits: {', '.join(depths)}")  # fmt: skip
    console.print(f"wrote {out}")


def draw_completeness(shares: pd.DataFrame, path: Path) -> None:
    """Draw what share of lenses is found, by what they were drawn from.

    Parameters
    ----------
    shares : DataFrame
        As of `lensweep.training.fit.metrics.passed_by`: a line for every threshold.
    path : Path
    """
    depths = [name for name in shares if f"{name}_low" in shares]
    with picture(path, (11.0, 4.0)) as figure:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for panel, (by, label) in zip(panels, PANELS.items(), strict=True):
            _draw_shares(panel, shares[shares["by"] == by], depths)
            panel.set_xlabel(label)
        panels[0].set_ylim(0.0, 1.02)
        panels[0].set_ylabel("share found")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(depths), frameon=False
        )


def _draw_shares(panel: Axes, rows: pd.DataFrame, depths: list[str]) -> None:
    places = np.arange(len(rows))
    for number, (depth, colour) in enumerate(zip(depths, COLOURS, strict=False)):
        middle = rows[depth].to_numpy()
        # At shares of 0 and 1 rounding may put an end of the interval on the wrong side.
        reach = np.abs([middle - rows[f"{depth}_low"], rows[f"{depth}_high"] - middle])
        panel.errorbar(
            places + 0.08 * (number - 1), middle, reach, color=colour, marker="o",
            markersize=4, linewidth=1.4, capsize=2, label=depth.replace("_", " "),
        )  # fmt: skip
    names = [f"{_range(row.value)}\n({row.n:,})" for row in rows.itertuples()]
    panel.set_xticks(places, names, fontsize=8)
    panel.grid(color="#e6e8ea", linewidth=0.6, zorder=0)


def _range(value: str) -> str:
    """A bin's name, short enough for an axis."""
    low, high = value.split(" to ")
    return f"> {low}" if high == "inf" else f"{low}\N{EN DASH}{high}"
