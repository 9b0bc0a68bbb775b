"""Ask MAST, through astroquery: HAP single and multi-visit mosaics, HLSP, and HLA's products."""

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from astropy.time import Time

from lensweep.scanner.archive.names import parse_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import Services, ask
from lensweep.scanner.archive.sky import Cone

COLLECTIONS = ("HST", "HLSP", "HLA")
# Observations whose files are asked for together: their ids, of ten digits, go in one question.
_TOGETHER = 100


def mast_address() -> str:
    """MAST's address, as astroquery's settings have it."""
    from astroquery.mast import conf

    return str(conf.server)


def find_in_mast(cone: Cone, band: str, camera: str, services: Services) -> list[Product]:
    """List the images of one camera and filter that MAST has in a circle.

    Parameters
    ----------
    cone : Cone
    band : str
        As F814W.
    camera : str
        As ACS/WFC.
    services : Services

    Returns
    -------
    list of Product
        Those with a name of `lensweep.scanner.archive.names`; depth and rank are still open.

    Raises
    ------
    ServiceError
        If MAST does not answer.
    """
    observations = _observations(cone, band, camera, services)
    files = _files([str(row["obsid"]) for row in observations], services)
    by_observation = {str(row["obsid"]): row for row in observations}
    found = {}
    for file in files:
        # A skycell lists the visits in it too, which are observations of their own.
        observation = by_observation.get(str(file["obsID"]))
        product = None if observation is None else _product(file, observation, band, camera)
        if product is not None:
            found[product.name] = product
    return list(found.values())


def download_address(uri: str) -> str:
    """Where MAST gives the file of a URI such as `mast:HST/product/....fits`."""
    return f"{mast_address()}/api/v0.1/Download/file?uri={quote(uri, safe=':/')}"


def _observations(cone: Cone, band: str, camera: str, services: Services) -> Any:
    from astropy.coordinates import SkyCoord
    from astroquery.exceptions import NoResultsWarning
    from astroquery.mast import Observations

    def question() -> Any:
        with warnings.catch_warnings():
            # An empty answer is an answer.
            warnings.simplefilter("ignore", NoResultsWarning)
            return Observations.query_criteria(
                coordinates=SkyCoord(cone.ra_deg, cone.dec_deg, unit="deg"),
                radius=f"{cone.radius_deg} deg",
                obs_collection=list(COLLECTIONS),
                dataproduct_type="image",
                filters=band,
                # High-level products may name the instrument alone.
                instrument_name=f"{camera.split('/')[0]}*",
            )

    return ask("MAST", question, services.tries)


def _files(ids: Sequence[str], services: Services) -> Iterator[Any]:
    from astroquery.mast import Observations

    for start in range(0, len(ids), _TOGETHER):
        some = list(ids[start : start + _TOGETHER])
        yield from ask("MAST", lambda: Observations.get_product_list(some), services.tries)  # noqa: B023


def _product(file: Any, observation: Any, band: str, camera: str) -> Product | None:
    name, uri = str(file["productFilename"]), str(file["dataURI"])
    said = parse_name(name)
    # The files of an observation are its exposures' too, and other filters'.
    if said is None or not said.to_scan or said.band != band or said.camera != camera:
        return None
    return Product(
        name=name,
        collection=said.collection,
        level=said.level,
        camera=said.camera,
        band=said.band,
        exposure_s=_number(observation["t_exptime"]),
        depth_s=math.nan,
        observed=date_of_mjd(_number(observation["t_max"])),
        calibration=_text(file["prvversion"]) or date_of_mjd(_number(observation["t_obs_release"])),
        size_bytes=max(0, int(file["size"])) if file["size"] is not np.ma.masked else 0,
        footprint=_text(observation["s_region"]),
        address=uri if "://" in uri else download_address(uri),
        programme=said.programme or _text(observation["proposal_id"]),
        survey=said.survey,
    )


def _text(value: Any) -> str:
    text = "" if value is np.ma.masked else str(value).strip()
    return "" if text.lower() in ("none", "--", "nan") else text


def _number(value: Any) -> float:
    return math.nan if value is np.ma.masked else float(value)


def date_of_mjd(mjd: float) -> str:
    """A day, ISO 8601; empty for what is no day of this telescope's age."""
    return str(Time(mjd, format="mjd").isot[:10]) if 40000.0 < mjd < 1e5 else ""
