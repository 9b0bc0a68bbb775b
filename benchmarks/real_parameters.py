"""Einstein radii of real lenses, as a network of lens parameters sees them and as published.

    python benchmarks/real_parameters.py FOLDER [NETWORK]

FOLDER holds real stamps and their manifest, as `benchmarks/real_stamps.py` reads them.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lensweep.ground.errors import InputError
from lensweep.scanner.network.lens_parameters import load_parameter_network
from lensweep.scanner.sky.grid import centre_stamp
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides

# Arcsec, of singular isothermal ellipsoids: Bolton et al. (2008, ApJ 682, 964) and Auger et al.
# (2009, ApJ 705, 1099), as tabulated with Sonnenfeld's "The SLACS strong lens sample, debiased"
# (github.com/astrosonnen/strong_lensing_tools, papers/slacs_selection/SLACS_table.cat). The other
# SLACS stamps at hand, J0753+3416 and J1051+4439, are of a later survey whose table is not.
PUBLISHED = {
    "SDSSJ0029-0055": 0.96, "SDSSJ0737+3216": 1.00, "SDSSJ0946+1006": 1.38, "SDSSJ1627-0053": 1.23,
}  # fmt: skip


def main(folder: Path, network: str) -> None:
    """Print a row for every real lens in F814W."""
    stamps = pd.read_csv(folder / "MANIFEST.csv")
    stamps = stamps[(stamps["filter"] == "F814W") & (stamps["label"] == "lens")]
    flux = np.stack([read_stamp(folder / row.file, row.pixel_scale_arcsec)
                     for row in stamps.itertuples()])  # fmt: skip
    estimates = load_parameter_network(network).estimate(flux)
    print("| object | θ_E | error | published | ellipticity |\n|---|---|---|---|---|")
    for row, mean, error in zip(stamps.itertuples(), estimates.mean, estimates.error, strict=True):
        known = PUBLISHED.get(str(row.object).split()[0])
        published = "" if known is None else f"{known:.2f}″"
        shape = np.hypot(*mean[1:3])
        print(f"| {row.object} | {mean[0]:.2f}″ | {error[0]:.2f}″ | {published} | {shape:.2f} |")


def read_stamp(path: Path, pixel_scale_arcsec: float) -> np.ndarray:
    """The middle of a stamp on the scanning grid; what its header does not say is told."""
    told = HeaderOverrides("F814W", pixel_scale_arcsec, "electrons/s")
    for overrides in (HeaderOverrides(None, None, None), told):
        try:
            mosaic = inspect_mosaic(
                str(path), overrides, "F814W", None, path.parent, require_sky_wcs=False
            )
            return centre_stamp(mosaic)[0]
        except InputError as refusal:
            error = refusal
    raise error


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "lens-parameters")
