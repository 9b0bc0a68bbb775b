"""How many nodes, or hours, a survey takes: from a measured rate, by arithmetic alone.

    python benchmarks/sizing.py WINDOWS_PER_SECOND WORKERS_PER_NODE [--fields N ...]
        [--field-arcmin2 A] [--stride PX] [--valid F] [--nodes N ...]

WINDOWS_PER_SECOND is what one worker does of the whole scan, cutting, scoring and writing: what
`lensweep status RUN` says of a running scan, divided by its workers.

    windows of a field = valid area / (stride x 0.05 arcsec)^2
    hours              = windows / (rate x workers per node x nodes) / 3600

For each number of fields it prints the windows, the disk that their cutouts and scores take
uncompressed, the hours on so many nodes, and how many nodes finish in a day.
"""

import argparse
import math

from rich.console import Console
from rich.table import Table

from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

# The field of view of ACS/WFC, about 202 x 202 arcsec (STScI, ACS frequently asked questions).
ACS_FIELD_ARCMIN2 = (202.0 / 60.0) ** 2
# 37,000: the ACS and WFC3 images that Garvin et al. 2022 (A&A 667, A141) searched.
FIELDS = (1, 37_000)
NODES = (1, 4, 16, 64)
DAY_S = 86_400.0
CUTOUT_BYTES = 4 * CUTOUT_SIZE**2


def windows_per_field(area_arcmin2: float, stride_px: int, valid: float) -> float:
    """Windows of a grid that lie on valid pixels.

    Parameters
    ----------
    area_arcmin2 : float
        Of one field.
    stride_px : int
        Pixels of 0.05 arcsec between windows.
    valid : float
        Share of the field's area that has data.
    """
    step_arcmin = stride_px * PIXEL_SCALE_ARCSEC / 60.0
    return area_arcmin2 * valid / step_arcmin**2


def hours(windows: float, rate: float, workers_per_node: int, nodes: int) -> float:
    """Hours that some nodes take, all workers busy.

    Parameters
    ----------
    windows : float
    rate : float
        Windows per second of one worker.
    workers_per_node, nodes : int
    """
    return windows / (rate * workers_per_node * nodes) / 3600.0


def main(asked: argparse.Namespace) -> None:
    """Print the table."""
    console = Console(width=120)
    table = Table(
        title=f"{asked.rate:g} windows/s per worker, {asked.workers} workers per node, stride "
        f"{asked.stride}, {asked.field_arcmin2:.1f} arcmin2 per field, {asked.valid:.0%} valid"
    )
    for name in ("fields", "windows", "cutouts", *(f"h on {n} nodes" for n in asked.nodes),
                 "nodes for a day"):  # fmt: skip
        table.add_column(name, justify="right")
    for fields in asked.fields:
        windows = fields * windows_per_field(asked.field_arcmin2, asked.stride, asked.valid)
        took = (hours(windows, asked.rate, asked.workers, nodes) for nodes in asked.nodes)
        in_a_day = windows / (asked.rate * asked.workers * DAY_S)
        table.add_row(
            f"{fields:,}", f"{windows:,.0f}", f"{windows * CUTOUT_BYTES / 1e9:,.1f} GB",
            *(f"{one:,.2f}" for one in took), f"{math.ceil(in_a_day):,}",
        )  # fmt: skip
    console.print(table)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; everything has to be positive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rate", type=float, help="windows per second of one worker, measured")
    parser.add_argument("workers", type=int, help="workers per node")
    parser.add_argument("--fields", type=int, nargs="+", default=FIELDS)
    parser.add_argument("--field-arcmin2", type=float, default=ACS_FIELD_ARCMIN2)
    parser.add_argument("--stride", type=int, default=50)
    parser.add_argument("--valid", type=float, default=1.0)
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    asked = parser.parse_args(arguments)
    numbers = (asked.rate, asked.workers, asked.field_arcmin2, asked.stride, asked.valid)
    if not all(number > 0 for number in (*numbers, *asked.fields, *asked.nodes)):
        parser.error("every number must be positive")
    return asked


if __name__ == "__main__":
    main(parse())
