"""Which products are in the public cloud too, and where: MAST knows, by astroquery."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lensweep.ground.files import StoreError
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import Services, ask


def in_the_cloud(products: Sequence[Product], services: Services) -> list[Product]:
    """The same products, with addresses in STScI's public bucket where that has them.

    Which of HAP's products it has is documented nowhere: each is asked for.

    Raises
    ------
    StoreError
        If what is needed to ask is not installed.
    ServiceError
        If MAST does not answer.
    """
    uris = {product.name: uri for product in products if (uri := _uri(product.address))}
    if not uris:
        return list(products)
    where = ask("MAST", lambda: _cloud_uris(sorted(uris.values())), services.tries)
    return [
        dataclasses.replace(product, address=where.get(uris.get(product.name)) or product.address)
        for product in products
    ]


def _cloud_uris(uris: list[str]) -> dict[str | None, str | None]:
    from astroquery.exceptions import NoResultsWarning
    from astroquery.mast import Observations

    try:
        Observations.enable_cloud_dataset(verbose=False)
    except ImportError as error:
        raise StoreError(f"the public cloud: {error}; pip install 'lensweep[s3]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoResultsWarning)
            found: Any = Observations.get_cloud_uris(uris, return_uri_map=True, verbose=False)
            return dict(found or {})
    finally:
        Observations.disable_cloud_dataset()


def _uri(address: str) -> str | None:
    """The URI of a Hubble product in an address of MAST."""
    uri = parse_qs(urlsplit(address).query).get("uri", [""])[0]
    return uri if uri.lower().startswith("mast:hst/product/") else None
