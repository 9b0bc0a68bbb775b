"""A simulated field as a file of the Hubble Legacy Archive, and the truth beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from lensweep.ground.files import whole_file
from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.exposures import EXPOSURE_S, N_EXPOSURES, Coverage

# PHOTFLAM and PHOTPLAM: those of light.ZERO_POINT_AB, and in F606W by the same formula those of the
# zero point and the pivot wavelength of `lensweep.training.simulation.bands`.
PHOTOMETRY = {"F814W": (7.03e-20, 8057.0), "F606W": (7.856e-20, 5919.0)}


def sky_header(rng: np.random.Generator, size_px: int) -> fits.Header:
    """North-up TAN coordinates about a position drawn in the southern Galactic cap.

    A position of its own for every seed: two fields never overlap, and no catalogue is matched
    but by chance.
    """
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"] = float(rng.uniform(0.0, 60.0))
    header["CRVAL2"] = float(rng.uniform(-60.0, -45.0))
    header["CRPIX1"] = header["CRPIX2"] = (size_px + 1) / 2.0
    step = PIXEL_SCALE_ARCSEC / 3600.0
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -step, 0.0, 0.0, step
    header["RADESYS"] = "ICRS"
    return header


def with_sky_positions(table: pd.DataFrame, header: fits.Header) -> pd.DataFrame:
    """A table with ``ra_deg`` and ``dec_deg`` in front of its ``x_pix`` and ``y_pix``.

    Parameters
    ----------
    table : DataFrame
        Changed in place; pixels count from 0.
    header : Header
        As `sky_header` makes it.
    """
    ra_deg, dec_deg = WCS(header).all_pix2world(table["x_pix"], table["y_pix"], 0)
    table.insert(0, "ra_deg", ra_deg)
    table.insert(1, "dec_deg", dec_deg)
    return table


def write_field(
    path: Path, flux: NDArray[np.float32], coverage: Coverage, sky: fits.Header, seed: int,
    band: str,
) -> None:  # fmt: skip
    """Write a mosaic as drizzled ones of ACS/WFC are written: SCI, WHT and CTX.

    Parameters
    ----------
    path : Path
        Written aside and renamed.
    flux : ndarray, shape (ny, nx), float32, e-/s
    coverage : Coverage
    sky : Header
        The sky coordinates.
    seed : int
        Said in the header, as is that the pixels are simulated.
    band : str
        A key of `PHOTOMETRY`.
    """
    primary = fits.PrimaryHDU()
    exposure = {"EXPTIME": (N_EXPOSURES * EXPOSURE_S, "seconds")}
    primary.header.update(
        {
            "TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC", "FILTER1": "CLEAR1L",
            "FILTER2": band, "TARGNAME": "SIMULATED", **exposure,
            "SIMULATD": (True, "these pixels are SIMULATED, not observed"),
            "SIMSEED": (seed, "seed of the simulation"),
        }
    )  # fmt: skip
    primary.header["COMMENT"] = "Simulated by lensweep; not Hubble data."
    science = fits.ImageHDU(flux, header=sky, name="SCI")
    photflam, photplam = PHOTOMETRY[band]
    science.header.update(
        {
            "BUNIT": "ELECTRONS/S", **exposure, "PHOTFLAM": photflam, "PHOTPLAM": photplam,
            "ORIENTAT": (0.0, "position angle of the image's y axis, degrees"),
        }
    )  # fmt: skip
    weight = (coverage.n_exposures * EXPOSURE_S).astype(np.float32)
    planes = [primary, science, fits.ImageHDU(weight, sky, "WHT"),
              fits.ImageHDU(coverage.context, sky, "CTX")]  # fmt: skip
    with whole_file(path) as aside:
        fits.HDUList(planes).writeto(aside)


def write_truth(path: Path, table: pd.DataFrame) -> None:
    """Write what was planted, as CSV; the file is whole, or not there."""
    with whole_file(path) as aside:
        table.to_csv(aside, index=False)
