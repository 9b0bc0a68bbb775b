"""Small FITS files in the layouts that HLA, HAP and users produce."""

from pathlib import Path

import numpy as np
from astropy.io import fits

CRVAL = (150.1163213, 2.2009731)


def sky_cards(
    shape, scale_arcsec=0.05, rotation_deg=0.0, matrix="CD", frame="ICRS", crval=CRVAL
) -> fits.Header:
    """Header of a TAN projection about the image's centre, y axis rotated east of north."""
    ny, nx = shape
    sine, cosine = np.sin(np.radians(rotation_deg)), np.cos(np.radians(rotation_deg))
    rotated = np.array([[-cosine, sine], [sine, cosine]])
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = crval
    header["CRPIX1"], header["CRPIX2"] = (nx + 1) / 2, (ny + 1) / 2
    step = scale_arcsec / 3600
    if matrix == "PC":
        header["CDELT1"] = header["CDELT2"] = step
    for i in range(2):
        for j in range(2):
            value = rotated[i, j] if matrix == "PC" else rotated[i, j] * step
            header[f"{matrix}{i + 1}_{j + 1}"] = float(value)
    header["RADESYS"] = frame
    if frame == "FK5":
        header["EQUINOX"] = 2000.0
    return header


def write_hla(path: Path, flux, weight=None, sky=None, primary_cards=None, sci_cards=None) -> Path:
    """[0] primary, [1] SCI and, with a weight, [2] WHT and [3] CTX; a card of None is left out."""
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "HST"
    cards = {"FILTER1": "CLEAR1L", "FILTER2": "F814W", "EXPTIME": 2028.0, **(primary_cards or {})}
    sci = fits.ImageHDU(flux, header=sky_cards(flux.shape) if sky is None else sky, name="SCI")
    sci_cards = {
        "BUNIT": "ELECTRONS/S",
        "PHOTFLAM": 7.0834177e-20,
        "PHOTPLAM": 8044.8877,
        **(sci_cards or {}),
    }
    for header, values in ((primary.header, cards), (sci.header, sci_cards)):
        header.update({key: value for key, value in values.items() if value is not None})
    hdus = [primary, sci]
    if weight is not None:
        hdus.append(fits.ImageHDU(weight, name="WHT"))
        hdus.append(fits.ImageHDU(np.ones(flux.shape, np.int32), name="CTX"))
    fits.HDUList(hdus).writeto(path)
    return path


def add_star(flux, x, y, total, sigma_px):
    """Add a Gaussian star of known flux in place."""
    rows, cols = np.indices(flux.shape)
    profile = np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / (2 * sigma_px**2))
    flux += (total * profile / (2 * np.pi * sigma_px**2)).astype(flux.dtype)
