"""Ask the services that cut: MAST's Hapcut, of multi-visit mosaics, and HLA's fitscut."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import requests
from astropy.coordinates import SkyCoord
from astropy.io import fits

from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services, ask, first_line

# 100 pixels of 0.05 arcsec, laid across, are 177 of 0.04 (skycells); with a margin for resampling.
HAPCUT_PX = 190
# And 142 of 0.05 (HLA).
FITSCUT_PX = 150
# Names of Hapcut's files end with detector and filter, and of single exposures with theirs too.
_HAPCUT_NAME = r"_{detector}_{band}(?:_all_dr[cz].*|_[0-9.]+_-?[0-9.]+.*)?\.fits"
# HLA's images are electrons per second throughout, and its cutouts may not say so.
FITSCUT_UNITS = "electrons/s"


def hapcut(
    ra_deg: float, dec_deg: float, band: str, detector: str, services: Services
) -> list[tuple[str, bytes]]:
    """Cutouts of one filter and detector about a position, and the names of their files.

    Parameters
    ----------
    ra_deg, dec_deg : float
    band, detector : str
        As F814W, WFC.
    services : Services

    Returns
    -------
    list of (str, bytes)
        FITS files; none if no mosaic is there.

    Raises
    ------
    ServiceError
        If the service does not answer.
    """
    from astroquery.exceptions import NoResultsWarning
    from astroquery.mast import Hapcut

    def question() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoResultsWarning)
            return Hapcut.get_cutouts(SkyCoord(ra_deg, dec_deg, unit="deg"), size=HAPCUT_PX)

    try:
        answer = ask("Hapcut", question, services.tries)
    except (KeyError, OSError, ValueError) as error:
        if isinstance(error, ServiceError):
            raise
        raise ServiceError(f"Hapcut: no cutouts in its answer: {first_line(error)}") from error
    pattern = _HAPCUT_NAME.format(detector=detector.lower(), band=band.lower())
    return [(name, content) for name, content in _files(answer) if re.search(pattern, name.lower())]


def fitscut(
    ra_deg: float,
    dec_deg: float,
    product: Product,
    session: requests.Session,
    services: Services,
) -> bytes:
    """A cutout of an image of HLA about a position.

    Raises
    ------
    ServiceError
        If the service does not answer, or not with FITS.
    """
    options: dict[str, str | int] = {
        "red": product.name.removesuffix(".fits"), "RA": f"{ra_deg:.7f}", "Dec": f"{dec_deg:.7f}",
        "size": FITSCUT_PX, "format": "fits",
    }  # fmt: skip

    def question() -> bytes:
        answer = session.get(f"{services.hla.rstrip('/')}/cgi-bin/fitscut.cgi", params=options)
        answer.raise_for_status()
        return answer.content

    content = ask(f"fitscut, {product.name}", question, services.tries)
    if not content.startswith(b"SIMPLE"):
        raise ServiceError(f"fitscut, {product.name}: gives no FITS file: {content[:60]!r}")
    return content


def _files(answer: Sequence[fits.HDUList]) -> Iterator[tuple[str, bytes]]:
    for hdus in answer:
        content = io.BytesIO()
        name = str(hdus.filename)
        with hdus:
            hdus.writeto(content)
        yield name, content.getvalue()
