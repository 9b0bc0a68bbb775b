"""What the commands about archives show."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.table import Table

from lensweep.catalogs.coverage import area_deg2, write_coverage
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.kept_progress import keep_progress
from lensweep.ground.progress import open_progress
from lensweep.ground.terminal import wide_console
from lensweep.scanner.archive.citations import acknowledgements, citation_lines
from lensweep.scanner.archive.cloud import in_the_cloud
from lensweep.scanner.archive.cutouts import FITSCUT, HAPCUT, fetch_cutouts
from lensweep.scanner.archive.find import CAMERAS, Found, find
from lensweep.scanner.archive.mirror import fetch
from lensweep.scanner.archive.names import HAP_MVM, HLA
from lensweep.scanner.archive.products import Product, write_products
from lensweep.scanner.archive.request import SkyRequest
from lensweep.scanner.archive.services import Services, read_services
from lensweep.scanner.archive.sky import Asked, asked_sky

TOP = 30
# What `lensweep grades` calls the shipped catalogues.
_AS_LISTS = {"lensflow": "LensFlow", "castles": "CASTLES"}


def find_sky(request: SkyRequest) -> Found:
    """Find what a command asks for."""
    services = read_services()
    with open_progress() as progress:
        found = find(
            _asked(request, services), services, progress, request.cameras or CAMERAS[:1],
            everything=request.everything,
        )  # fmt: skip
    if request.cloud:
        found = dataclasses.replace(found, products=in_the_cloud(found.products, services))
    return found


def fetch_sky(request: SkyRequest, out: Path, cite: bool) -> int:
    """Fetch cutouts at positions, and say what came and what did not; the exit status."""
    services, catalogue = read_services(), request.catalogue
    asked = _asked(dataclasses.replace(request, radius="5arcsec"), services)
    with keep_progress(out) as progress:
        rows = fetch_cutouts(asked, out, services, progress)
    console, missing = wide_console(), rows[rows["store"] == ""]
    came = rows[rows["store"] != ""]
    by_service = came.groupby("service").size()
    console.print(
        f"{len(came):,} of {len(rows):,} positions have a cutout: "
        + ", ".join(f"{count:,} by {service}" for service, count in by_service.items())
    )
    for row in missing.itertuples():
        console.print(f"none: {row.name} ({row.ra_deg:.5f}, {row.dec_deg:.5f}): {row.message}")
    console.print(f"wrote {out / 'positions.csv'}")
    if cite:
        used = {HAPCUT: HAP_MVM, FITSCUT: HLA}
        for line in acknowledgements({used[service] for service in by_service.index}):
            console.print(line)
    if catalogue is not None:
        listed = _AS_LISTS.get(catalogue.lower(), catalogue)
        console.print(
            f"next: lensweep grades --cutouts {out} --list {listed} --control 0 --out GRADES"
        )
    return 3 if len(missing) else 0


def _asked(request: SkyRequest, services: Services) -> Asked:
    return asked_sky(request, (services.sesame,) if services.sesame else ())


def show_found(found: Found, out: Path | None) -> None:
    """Print what was found, and write it: the table, and the coverage beside it."""
    console = wide_console()
    if found.products:
        console.print(_table(found))
    if len(found.products) > TOP:
        console.print(f"and {len(found.products) - TOP:,} more")
    for line in _summary(found):
        console.print(line)
    for note in found.notes:
        console.print(note, style="red")
    if out is not None:
        facts = {"asked": found.asked.label, "date": datetime.now(UTC).isoformat("T", "seconds")}
        write_products(found.products, out, facts)
        coverage = coverage_beside(out)
        write_coverage(found.coverage, coverage, {"ORIGIN": "lensweep find"})
        console.print(f"wrote {out}\nwrote {coverage}")


def coverage_beside(table: Path) -> Path:
    """Where the coverage of what a table lists is written."""
    return table.with_name(f"{table.stem}.moc.fits")


def show_fetched(products: Sequence[Product], listed: Path, folder: Path, cite: bool) -> int:
    """Fetch products, say what came of it and what to type next; the exit status.

    Raises
    ------
    InputError
        If there is nothing to fetch, or nothing could be.
    """
    if not products:
        raise InputError(f"{listed}: nothing to fetch")
    with keep_progress(folder) as progress:
        fetched = fetch(products, folder, read_services(), progress)
    if not fetched.origins:
        # What may go well later comes first.
        raise max(fetched.failed.values(), key=lambda why: isinstance(why, TryAgainError))
    console = wide_console()
    size = sum(origin.size_bytes for origin in fetched.origins.values())
    console.print(
        f"{_count(len(fetched.origins), 'file')} in {folder}, {_size(size)}: "
        f"{fetched.n_new:,} new, {len(fetched.origins) - fetched.n_new:,} were here"
    )
    for name in fetched.failed:
        console.print(f"not fetched: {name}", style="red")
    if cite:
        for line in citation_lines(one for one in products if one.name in fetched.origins):
            console.print(line)
    console.print(f"next: lensweep scan {listed} --mirror {folder} --out RUN")
    return 3 if fetched.failed else 0


def _table(found: Found) -> Table:
    table = Table(title=f"F814W images of {found.asked.label}")
    left = ("file", "collection", "camera")
    for name in ("rank", *left, "exposure", "typical", "observed", "size", "programme"):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for product in found.products[:TOP]:
        table.add_row(
            str(product.rank), product.name, f"{product.collection} {product.level}",
            product.camera, _seconds(product.exposure_s), _seconds(product.depth_s),
            product.observed, f"{product.size_bytes / 1e6:,.0f} MB" if product.size_bytes else "",
            product.programme,
        )  # fmt: skip
    return table


def _summary(found: Found) -> list[str]:
    size = sum(product.size_bytes for product in found.products)
    left_out = found.n_all - len(found.products)
    lines = [
        f"{_count(len(found.products), 'image')}, {_size(size)}"
        + (f"; {left_out:,} more show what these show (--all lists them)" if left_out else ""),
        f"they cover {found.percent:.1f} % of the {area_deg2(found.asked.moc):.3g} square degrees "
        "asked for",
    ]
    if len(found.asked.ra_deg) > 1:
        lines.append(f"{found.covered_positions:,} of {len(found.asked.ra_deg):,} positions")
    return lines


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if np.isfinite(value) else ""
