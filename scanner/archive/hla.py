"""Ask the Hubble Legacy Archive, by the Simple Image Access protocol through pyvo."""

import html
import io
import math
import warnings
from typing import Any
from urllib.parse import urljoin
from xml.parsers.expat import ExpatError

import numpy as np
from astropy.io import votable
from astropy.io.votable.exceptions import VOTableSpecError

from lensweep.scanner.archive.mast import date_of_mjd
from lensweep.scanner.archive.names import parse_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services, ask, first_line, open_session
from lensweep.scanner.archive.sky import Cone

_SEARCH = "/cgi-bin/hlaSIAP.cgi"
# Single visits, mosaics of several, and high-level science products; no single exposures.
_IMAGE_TYPES = "combined,mosaic,hlsp"
# What HLA calls WFC3/UVIS and WFC3/IR together.
_INSTRUMENTS = {"ACS/WFC": "ACS", "WFC3/UVIS": "WFC3", "WFPC2": "WFPC2", "WFPC2/PC": "WFPC2-PC"}


def find_in_hla(cone: Cone, band: str, camera: str, services: Services) -> list[Product]:
    """List the images of one camera and filter that HLA has in a circle.

    Parameters
    ----------
    cone : Cone
    band : str
        As F814W.
    camera : str
        As ACS/WFC.
    services : Services
        With an address of HLA.

    Returns
    -------
    list of Product
        Those with a name of `lensweep.scanner.archive.names`; depth and rank are still open.

    Raises
    ------
    ServiceError
        If HLA does not answer, answers with an error, or with anything but a VOTable.
    """
    rows = _rows(ask(f"HLA at {services.hla}", lambda: _answer(cone, band, camera, services),
                     services.tries), services)  # fmt: skip
    found = {}
    for row in rows:
        product = _product(row, band, camera, services.hla)
        if product is not None:
            found[product.name] = product
    return list(found.values())


def _answer(cone: Cone, band: str, camera: str, services: Services) -> bytes:
    from pyvo.dal.sia import SIAQuery

    with open_session(services) as session:
        query = SIAQuery(
            services.hla.rstrip("/") + _SEARCH,
            pos=(cone.ra_deg, cone.dec_deg),
            # The side of a square.
            size=2.0 * cone.radius_deg,
            imagetype=_IMAGE_TYPES,
            inst=_INSTRUMENTS[camera],
            spectral_elt=band.lower(),
            proprietary="false",
            session=session,
        )
        with query.submit() as response:
            response.raise_for_status()
            return bytes(response.content)


def _rows(answer: bytes, services: Services) -> list[Any]:
    from pyvo.dal.exceptions import DALAccessError
    from pyvo.dal.sia import SIAResults

    try:
        with warnings.catch_warnings():
            # HLA's table is older than the standard that astropy checks.
            warnings.filterwarnings("ignore", module="astropy.io.votable")
            return list(SIAResults(votable.parse(io.BytesIO(answer), verify="ignore")))
    except (DALAccessError, VOTableSpecError, ExpatError, IndexError, ValueError) as error:
        raise ServiceError(
            f"HLA at {services.hla}: no table of images in its answer: {first_line(error)}; try "
            "later"
        ) from error


def _product(row: Any, band: str, camera: str, hla: str) -> Product | None:
    columns = {name.lower(): row[name] for name in row}
    name, said = _name(_text(columns.get("filename")), _text(columns.get("dataset")))
    if said is None or not said.to_scan or said.band != band or said.camera != camera:
        return None
    if "fits" not in _text(columns.get("format", "image/fits")).lower():
        return None
    return Product(
        name=name,
        collection=said.collection,
        level=said.level,
        camera=said.camera,
        band=said.band,
        exposure_s=_number(columns.get("exptime")),
        depth_s=math.nan,
        observed=date_of_mjd(_number(row.getbyucd("VOX:Image_MJDateObs"))),
        calibration=said.version,
        size_bytes=int(np.nan_to_num(_number(row.getbyucd("VOX:Image_FileSize")))),
        footprint=_text(columns.get("regionstcs")),
        address=urljoin(hla, html.unescape(_text(columns.get("url")))),
        programme=said.programme,
        survey=said.survey,
    )


def _name(file_name: str, dataset: str) -> tuple[str, Any]:
    """The name of a row's file: HLA leaves out its ending, or states the data set alone."""
    for text in (file_name, dataset):
        for ending in ("", ".fits", "_drz.fits"):
            name = text.rsplit("/", 1)[-1].lower() + ending
            said = parse_name(name)
            if said is not None:
                return name, said
    return "", None


def _text(value: Any) -> str:
    if value is None or value is np.ma.masked:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value).strip()


def _number(value: Any) -> float:
    return math.nan if value is None or value is np.ma.masked else float(value)
