"""Cutouts from one FITS image to disk: ours, Cutana, astropy, and what the disk takes.

    python benchmarks/cut.py [SIDE_PX] [N_CUTOUTS] [ROUNDS]

An image of SIDE_PX (6,000) a side; N_CUTOUTS (8,192) windows of 100 px, once centred on a
catalogue and once on a grid; ROUNDS (5) after one that warms the caches. A way ends when all that
it wrote is flushed to disk, as ours is anyhow. Cutana (`pip install '.[bench]'`) is skipped where
it is not installed.
"""

import functools
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from contest import Way, Work, contest, print_table
from numpy.typing import NDArray

from lensweep.ground.files import flush
from lensweep.scanner.network.noise import Noise
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, grid_to_sky, scan_grid
from lensweep.scanner.sky.mosaics import Mosaic, inspect_mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import centred_windows, grid_windows

SHARD = 512


def main(side_px: int, n_cutouts: int, rounds: int) -> None:
    """Make the image, let the ways take turns, print two tables."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image_f814w.fits"
        write_image(image, side_px)
        rng = np.random.default_rng(1)
        for kind in ("catalogue", "grid"):
            if kind == "grid":
                stride = max(1, int((side_px - CUTOUT_SIZE) / np.sqrt(n_cutouts)))
                corners = grid_windows((side_px, side_px), min(stride, CUTOUT_SIZE))[:n_cutouts]
            else:
                x, y = rng.uniform(60, side_px - 60, (2, n_cutouts))
                corners, _ = centred_windows(x, y)
            np.save(Path(folder) / f"{kind}.npy", corners)
            named = {
                "lensweep, two processes": functools.partial(ours, processes=2),
                "lensweep": ours,
                "lensweep, noise measured": functools.partial(ours, measured=True),
                "Cutana, direct": cutana_direct,
                "Cutana, streaming": cutana_streaming, "astropy Cutout2D": astropy_cutouts,
                "disk alone": disk,
            }  # fmt: skip
            ways = []
            for name, prepare in named.items():
                target = str(Path(folder) / f"{kind} {name}")
                arguments = (str(image), str(Path(folder) / f"{kind}.npy"), target)
                ways.append(Way(name, flushed, (prepare, *arguments), target))
            target = str(Path(folder) / f"{kind} page cache")
            arguments = (str(image), str(Path(folder) / f"{kind}.npy"), target)
            ways.append(Way("page cache alone, not flushed", disk, arguments, target))
            print(f"\n{len(corners):,} cutouts, {kind}, {side_px:,} x {side_px:,} px")
            print_table(contest(ways, rounds), "cutouts", "lensweep")


def write_image(path: Path, side_px: int) -> None:
    """Noise as a plain image: what every way can read."""
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.1, 2.2]
    sky.wcs.crpix = [(side_px + 1) / 2] * 2
    sky.wcs.cdelt = [-0.05 / 3600, 0.05 / 3600]
    header = sky.to_header()
    header["FILTER2"], header["BUNIT"] = "F814W", "ELECTRONS/S"
    noise = np.random.default_rng(0).normal(0.0, 0.01, (side_px, side_px)).astype(np.float32)
    fits.PrimaryHDU(noise, header).writeto(path)


def shards(corners: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The windows, as many at a time as a task of a scan cuts."""
    return [corners[first : first + SHARD] for first in range(0, len(corners), SHARD)]


def ours(image: str, windows: str, folder: str, processes: int = 1, measured: bool = False) -> Work:
    """As `cut_shard` of a scan does, in this process or in several; it also measures noise."""
    corners = np.load(windows)
    mosaic = inspect_mosaic(image, HeaderOverrides(), "F814W", "", Path(folder).parent)
    grid, store = scan_grid(mosaic), Path(folder) / "cutouts.zarr"
    attributes = StoreAttributes("image", "", "F814W", 0.05, grid.wcs_header, SHARD)
    several: Callable[..., Iterable[None]] = itertools.starmap
    if processes > 1:
        several = get_context("spawn").Pool(processes).starmap

    def work() -> float:
        cutout_store.create(store, len(corners), attributes)
        cut = functools.partial(cut_shard, store, mosaic, grid, measured)
        list(several(cut, enumerate(shards(corners))))
        return float(len(corners))

    return work


def cut_shard(
    store: Path,
    mosaic: Mosaic,
    grid: ScanGrid,
    measured: bool,
    number: int,
    corners: NDArray[np.int32],
) -> None:
    """Cut some windows into a store."""
    flux, valid = cut_windows(mosaic, grid, corners)
    x, y = (corners + (CUTOUT_SIZE - 1) / 2.0).T
    ra, dec = grid_to_sky(grid, x, y)
    cutouts = Cutouts(flux, valid, ra, dec, x, y, corners[:, 0], corners[:, 1])
    # Competitors measure nothing.
    noise = None if measured else Noise(valid, valid, valid)
    cutout_store.write_shard(store, number * SHARD, cutouts, noise)


def catalogue_for_cutana(image: str, windows: str) -> pd.DataFrame:
    """The windows' centres as Cutana wants them."""
    centres = np.load(windows) + (CUTOUT_SIZE - 1) / 2.0
    ra, dec = WCS(fits.getheader(image)).all_pix2world(*centres.T, 0)
    return pd.DataFrame(
        {"SourceID": [f"s{n}" for n in range(len(ra))], "RA": ra, "Dec": dec,
         "diameter_pixel": CUTOUT_SIZE, "fits_file_paths": f"['{image}']"}
    )  # fmt: skip


def cutana_config(folder: str) -> Any:
    """No resizing, no stretching, no unit conversion: the pixels."""
    from cutana import get_default_config

    config = get_default_config()
    config.output_dir, config.target_resolution = folder, CUTOUT_SIZE
    config.normalisation_method, config.apply_flux_conversion = "none", False
    config.skip_catalogue_validation = config.skip_fits_check = True
    config.selected_extensions = [{"name": "PRIMARY", "ext": "PrimaryHDU"}]
    return config


def cutana_direct(image: str, windows: str, folder: str) -> Work:
    """`create_cutouts_direct`, and its arrays written as they are."""
    from cutana import create_cutouts_direct

    catalogue, config = catalogue_for_cutana(image, windows), cutana_config(folder)

    def work() -> float:
        for number, batch in enumerate(create_cutouts_direct(catalogue, config)):
            np.save(Path(folder) / f"{number}.npy", batch["cutouts"])
        return float(len(catalogue))

    return work


def cutana_streaming(image: str, windows: str, folder: str) -> Work:
    """Its streaming orchestrator, writing Zarr."""
    from cutana import StreamingOrchestrator

    catalogue = catalogue_for_cutana(image, windows)
    table = f"{windows}.csv"
    catalogue.to_csv(table, index=False)

    def work() -> float:
        config = cutana_config(folder)
        config.source_catalogue = table
        streaming = StreamingOrchestrator(config)
        try:
            streaming.init_streaming(batch_size=len(catalogue), write_to_disk=True, max_workers=2)
            for _ in range(streaming.get_batch_count()):
                streaming.next_batch()
        finally:
            streaming.cleanup()
        return float(len(catalogue))

    return work


def astropy_cutouts(image: str, windows: str, folder: str) -> Work:
    """`Cutout2D` with its WCS, as in a notebook."""
    corners = np.load(windows)

    def work() -> float:
        with fits.open(image) as file:
            pixels, sky = file[0].data, WCS(file[0].header)
            cut = [
                Cutout2D(pixels, (x, y), CUTOUT_SIZE, sky, mode="partial").data
                for x, y in (corners + (CUTOUT_SIZE - 1) / 2.0).tolist()
            ]
            np.save(Path(folder) / "cutouts.npy", np.stack(cut))
        return float(len(corners))

    return work


def flushed(
    prepare: Callable[[str, str, str], Work], image: str, windows: str, folder: str
) -> Work:
    """A way, followed by the flush of all that it wrote."""
    write = prepare(image, windows, folder)

    def work() -> float:
        done = write()
        flush(path for path in Path(folder).rglob("*") if path.is_file())
        return done

    return work


def disk(_image: str, windows: str, folder: str) -> Work:
    """The same bytes, from memory to files of the same size."""
    n_cutouts = len(np.load(windows))
    pixels = np.random.default_rng(0).random((SHARD, CUTOUT_SIZE, CUTOUT_SIZE), np.float32)

    def work() -> float:
        for first in range(0, n_cutouts, SHARD):
            with (Path(folder) / str(first)).open("wb") as file:
                file.write(pixels[: n_cutouts - first].data)
        return float(n_cutouts)

    return work


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("6000", "8192", "5")[len(sys.argv) - 1 :])))
