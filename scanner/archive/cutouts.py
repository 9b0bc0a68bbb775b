"""Cutouts at catalogue positions from the services that cut, in the scanner's own format.

A folder gets the files as they came, in `fits/`, each with its origin beside it, and a cutout store
for each group of neighbours: on a scanning grid of its own, north up, 0.05 arcsec/pixel.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.files import make_folder, remove_folder, whole_file
from lensweep.ground.progress import Progress
from lensweep.scanner.archive.choice import depth_s
from lensweep.scanner.archive.cutout_services import FITSCUT_UNITS, fitscut, hapcut
from lensweep.scanner.archive.footprints import FootprintError, footprint_moc
from lensweep.scanner.archive.hla import find_in_hla
from lensweep.scanner.archive.mast import mast_address
from lensweep.scanner.archive.names import parse_name
from lensweep.scanner.archive.products import Product
from lensweep.scanner.archive.services import ServiceError, Services, open_session
from lensweep.scanner.archive.sky import Asked, Cone
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes
from lensweep.scanner.sky.grid import (
    ScanGrid,
    grid_about,
    grid_to_sky,
    read_grid_region,
    sky_to_grid,
)
from lensweep.scanner.sky.headers import MosaicError
from lensweep.scanner.sky.mosaics import inspect_mosaic
from lensweep.scanner.sky.origins import Origin, read_origin, write_origin
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.scanner.sky.windows import centred_windows

BAND, DETECTOR, CAMERA = "F814W", "WFC", "ACS/WFC"
# An answer with less of the window than this is no better than none.
LEAST_VALID = 0.01
HAPCUT, FITSCUT = "Hapcut", "fitscut"


@dataclass(frozen=True)
class _Answer:
    service: str
    name: str
    address: str
    content: bytes


def fetch_cutouts(asked: Asked, out: Path, services: Services, progress: Progress) -> pd.DataFrame:
    """Fetch a cutout at each position, and put them into cutout stores.

    Parameters
    ----------
    asked : Asked
        With positions.
    out : Path
        Folder for the stores; what is in it already is not asked for again.
    services : Services
    progress : Progress

    Returns
    -------
    DataFrame
        A row per position: `name`, `ra_deg`, `dec_deg`, `store`, `valid_fraction`, `service`,
        `file`, and `message`: why there is no cutout. Also written as `positions.csv`.

    Raises
    ------
    InputError
        If no positions are asked for.
    ServiceError
        If no cutout came, and services failed.
    """
    if not len(asked.ra_deg):
        raise InputError(f"{asked.label}: no positions; cutouts are made of a catalogue")
    folder = out / "fits"
    make_folder(folder)
    messages = _fetch_all(asked, folder, services, progress)
    rows = pd.DataFrame({
        "name": asked.names or [""] * len(asked.ra_deg), "ra_deg": asked.ra_deg,
        "dec_deg": asked.dec_deg, "store": "", "valid_fraction": np.nan, "service": "", "file": "",
        "message": messages,
    })  # fmt: skip
    for number, group in enumerate(asked.groups()):
        _build(rows, group, folder, out / f"group-{number:03d}")
    with whole_file(out / "positions.csv") as aside:
        rows.to_csv(aside, index=False)
    if not (rows["store"] != "").any():
        raise ServiceError(f"{asked.label}: not one cutout came: {rows['message'].iloc[0]}")
    return rows


def _fetch_all(asked: Asked, folder: Path, services: Services, progress: Progress) -> list[str]:
    """Fetch what is not here; why it did not come, for each position."""
    stage = progress.stage("cutouts", len(asked.ra_deg), unit="positions")
    messages = [""] * len(asked.ra_deg)
    for row, (ra, dec) in enumerate(zip(asked.ra_deg, asked.dec_deg, strict=True)):
        path = _path(folder, ra, dec)
        if read_origin(path) is None or not path.is_file():
            begun = time.monotonic()
            messages[row] = _fetch_one(path, float(ra), float(dec), services)
            # No faster than the services allow.
            time.sleep(max(0.0, 1.0 / services.requests_per_s - (time.monotonic() - begun)))
        progress.advance(stage, 1)
    return messages


def _fetch_one(path: Path, ra: float, dec: float, services: Services) -> str:
    """Fetch the best cutout of a position; why there is none, or nothing."""
    why = []
    for service, answers in (
        (HAPCUT, _of_hapcut(ra, dec, services)), (FITSCUT, _of_fitscut(ra, dec, services)),
    ):  # fmt: skip
        try:
            best = _best(answers, ra, dec, path)
        except ServiceError as error:
            why.append(str(error))
            continue
        if best is not None:
            _keep(best, path)
            return ""
        why.append(f"{service}: nothing there")
    return "; ".join(why)


def _of_hapcut(ra: float, dec: float, services: Services) -> Iterator[_Answer]:
    address = f"{mast_address()}/hapcut/api/v0.1/astrocut?ra={ra}&dec={dec}"
    for name, content in hapcut(ra, dec, BAND, DETECTOR, services):
        yield _Answer(HAPCUT, name, address, content)


def _of_fitscut(ra: float, dec: float, services: Services) -> Iterator[_Answer]:
    if not services.hla:
        return
    found = find_in_hla(Cone(ra, dec, 5.0 / 3600.0), BAND, CAMERA, services)
    with open_session(services) as session:
        for product in sorted(found, key=_depth, reverse=True):
            content = fitscut(ra, dec, product, session, services)
            address = f"{services.hla}/cgi-bin/fitscut.cgi?red={quote(product.name)}"
            yield _Answer(FITSCUT, product.name, address, content)


def _depth(product: Product) -> float:
    with suppress(FootprintError):
        return float(np.nan_to_num(depth_s(product, footprint_moc(product.footprint))))
    return 0.0


def _best(answers: Iterator[_Answer], ra: float, dec: float, path: Path) -> _Answer | None:
    """The answer that fills most of the window; the first that fills it ends the search."""
    best, most = None, LEAST_VALID
    trial = path.with_name(f".{path.name}.trial.fits")
    try:
        for answer in answers:
            trial.write_bytes(answer.content)
            try:
                valid = float(np.isfinite(_cut(trial, answer.service, *_alone(ra, dec))).mean())
            except MosaicError as error:
                raise ServiceError(f"{answer.service}, {answer.name}: {error}") from error
            if valid > most:
                best, most = answer, valid
            if valid == 1.0:
                break
    finally:
        trial.unlink(missing_ok=True)
    return best


def _keep(answer: _Answer, path: Path) -> None:
    said = parse_name(answer.name)
    origin = Origin(
        name=answer.name,
        address=answer.address,
        final_address=answer.address,
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        size_bytes=len(answer.content),
        sha256=hashlib.sha256(answer.content).hexdigest(),
        collection=answer.service,
        programme=said.programme if said else "",
    )
    with whole_file(path) as aside:
        aside.write_bytes(answer.content)
    write_origin(origin, path)


def _build(rows: pd.DataFrame, group: NDArray[np.intp], folder: Path, store: Path) -> None:
    """Make the store of a group of neighbours, of the cutouts that are here."""
    origins = {
        row: read_origin(_path(folder, rows["ra_deg"][row], rows["dec_deg"][row])) for row in group
    }
    here = np.array([row for row in group if origins[row] is not None], np.intp)
    # Made anew from files that are here: more may have come.
    remove_folder(store)
    if not len(here):
        return
    ra, dec = rows["ra_deg"].to_numpy()[here], rows["dec_deg"].to_numpy()[here]
    grid = grid_about(ra, dec)
    corners, order = centred_windows(*sky_to_grid(grid, ra, dec))
    rows_in_order = here[order]
    flux = np.stack([
        _cut(_path(folder, rows["ra_deg"][row], rows["dec_deg"][row]), _service(origins[row]),
             grid, corner)
        for row, corner in zip(rows_in_order, corners, strict=True)
    ])  # fmt: skip
    valid = np.isfinite(flux).mean(axis=(1, 2)).astype(np.float32)
    centre_x, centre_y = (corners + (CUTOUT_SIZE - 1) / 2.0).T
    content = hashlib.sha256("".join(_sha256(origins[row]) for row in rows_in_order).encode())
    attributes = StoreAttributes(
        store.name, content.hexdigest(), BAND, PIXEL_SCALE_ARCSEC, grid.wcs_header, len(here)
    )
    cutout_store.create(store, len(here), attributes)
    cutouts = Cutouts(
        flux, valid, *grid_to_sky(grid, centre_x, centre_y), centre_x, centre_y,
        corners[:, 0], corners[:, 1],
    )  # fmt: skip
    cutout_store.write_shard(store, 0, cutouts)
    rows.loc[rows_in_order, "store"] = store.name
    rows.loc[rows_in_order, "valid_fraction"] = valid
    rows.loc[rows_in_order, "service"] = [_service(origins[row]) for row in rows_in_order]
    rows.loc[rows_in_order, "file"] = [_name(origins[row]) for row in rows_in_order]


def _cut(
    path: Path, service: str, grid: ScanGrid, corner: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The window of a grid, out of a cutout's file."""
    units = FITSCUT_UNITS if service == FITSCUT or not _states_units(path) else None
    overrides = HeaderOverrides(_unstated_band(path), None, units)
    mosaic = inspect_mosaic(path, overrides, BAND, None, path.parent)
    x0, y0 = (int(number) for number in corner)
    return read_grid_region(mosaic, grid, slice(y0, y0 + CUTOUT_SIZE), slice(x0, x0 + CUTOUT_SIZE))


def _alone(ra: float, dec: float) -> tuple[ScanGrid, NDArray[np.int32]]:
    grid = grid_about([ra], [dec])
    corners, _ = centred_windows(*sky_to_grid(grid, [ra], [dec]))
    return grid, corners[0]


def _states_units(path: Path) -> bool:
    with fits.open(path) as hdus:
        return any(str(hdu.header.get("BUNIT", "")).strip() for hdu in hdus)


def _unstated_band(path: Path) -> str | None:
    """The filter that was asked for, if no header says one."""
    keys = ("FILTER", "FILTER1", "FILTER2", "PHOTMODE")
    with fits.open(path) as hdus:
        stated = any(str(hdu.header.get(key, "")).strip() for hdu in hdus for key in keys)
    return None if stated else BAND


def _path(folder: Path, ra: float, dec: float) -> Path:
    return folder / f"{ra:.5f}{dec:+.5f}.fits"


def _service(origin: Origin | None) -> str:
    return origin.collection if origin else ""


def _sha256(origin: Origin | None) -> str:
    return origin.sha256 if origin else ""


def _name(origin: Origin | None) -> str:
    return origin.name if origin else ""
