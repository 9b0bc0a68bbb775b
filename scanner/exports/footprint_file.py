"""The searched sky as a MOC file of its own."""

from pathlib import Path

import pyarrow as pa

from lensweep.catalogs.coverage import write_coverage
from lensweep.scanner.results.footprint import run_footprint


def write_moc(root: Path, _rows: pa.Table, path: Path) -> None:
    """Write the footprint of a run: cells whose centres fall on valid pixels."""
    write_coverage(run_footprint(root), path, {"CELLRULE": "centre on valid pixel"})
