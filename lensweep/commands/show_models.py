"""What the command line shows of lens parameters."""

import pandas as pd
from rich.table import Table

from lensweep.ground.terminal import wide_console
from lensweep.scanner.network.lens_parameters import PARAMETERS

SHOWN = 20


def show_models(models: pd.DataFrame) -> None:
    """Print the first candidates' parameters."""
    table = Table(title=f"{min(SHOWN, len(models))} of {len(models):,} candidates, as if lenses")
    for name in ("rank", "candidate", "θ_E", "ellipticity", "position angle", "centre ±"):
        table.add_column(name, justify="left" if name == "candidate" else "right")
    for row in models.head(SHOWN).itertuples():
        table.add_row(
            f"{row.rank:,}", row.candidate_id,
            f"{row.theta_e_arcsec:.2f}″ ± {row.theta_e_err_arcsec:.2f}", f"{row.ellipticity:.2f}",
            f"{row.position_angle_deg:.0f}°", f"{row.lens_position_err_arcsec:.2f}″",
        )  # fmt: skip
    wide_console().print(table)


def show_check(check: pd.DataFrame) -> None:
    """Print the median absolute error of every parameter, and the share within one deviation."""
    table = Table(title="median absolute error, and share within one standard deviation")
    for name in ("true θ_E", "lenses", *PARAMETERS):
        table.add_column(name, justify="right")
    for row in check.to_dict("records"):
        found = [
            f"{row[f'{name}_error']:.3f}, {row[f'{name}_coverage']:.1%}" for name in PARAMETERS
        ]
        limits = f"{row['from_arcsec']:g}-{row['to_arcsec']:g}″"
        table.add_row(limits, f"{row['lenses']:,}", *found)
    wide_console().print(table)
