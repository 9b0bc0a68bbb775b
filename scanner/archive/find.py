"""Find what the archives hold of a piece of sky: ranked, and what of it they have not."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from mocpy import MOC

from lensweep.catalogs.coverage import area_deg2, inside, joined
from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.scanner.archive.choice import choose, depth_s
from lensweep.scanner.archive.citations import doi_of
from lensweep.scanner.archive.footprints import FootprintError, footprint_moc
from lensweep.scanner.archive.hla import find_in_hla
from lensweep.scanner.archive.mast import find_in_mast
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services
from lensweep.scanner.archive.sky import Asked, Cone

CAMERAS = ("ACS/WFC", "WFC3/UVIS", "WFPC2")
_Search = Callable[[Cone, str, str, Services], list[Product]]


@dataclass(frozen=True)
class Found:
    """What the archives hold of a piece of sky.

    Attributes
    ----------
    asked : Asked
    products : list of Product
        To take, the best first.
    n_all : int
        Products that overlap what was asked, those left out too.
    coverage : MOC
        What was asked and is in `products`.
    covered_positions : int
        Positions that lie in it.
    notes : list of str
        Services that gave no answer, and products that could not be judged.
    silent : tuple of str
        Names of the services that gave no answer.
    """

    asked: Asked
    products: list[Product]
    n_all: int
    coverage: MOC
    covered_positions: int
    notes: list[str]
    silent: tuple[str, ...]

    @property
    def percent(self) -> float:
        """Share of the sky that was asked for."""
        return min(100.0, 100.0 * area_deg2(self.coverage) / area_deg2(self.asked.moc))


def find(
    asked: Asked,
    services: Services,
    progress: Progress,
    cameras: Sequence[str] = CAMERAS[:1],
    band: str = "F814W",
    everything: bool = False,
) -> Found:
    """Ask all services for a piece of sky, and rank what they have.

    Parameters
    ----------
    asked : Asked
    services : Services
    progress : Progress
    cameras : sequence of str
        Of `CAMERAS`.
    band : str
    everything : bool
        Products of sky that better ones have, too.

    Raises
    ------
    InputError
        Another camera.
    ServiceError
        If no service answers.
    """
    unknown = sorted(set(cameras) - set(CAMERAS))
    if unknown or not cameras:
        raise InputError(f"camera {', '.join(unknown) or 'none'}: must be of {', '.join(CAMERAS)}")
    listed, failed = _ask_all(asked, services, progress, cameras, band)
    notes = [f"{error}: what only {name} has is not listed" for name, error in failed.items()]
    footprints, unreadable = _footprints(listed)
    if unreadable:
        notes.append(
            f"{len(unreadable):,} products have no footprint that can be read, and are left out: "
            f"{unreadable[0]}" + (" and others" if len(unreadable) > 1 else "")
        )
    here = [
        dataclasses.replace(
            product, depth_s=depth_s(product, footprints[product.name]), doi=doi_of(product)
        )
        for product in listed
        if product.name in footprints
        and not footprints[product.name].intersection(asked.moc).empty()
    ]
    chosen = choose(here, footprints, asked.moc, everything)
    coverage = joined(footprints[product.name] for product in chosen).intersection(asked.moc)
    covered = int(np.count_nonzero(inside(coverage, asked.ra_deg, asked.dec_deg)))
    return Found(asked, chosen, len(here), coverage, covered, notes, tuple(failed))


def _ask_all(
    asked: Asked,
    services: Services,
    progress: Progress,
    cameras: Sequence[str],
    band: str,
) -> tuple[list[Product], dict[str, ServiceError]]:
    """All products of all services, each file once, and why a service is missing."""
    searches: dict[str, _Search] = {"MAST": find_in_mast}
    if services.hla:
        searches["HLA"] = find_in_hla
    found: dict[str, Product] = {}
    failed: dict[str, ServiceError] = {}
    questions = [(cone, camera) for cone in asked.cones for camera in cameras]
    for service, search in searches.items():
        stage = progress.stage(f"asking {service}", len(questions), unit="questions")
        for cone, camera in questions:
            try:
                products = search(cone, band, camera, services)
            except ServiceError as error:
                # A part of an answer would look like sky that was never observed.
                failed[service] = error
                break
            for product in products:
                # MAST comes first: HLA's own addresses may be withdrawn.
                found.setdefault(product.name.lower(), product)
            progress.advance(stage, 1)
    if len(failed) == len(searches):
        raise ServiceError("; ".join(str(error) for error in failed.values()))
    return list(found.values()), failed


def _footprints(products: Sequence[Product]) -> tuple[dict[str, MOC], list[str]]:
    footprints, unreadable = {}, []
    for product in products:
        try:
            footprints[product.name] = footprint_moc(product.footprint)
        except FootprintError as error:
            unreadable.append(f"{product.name} ({error})")
    return footprints, unreadable
