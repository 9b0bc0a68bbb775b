"""Peak memory of a scan, all processes together.

    python benchmarks/memory.py [SIDE_PX] [STRIDE]

Makes a mosaic of SIDE_PX x SIDE_PX pixels (15,000) with image and weight, scans it with the shipped
ensemble in a command of its own, every window and in full precision, and samples the memory of that
command and all its children four times a second.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from resident import run


def main(side_px: int, stride: int) -> None:
    """Make the mosaic, scan it, print the peak."""
    with tempfile.TemporaryDirectory() as folder:
        mosaic = Path(folder) / "large_f814w_drz.fits"
        write_mosaic(mosaic, side_px)
        ran = run([sys.executable, "-m", "lensweep", "scan", str(mosaic), "--stride", str(stride),
                   "--screen", "off", "--out", str(Path(folder) / "run")])  # fmt: skip
        print(f"mosaic {side_px} x {side_px} px, {mosaic.stat().st_size / 1e9:.2f} GB, "
              f"stride {stride}: exit status {ran.status}, {ran.seconds:.0f} s, peak "
              f"{ran.proportional_bytes / 1e9:.2f} GB of memory ({ran.resident_bytes / 1e9:.2f} GB "
              "resident, with shared pages counted for each process)")  # fmt: skip


def write_mosaic(path: Path, side_px: int) -> None:
    """Write noise with a weight map in HLA's layout, a strip of rows at a time."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.1, 2.2
    header["CRPIX1"] = header["CRPIX2"] = (side_px + 1) / 2
    header["CD1_1"], header["CD1_2"] = -0.05 / 3600, 0.0
    header["CD2_1"], header["CD2_2"] = 0.0, 0.05 / 3600
    header["BUNIT"] = "ELECTRONS/S"
    primary = fits.PrimaryHDU()
    primary.header["FILTER2"] = "F814W"
    primary.writeto(path)
    rng = np.random.default_rng(0)
    for name in ("SCI", "WHT"):
        plane = fits.ImageHDU(header=header, name=name)
        plane.header["BITPIX"], plane.header["NAXIS"] = -32, 2
        plane.header["NAXIS1"] = plane.header["NAXIS2"] = side_px
        with path.open("ab") as file:
            file.write(plane.header.tostring().encode())
            for _ in range(side_px):
                row = rng.normal(0.0, 0.01, side_px) if name == "SCI" else np.full(side_px, 2028.0)
                file.write(row.astype(">f4").tobytes())
            file.write(b"\0" * (-4 * side_px**2 % 2880))


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("15000", "100")[len(sys.argv) - 1 :])))
