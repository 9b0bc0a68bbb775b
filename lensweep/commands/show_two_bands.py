"""What the command line shows of a second look in colour."""

import pandas as pd
from rich.table import Table

from lensweep.ground.terminal import wide_console
from lensweep.scanner.results.two_bands import ELSEWHERE, INCOMPLETE, SCORED

SHOWN = 20


def show_two_bands(candidates: pd.DataFrame) -> None:
    """Print the first candidates, and how many the second band had something of."""
    table = Table(title=f"{min(SHOWN, len(candidates))} of {len(candidates):,}, by two bands")
    for name in ("rank", "in the run", "candidate", "log-odds", "second band"):
        table.add_column(name, justify="left" if name in ("candidate", "second band") else "right")
    for row in candidates.head(SHOWN).itertuples():
        scored = row.second_band == SCORED
        table.add_row(
            f"{row.rank:,}", f"{row.one_band_rank:,}", row.candidate_id,
            f"{row.logit_two_bands:.2f}" if scored else "", row.second_mosaic or row.second_band,
        )  # fmt: skip
    console = wide_console()
    console.print(table)
    counts = candidates["second_band"].value_counts()
    console.print(
        ", ".join(f"{counts.get(what, 0):,} {what}" for what in (SCORED, INCOMPLETE, ELSEWHERE))
        + " in the second band"
    )
