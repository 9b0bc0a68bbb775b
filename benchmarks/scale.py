"""Time and memory of a scan as it grows: 1, 4 and 16 fields, and one very large mosaic.

    python benchmarks/scale.py [SIDE_PX] [LARGE_PX] [BUNDLE] [STRIDE]

Fields of SIDE_PX (2,000) a side, and a mosaic of LARGE_PX (15,000; 0 for none) at STRIDE (100), of
noise, every window of which is scored. Whole commands, their start among it; the memory of all
their processes is sampled four times a second.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd
from contest import machine
from memory import write_mosaic
from resident import run

from lensweep.training.simulation.field import make_field

NUMBERS = (1, 4, 16)


def main(side_px: int, large_px: int, name: str, stride: int) -> None:
    """Scan more and more, print what it takes."""
    print(f"\n{machine()}\n")
    print("| mosaics | windows | seconds | ms per window | memory | resident, summed |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fields = [folder / f"field{number:02d}_f814w_drz.fits" for number in range(max(NUMBERS))]
        for number, field in enumerate(fields):
            make_field(field, number, side_px, n_lenses=4)
        for number in NUMBERS:
            scan(f"{number} of {side_px} px", fields[:number], folder / f"run{number}", name)
        if large_px:
            large = folder / "large_f814w_drz.fits"
            write_mosaic(large, large_px)
            scan(f"1 of {large_px} px", [large], folder / "large", name,
                 "--stride", str(stride), "--screen", "off")  # fmt: skip


def scan(label: str, mosaics: list[Path], out: Path, name: str, *options: str) -> None:
    """One scan, one row."""
    ran = run([sys.executable, "-m", "lensweep", "scan", *map(str, mosaics), "--out", str(out),
               "--ensemble", name, *options])  # fmt: skip
    if ran.status:
        sys.exit(f"lensweep scan ended with status {ran.status}")
    states = pd.read_parquet(out / "ledger.parquet", columns=["state"])["state"]
    print(f"| {label} | {len(states):,} | {ran.seconds:,.0f} | "
          f"{1e3 * ran.seconds / len(states):.2f} | {ran.proportional_bytes / 1e9:.2f} GB | "
          f"{ran.resident_bytes / 1e9:.2f} GB |", flush=True)  # fmt: skip


if __name__ == "__main__":
    words = (*sys.argv[1:], *("2000", "15000", "xception-7fold", "100")[len(sys.argv) - 1 :])
    main(int(words[0]), int(words[1]), words[2], int(words[3]))
