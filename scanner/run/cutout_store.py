"""The cutout Zarr format: its schema, its writer and its reader.

One Zarr v3 group holds the windows of one mosaic. A shard of windows is one file of `flux` and one
chunk of every other array, so that the task that owns a shard is the only writer of its files.

Beside the pixels lies what `lensweep.scanner.network.noise` measured of them when they were
written. Stores of version 1 lack that: it is measured when they are read, and they may be
continued.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from lensweep.ground.atomic import whole_folder
from lensweep.ground.errors import InputError
from lensweep.ground.files import written_at
from lensweep.scanner.network.noise import NOISE_FIELDS, Noise, measure_noise
from lensweep.scanner.run.chunks import make_folders, read_chunks, write_chunks
from lensweep.scanner.run.paths import zarr_location
from lensweep.scanner.run.records import FileSum
from lensweep.scanner.run.zarr_metadata import METADATA, is_metadata, mend_metadata
from lensweep.scanner.sky.scale import CUTOUT_SIZE

FORMAT = "lensweep-cutouts"
VERSION = 2
READS = (1, VERSION)
# 16 cutouts (640 kB) are the least that a reader fetches from a shard.
WINDOWS_PER_CHUNK = 16


class LostCutoutsError(ValueError):
    """Cutouts that were written, and are not there, or not all of them."""


@dataclass(frozen=True)
class StoreAttributes:
    """What holds for every cutout of a store.

    Attributes
    ----------
    mosaic : str
        Name of the mosaic, or of the simulation.
    mosaic_sha256 : str
        Of the mosaic's file as given; empty for a simulation.
    band : str
    pixel_scale_arcsec : float
    grid_wcs : str
        FITS header text of the scanning grid's WCS; empty for a simulation.
    windows_per_shard : int
    """

    mosaic: str
    mosaic_sha256: str
    band: str
    pixel_scale_arcsec: float
    grid_wcs: str
    windows_per_shard: int


@dataclass(frozen=True)
class Cutouts:
    """Consecutive cutouts of a store.

    Attributes
    ----------
    flux : ndarray, shape (n, 100, 100), float32
        e-/s; NaN where there is no data.
    valid_fraction : ndarray, shape (n,), float32
    ra_deg, dec_deg : ndarray, shape (n,), float64
        Centre, ICRS.
    x_pix, y_pix : ndarray, shape (n,), float64
        Centre in the mosaic's own pixels, 0-based.
    x0, y0 : ndarray, shape (n,), int32
        First pixel on the scanning grid.
    """

    flux: NDArray[np.float32]
    valid_fraction: NDArray[np.float32]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    x_pix: NDArray[np.float64]
    y_pix: NDArray[np.float64]
    x0: NDArray[np.int32]
    y0: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.flux)


_COLUMNS = tuple(field.name for field in dataclasses.fields(Cutouts))
# One array for what `Noise` has: every file more is flushed for every shard.
NOISE = "noise"
_UNITS = {"flux": "electron/s", "ra_deg": "deg", "dec_deg": "deg", "x_pix": "pix", "y_pix": "pix",
          "x0": "pix", "y0": "pix", "valid_fraction": "", NOISE: ""}  # fmt: skip
_DTYPES = {"flux": "float32", "valid_fraction": "float32", "x0": "int32", "y0": "int32",
           NOISE: "float32"}  # fmt: skip
# What follows the axis of windows.
_LAYOUT = {"flux": ((CUTOUT_SIZE, CUTOUT_SIZE), ("y", "x")),
           NOISE: ((len(NOISE_FIELDS),), ("measure",))}  # fmt: skip


def create(path: Path, n_windows: int, attributes: StoreAttributes) -> bool:
    """Create an empty store, or leave one that is there untouched if it is the same.

    Returns
    -------
    bool
        Whether it was created.

    Raises
    ------
    InputError
        If a store with other attributes or another number of windows is there already.
    """

    def make(folder: Path) -> None:
        _create_arrays(folder, n_windows, attributes)

    if is_made(path):
        mend_metadata(path, [field.name for field in dataclasses.fields(Cutouts)], make)
        found, n_found = read_attributes(path)
        if (found, n_found) != (attributes, n_windows):
            raise InputError(f"cutout store {path}: holds another set of windows; use a new folder")
        return False
    with whole_folder(path) as partial:
        make(partial)
    return True


def is_made(path: Path) -> bool:
    """Whether a store is there; its attributes are the last that is written of it."""
    if not (path / METADATA).is_file():
        return False
    # It was, where they are damaged by now.
    return not is_metadata(path / METADATA) or (
        "format" in zarr.open_group(zarr_location(path), mode="r").attrs
    )


def _create_arrays(path: Path, n_windows: int, attributes: StoreAttributes) -> None:
    group = zarr.create_group(zarr_location(path), zarr_format=3)
    shard = attributes.windows_per_shard
    chunk = WINDOWS_PER_CHUNK if shard % WINDOWS_PER_CHUNK == 0 else shard
    for name in (*_COLUMNS, NOISE):
        image = name == "flux"
        shape, axes = _LAYOUT.get(name, ((), ()))
        dtype = _DTYPES.get(name, "float64")
        group.create_array(
            name,
            shape=(n_windows, *shape),
            dtype=dtype,
            chunks=(chunk if image else shard, *shape),
            shards=(shard, *shape) if image else None,
            # Noise does not compress: floats of flux are stored as they are.
            compressors=None,
            fill_value=-1 if dtype == "int32" else np.nan,
            dimension_names=("window", *axes),
            attributes={"units": _UNITS[name]},
        )
    group[NOISE].attrs["columns"] = list(NOISE_FIELDS)
    make_folders(path, [*_COLUMNS, NOISE])
    group.attrs.update({"format": FORMAT, "version": VERSION, **dataclasses.asdict(attributes)})


def read_attributes(path: Path) -> tuple[StoreAttributes, int]:
    """Read the attributes and the number of windows of a store.

    Raises
    ------
    InputError
        If the folder is not a cutout store, or of another version.
    """
    if not (path / "zarr.json").is_file():
        raise InputError(f"cutout store {path}: no such store")
    group = zarr.open_group(zarr_location(path), mode="r")
    attributes: dict[str, Any] = dict(group.attrs)
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path}: format {attributes.get('format')!r}, expected {FORMAT!r}")
    if attributes["version"] not in READS:
        raise InputError(
            f"cutout store {path}: version {attributes['version']}, but this lensweep reads "
            f"version {' and '.join(map(str, READS))}; make the store again"
        )
    names = [field.name for field in dataclasses.fields(StoreAttributes)]
    n_windows = open_arrays(path, "r")["valid_fraction"].shape[0]
    return StoreAttributes(**{name: attributes[name] for name in names}), n_windows


def write_shard(
    path: Path, start: int, cutouts: Cutouts, noise: Noise | None = None
) -> dict[str, FileSum]:
    """Write one whole shard of a store, and flush it: what says that it is there may follow.

    Parameters
    ----------
    path : Path
    start : int
        The shard's first window.
    cutouts : Cutouts
    noise : Noise, optional
        Of these cutouts; measured here by default.

    Returns
    -------
    dict of str to FileSum
        Of every file that was written, for what says so.

    Raises
    ------
    ValueError
        If the cutouts are not exactly the shard that begins at `start`: two writers in one shard
        would lose each other's windows.
    """
    arrays = open_arrays(path, "r+")
    shard, n_windows = arrays["flux"].shards[0], arrays["flux"].shape[0]
    stop = start + len(cutouts)
    if start % shard or stop != min(start + shard, n_windows):
        raise ValueError(f"windows {start}:{stop} of {path} are not a shard of {shard} windows")
    values = {name: getattr(cutouts, name) for name in _COLUMNS}
    if NOISE in arrays:
        measured = measure_noise(cutouts.flux) if noise is None else noise
        values[NOISE] = np.stack(list(vars(measured).values()), axis=1)
    return write_chunks(path, start // shard, arrays, values)


def read(path: Path, start: int = 0, stop: int | None = None) -> Cutouts:
    """Read the cutouts start:stop of a store (all by default)."""
    arrays = open_arrays(path, "r")
    return Cutouts(**{name: np.asarray(arrays[name][start:stop]) for name in _COLUMNS})


def read_rows(path: Path, name: str, rows: NDArray[np.integer]) -> NDArray[Any]:
    """Read one array of a store for some cutouts, in the order asked for; they may repeat."""
    unique, back = np.unique(rows, return_inverse=True)
    return np.asarray(open_arrays(path, "r")[name].oindex[unique])[back]


def gather(places: Sequence[tuple[Path, int]]) -> Cutouts:
    """Read single cutouts of one store or several, in the order asked for.

    Parameters
    ----------
    places : sequence of (Path, int)
        A store, and the number of a cutout in it.
    """
    rows, asked = np.array([row for _, row in places]), dict[Path, list[int]]()
    for number, (store, _) in enumerate(places):
        asked.setdefault(store, []).append(number)
    back = np.argsort(np.concatenate(list(asked.values())))
    parts = [
        [read_rows(store, name, rows[mine]) for name in _COLUMNS] for store, mine in asked.items()
    ]
    return Cutouts(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))


def read_written(
    path: Path, start: int, stop: int, sums: Mapping[str, Sequence[int]] | None = None
) -> tuple[Cutouts, Noise]:
    """Read the cutouts start:stop, one shard that somebody has written, and their noise.

    To Zarr, what is lost is as if it had never been: all NaN, which elsewhere means no data.

    Parameters
    ----------
    path, start, stop
        Of which shard.
    sums : mapping, optional
        What `write_shard` has returned.

    Returns
    -------
    cutouts : Cutouts
        Read-only.
    noise : Noise

    Raises
    ------
    LostCutoutsError
        If they cannot be what was written.
    """
    values = _read_shard(path, open_arrays(path, "r"), start, stop, sums)
    cutouts = Cutouts(**{name: values[name] for name in _COLUMNS})
    noise = Noise(*values[NOISE].T) if NOISE in values else measure_noise(cutouts.flux)
    valid, places = cutouts.valid_fraction, (cutouts.ra_deg, cutouts.dec_deg)
    seen = ~np.isnan(cutouts.flux).all(axis=(1, 2))
    numbers = (valid, *places, *vars(noise).values())
    if np.isnan(numbers).any() or not np.array_equal(seen, valid > 0.0):
        raise _lost(path, start, stop, "no numbers where there should be some")
    return cutouts, noise


def read_written_flux(
    path: Path, start: int, stop: int, sums: Mapping[str, Sequence[int]] | None = None
) -> NDArray[np.float32]:
    """Read the pixels alone of one shard, as `read_written` does; read-only.

    Raises
    ------
    LostCutoutsError
        If they are not there.
    """
    flux = {"flux": open_arrays(path, "r")["flux"]}
    return _read_shard(path, flux, start, stop, sums)["flux"]


def _read_shard(
    path: Path,
    arrays: dict[str, Any],
    start: int,
    stop: int,
    sums: Mapping[str, Sequence[int]] | None,
) -> dict[str, NDArray[Any]]:
    shard = start // arrays["flux"].shards[0]
    try:
        return read_chunks(path, shard, arrays, stop - start, sums)
    except ValueError as error:
        raise _lost(path, start, stop, str(error)) from error


def _lost(path: Path, start: int, stop: int, why: str) -> LostCutoutsError:
    return LostCutoutsError(
        f"cutout store {path}: windows {start} to {stop - 1} were written, but are lost ({why})"
    )


def read_column(
    path: Path, name: str, start: int = 0, stop: int | None = None
) -> NDArray[np.generic]:
    """Read one array of a store, the windows start:stop (all by default)."""
    return np.asarray(open_arrays(path, "r")[name][start:stop])


def open_arrays(path: Path, mode: Literal["r", "r+"]) -> dict[str, Any]:
    """The arrays of a store, by name."""
    # The folder may be removed, and another store be made of the same name.
    return _opened(path, mode, written_at(path / "zarr.json"))


@functools.lru_cache(maxsize=8)
def _opened(path: Path, mode: Literal["r", "r+"], _when: tuple[Any, ...]) -> dict[str, Any]:
    """Read the metadata of a store: a file for every array, of which no shard should need all."""
    return dict(zarr.open_group(zarr_location(path), mode=mode).arrays())
