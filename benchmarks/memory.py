"""Peak resident memory of a scan, all processes together.

    python benchmarks/memory.py [SIDE_PX] [STRIDE]

Makes a mosaic of SIDE_PX x SIDE_PX pixels (15,000) with image and weight, scans it with the shipped
ensemble in a command of its own, and samples the resident memory of that command and all its
children four times a second. Pages of shared libraries and of the mosaic that several processes
map are counted once for each.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits


def main(side_px: int, stride: int) -> None:
    """Make the mosaic, scan it, print the peak."""
    with tempfile.TemporaryDirectory() as folder:
        mosaic = Path(folder) / "large_f814w_drz.fits"
        write_mosaic(mosaic, side_px)
        command = [sys.executable, "-m", "lensweep", "scan", str(mosaic), "--stride", str(stride),
                   "--out", str(Path(folder) / "run")]  # fmt: skip
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.25)
        print(f"mosaic {side_px} x {side_px} px, {mosaic.stat().st_size / 1e9:.2f} GB, "
              f"stride {stride}: exit status {process.returncode}, "
              f"{time.monotonic() - begin:.0f} s, peak {peak / 1e9:.2f} GB resident")  # fmt: skip


def resident(pid: int) -> int:
    """Resident memory of a process and all its children, in bytes."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


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
