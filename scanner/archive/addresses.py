"""Mosaics at addresses, for a scan: read by section or fetched first, whichever takes less."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, make_folder
from lensweep.scanner.archive.citations import doi_of
from lensweep.scanner.archive.download import download, here
from lensweep.scanner.archive.names import parse_name, safe_name
from lensweep.scanner.archive.products import Product, is_find_table, read_products
from lensweep.scanner.archive.services import open_session, read_services
from lensweep.scanner.run.config import ScanConfig
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.plan import list_windows
from lensweep.scanner.sky.grid import scan_grid
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.names import file_name
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.remote import NoSectionsError, describe
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC

# Sections come one by one, each after a question: they have to be fewer bytes by so much.
WORTH_IT = 0.5


@dataclass(frozen=True)
class Reading:
    """How a mosaic at an address is read.

    Attributes
    ----------
    path : str
        Its address if by section, else its file here.
    why : str
        In words, for the user.
    """

    path: str
    why: str


def with_addresses(mosaics: Sequence[str]) -> tuple[str, ...]:
    """The same mosaics, with the addresses in a table of `lensweep find` instead of the table.

    Raises
    ------
    InputError
        If a table cannot be read, or lists nothing.
    """
    expanded: list[str] = []
    for mosaic in mosaics:
        if is_remote(mosaic) or not is_find_table(mosaic):
            expanded.append(mosaic)
            continue
        products = read_products(Path(mosaic))
        if not products:
            raise InputError(f"{mosaic}: lists no product")
        expanded += [product.address for product in products]
    return tuple(expanded)


def product_of(address: str) -> Product:
    """What the address of a file says of it by itself.

    Raises
    ------
    InputError
        If there is no name of a file in it that may be used here.
    """
    name = safe_name(file_name(address))
    said = parse_name(name)
    product = Product(
        name=name,
        collection=said.collection if said else "",
        level=said.level if said else "",
        camera=said.camera if said else "",
        band=said.band if said else "",
        exposure_s=math.nan,
        depth_s=math.nan,
        observed="",
        calibration=said.version if said else "",
        size_bytes=0,
        footprint="",
        address=address,
        programme=said.programme if said else "",
        survey=said.survey if said else "",
    )
    return dataclasses.replace(product, doi=doi_of(product))


def way_to_read(address: str, config: ScanConfig, band: str, root: str) -> str | None:
    """Why a mosaic is to be read by section; None if it is to be fetched.

    By section only headers and the rows of planned windows are fetched; each window costs its own.
    """
    if config.mirror is not None or config.centres in ("grid", "sources"):
        return None
    try:
        size = describe(address).size_bytes
        overrides = HeaderOverrides(config.band, config.pixel_scale_arcsec, config.units)
        scratch = RunPaths.at(root).scratch
        mosaic = inspect_mosaic(address, overrides, band, config.ensemble, scratch)
    except NoSectionsError:
        return None
    windows = len(list_windows(mosaic, scan_grid(mosaic), config, root).corners)
    # A window that is resampled may lie across: its diagonal.
    rows = CUTOUT_SIZE * PIXEL_SCALE_ARCSEC / mosaic.pixel_scale_arcsec * np.sqrt(2.0)
    share = windows * rows / mosaic.shape[0]
    if share > WORTH_IT:
        return None
    return (
        f"{mosaic.name}: read by section: {windows:,} windows take at most "
        f"{100.0 * share:.2g} % of its {size / 1e6:,.0f} MB"
    )


def bring(address: str, config: ScanConfig, root: str) -> Reading:
    """Fetch a mosaic, unless it is here; where it is now, and why it was fetched.

    Raises
    ------
    InputError
        If the run lies in an object store, where no file can be opened, and there is no mirror; or
        the address gives none.
    """
    scratch = RunPaths.at(root).scratch
    if config.mirror is None and is_remote(scratch):
        raise InputError(f"{file_name(address)}: fetched for a run in {root}: name --mirror FOLDER")
    folder = scratch if config.mirror is None else Path(config.mirror)
    make_folder(folder)
    product, services = product_of(address), read_services()
    found = here(product, folder)
    if found is None:
        with open_session(services) as session:
            found = download(product, folder, session, services, lambda n_bytes: None)
    why = "as --mirror asks" if config.mirror else f"since {_whole(config)}"
    size = f"{found.size_bytes / 1e6:,.0f} MB"
    return Reading(str(folder / product.name), f"{product.name}: fetched ({size}), {why}")


def _whole(config: ScanConfig) -> str:
    if config.centres in ("grid", "sources"):
        return "every pixel of it is looked at"
    return "its windows would take about as much, or its server gives whole files only"
