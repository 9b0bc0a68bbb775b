"""What the command line shows of a data set: what it holds, and what could not be had."""

from pathlib import Path

import pandas as pd
from rich.console import Console

from lensweep.ground.terminal import plain_console

SHOWN = 20


def show_dataset(rows: pd.DataFrame, missing: pd.DataFrame | None, out: Path) -> None:
    """Print the kinds of a data set's cutouts, and what is missing with the reason.

    Parameters
    ----------
    rows : DataFrame
        ``kind`` and ``is_lens``; ``object_id`` if objects have several cutouts.
    missing : DataFrame or None
        `collect.MISSING_COLUMNS`.
    out : Path
    """
    console = plain_console()
    n_lenses = int(rows["is_lens"].sum())
    objects = f" of {rows['object_id'].nunique():,} objects" if "object_id" in rows else ""
    console.print(f"{len(rows):,} cutouts{objects}: {n_lenses:,} lenses, "
                  f"{len(rows) - n_lenses:,} others")  # fmt: skip
    for kind, count in rows["kind"].value_counts().items():
        console.print(f"  {count:>7,}  {kind}")
    if missing is not None and len(missing):
        _show_missing(console, missing, out)
    console.print(f"wrote {out}")


def _show_missing(console: Console, missing: pd.DataFrame, out: Path) -> None:
    console.print(f"{len(missing):,} could not be had, all in {out / 'missing.parquet'}:")
    groups = missing.groupby(["source", "reason"], sort=False)
    for number, ((source, reason), rows) in enumerate(groups):
        if number == SHOWN:
            console.print(f"  and {groups.ngroups - SHOWN:,} more reasons")
            break
        names = [name for name in rows["name"].head(3) if isinstance(name, str) and name]
        some = f" ({', '.join(names)}{', ...' if len(rows) > len(names) else ''})" if names else ""
        console.print(f"  {len(rows):>7,}  {source}: {reason}{some}")
