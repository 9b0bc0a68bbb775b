"""Stamps that somebody has: single FITS files, or many in an array of a file; how to read them.

An array is (n, y, x), or has an axis of channels, last or second, of which one is looked at. What
is not finite, and in an array of floats what is exactly 0, has no data, as in a mosaic without a
weight map.

Of other tools it is assumed, from their own sources and documentation (November 2026):

* Cutana (github.com/esa/Cutana, docs/reference/output_formats.md): a folder of batches, each with
  `images.zarr`, whose array `images` is (n, y, x, channels), and `images_metadata.parquet`, whose
  row i has the `source_id` and the `pixel_scale_arcsec_per_pixel` of image i.
* AnomalyMatch (github.com/esa/AnomalyMatch, prediction/zarr_filenames.py, and
  prediction_process_hdf5.py of its first versions): Zarr stores with an array `images` and, beside
  them, `<store>_metadata.parquet` with `original_filename`, `filename` or `source_id`; or an HDF5
  file with `images`, of bytes of PNG or JPEG pictures, and `filenames`. Pictures are stretched to
  eight bits: what a network makes of them is not what it makes of flux.
"""

import dataclasses
import functools
import glob
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from PIL import Image

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote
from lensweep.scanner.sky.names import printable

FITS, NUMPY, ZARR, HDF5 = "fits", "npy", "zarr", "hdf5"
_HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
_FITS_ENDINGS = tuple(
    f"{kind}{packed}" for kind in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)
WITHIN = "::"
# What an array of stamps is called, where nobody says.
IMAGES, FILENAMES = "images", "filenames"
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
NAME_COLUMNS = ("original_filename", "filename", "source_id")
SCALE_COLUMN = "pixel_scale_arcsec_per_pixel"


@dataclass(frozen=True)
class StampSet:
    """Stamps of one array, or single files; plain values only, so it travels to workers.

    Attributes
    ----------
    kind : str
        `fits`, `npy`, `zarr` or `hdf5`.
    paths : tuple of str
        The file or folder; of FITS, one for each stamp.
    dataset : str
        Path of the array within it; empty where it is the array.
    shape : tuple of int
        Of the array; (n,) of files, and of pictures.
    channel : int or None
        Which is looked at; None if there are none.
    metadata : str or None
        Parquet table with a row for each stamp.
    title : str
        What messages call it; by default by its path.
    """

    kind: str
    paths: tuple[str, ...]
    dataset: str = ""
    shape: tuple[int, ...] = ()
    channel: int | None = None
    metadata: str | None = None
    title: str = ""

    def __len__(self) -> int:
        return len(self.paths) if self.kind == FITS else self.shape[0]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"stamps {self.place}"

    @property
    def place(self) -> str:
        """Where an array is, as it may be named again."""
        inside = f"{WITHIN}{self.dataset}" if self.dataset else ""
        return self.title or printable(f"{self.paths[0]}{inside}")

    def absolute(self) -> "StampSet":
        """The same with paths that mean the same wherever a worker runs."""
        paths = tuple(one if is_remote(one) else str(Path(one).absolute()) for one in self.paths)
        metadata = None if self.metadata is None else str(Path(self.metadata).absolute())
        return dataclasses.replace(self, paths=paths, metadata=metadata)


def find_stamps(
    given: Sequence[str], dataset: str | None = None, channel: int | None = None
) -> list[StampSet]:
    """Find the stamps that paths name, in their order.

    Parameters
    ----------
    given : sequence of str
        FITS files; arrays (`.npy`, a Zarr array, `file.h5::dataset`); folders of FITS files, of
        Cutana or of AnomalyMatch; patterns of file names.
    dataset : str, optional
        Path of the array within HDF5 files and Zarr groups that do not say it themselves.
    channel : int, optional
        Of arrays that have channels.

    Raises
    ------
    InputError
        If there is nothing, or what is there are no stamps; the message has the shape.
    """
    sets: list[StampSet] = []
    for one in (path for name in given for path in _expanded(name)):
        for found in _found(one, dataset, channel):
            last = sets[-1] if sets else None
            if last is not None and last.kind == found.kind == FITS:
                sets[-1] = dataclasses.replace(last, paths=(*last.paths, *found.paths))
            else:
                sets.append(found)
    if not sets:
        raise InputError("no images: name at least one FITS file, or an array of stamps")
    return _joined_files(sets)


def _joined_files(sets: list[StampSet]) -> list[StampSet]:
    return [
        dataclasses.replace(one, shape=(len(one.paths),)) if one.kind == FITS else one
        for one in sets
    ]


def _expanded(name: str) -> list[str]:
    """A name, or what fits it if it is a pattern."""
    if not glob.has_magic(name) or is_remote(name) or is_file(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - of any root
    if not found and set("*?") & set(name):
        raise InputError(f"images {name}: no file fits this pattern")
    # Brackets may be part of a name.
    return found or [name]


def _found(name: str, dataset: str | None, channel: int | None) -> Iterator[StampSet]:
    path, _, inside = name.partition(WITHIN)
    inside = inside or dataset or ""
    if path.lower().endswith((".npy", *_HDF5_ENDINGS)) and not is_file(path):
        raise InputError(f"images {path}: no such file")
    if path.lower().endswith(".npy"):
        yield _checked(StampSet(NUMPY, (path,)), channel)
    elif path.lower().endswith(_HDF5_ENDINGS):
        yield _checked(StampSet(HDF5, (path,), _dataset_of(path, inside)), channel)
    elif not is_remote(path) and Path(path).is_dir():
        yield from _in_folder(Path(path), inside, channel)
    elif not is_remote(path) and not path.lower().endswith(_FITS_ENDINGS) and not is_file(path):
        raise InputError(f"images {path}: no such file or folder")
    else:
        yield StampSet(FITS, (path,))


def _in_folder(folder: Path, inside: str, channel: int | None) -> Iterator[StampSet]:
    """The stamps of a Zarr store, of a folder of them, or of FITS files."""
    stores = [folder] if _is_zarr(folder) else sorted(
        child for pattern in ("*.zarr", "*/images.zarr") for child in folder.glob(pattern)
        if _is_zarr(child)
    )  # fmt: skip
    for store in stores:
        one = StampSet(ZARR, (str(store),), _array_of(store, inside), metadata=_metadata(store))
        yield _checked(one, channel)
    if stores:
        return
    files = sorted(
        str(path) for path in folder.iterdir() if path.name.lower().endswith(_FITS_ENDINGS)
    )
    if not files:
        raise InputError(
            f"images {folder}: no FITS files and no Zarr stores in this folder; name files, an "
            "array (.npy, .zarr, file.h5::dataset), or another folder"
        )
    yield StampSet(FITS, tuple(files))


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ZARR_FILES)


def _array_of(store: Path, inside: str) -> str:
    """Where in a Zarr store the stamps are."""
    try:
        node = zarr.open(store, mode="r")
        if isinstance(node, zarr.Array):
            return ""
        names, there = sorted(name for name, _ in node.arrays()), inside in node
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        # What zarr raises depends on what stands where its metadata should.
        raise InputError(f"stamps {store}: no readable Zarr store ({error})") from error
    return _chosen(inside, names, f"stamps {store}", there)


def _dataset_of(path: str, inside: str) -> str:
    """Where in an HDF5 file the stamps are."""
    with _open_hdf5(path) as file:
        import h5py

        names: list[str] = []

        def note(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset) and name != FILENAMES:
                names.append(name)

        file.visititems(note)
        there = inside in file and isinstance(file[inside], h5py.Dataset)
        return _chosen(inside, names, f"stamps {path}", there)


def _chosen(inside: str, names: list[str], what: str, there: bool) -> str:
    if inside:
        if not there:
            raise InputError(f"{what}: no array {inside} in it, but {', '.join(names) or 'none'}")
        return inside
    if IMAGES in names:
        return IMAGES
    if len(names) != 1:
        raise InputError(
            f"{what}: holds {len(names)} arrays ({', '.join(names)}); say which one is of stamps: "
            f"--dataset NAME"
        )
    return names[0]


def _metadata(store: Path) -> str | None:
    """The table beside a store that says what its images are."""
    path = store.with_name(f"{store.stem}_metadata.parquet")
    return str(path) if path.is_file() else None


def _checked(one: StampSet, channel: int | None) -> StampSet:
    """With its shape and channel, if these are of stamps."""
    with open_array(one) as array:
        shape, dtype = tuple(array.shape), array.dtype
        if _holds_pictures(array):
            return dataclasses.replace(one, shape=shape)
    channel = channel_of(one.label, shape, dtype, channel)
    return dataclasses.replace(one, shape=shape, channel=channel)


def channel_of(
    label: str, shape: tuple[int, ...], dtype: np.dtype[Any], channel: int | None
) -> int | None:
    """The channel of an array that is looked at; None if it has none.

    Raises
    ------
    InputError
        If an array of that shape and type holds no stamps, or that channel is not there.
    """
    if len(shape) == 2 and all(shape):
        raise InputError(
            f"{label}: shape {shape} is one image, but stamps are (n, y, x); give array[None]"
        )
    if len(shape) not in (3, 4) or not all(shape):
        raise InputError(
            f"{label}: shape {shape}, but stamps are (n, y, x) or (n, y, x, channels), "
            "with n at least one"
        )
    if dtype.kind not in "iuf":
        raise InputError(f"{label}: values of type {dtype}, but pixels are numbers")
    if len(shape) == 3:
        if channel not in (None, 0):
            raise InputError(f"{label}: shape {shape} has no channels; leave out --channel")
        return None
    n_channels = shape[_channel_axis(shape)]
    if channel is None and n_channels > 1:
        raise InputError(
            f"{label}: shape {shape} has {n_channels} channels; say which one is of the "
            f"ensemble's band: --channel 0 to {n_channels - 1}"
        )
    if channel is not None and not 0 <= channel < n_channels:
        raise InputError(f"{label}: no channel {channel} in shape {shape}; 0 is the first")
    return channel or 0


def _channel_axis(shape: tuple[int, ...]) -> int:
    """The last, unless the second is shorter: stamps have more pixels than channels."""
    return 1 if shape[1] < shape[3] else 3


def _holds_pictures(array: Any) -> bool:
    """Whether each element of an HDF5 data set is a file of PNG or JPEG."""
    if array.dtype.kind != "O":
        return False
    import h5py

    return len(array.shape) == 1 and h5py.check_vlen_dtype(array.dtype) == np.uint8


@contextmanager
def open_array(one: StampSet) -> Iterator[Any]:
    """Open the array that stamps lie in: with a shape, a dtype, and slices that are read.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    (path,) = one.paths
    if one.kind == NUMPY:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{one.label}: no readable array of NumPy ({error})") from error
        yield array
    elif one.kind == ZARR:
        yield zarr.open_array(path, path=one.dataset, mode="r")
    else:
        with _open_hdf5(path) as file:
            yield file[one.dataset]


@contextmanager
def _open_hdf5(path: str) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"stamps {path}: need h5py; `pip install 'lensweep[hdf5]'`"
        ) from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"stamps {path}: no readable HDF5 file ({error})") from error
    with file:
        yield file


def read_stack(one: StampSet, start: int, stop: int) -> list[NDArray[np.float32]]:
    """Read the stamps start:stop of an array, as they are in the file; NaN where there is no data.

    Returns
    -------
    list of ndarray, shape (y, x), float32
        All of one shape, unless they are pictures.
    """
    with open_array(one) as array:
        part = array[start:stop]
    if part.dtype.kind == "O":
        return [_picture(content, one) for content in part]
    if one.channel is not None:
        part = np.take(part, one.channel, axis=_channel_axis(one.shape))
    # A float64 beyond the float32 range becomes infinite here, and so invalid.
    with np.errstate(over="ignore"):
        flux = np.array(part, np.float32)
    invalid = ~np.isfinite(flux)
    if part.dtype.kind == "f":
        invalid |= flux == 0.0
    flux[invalid] = np.nan
    return list(flux)


def _picture(content: NDArray[np.uint8], one: StampSet) -> NDArray[np.float32]:
    """A picture's mean over its colours."""
    with Image.open(io.BytesIO(content.tobytes())) as image:
        values = np.asarray(image, np.float32)
    return values if values.ndim == 2 else values[..., :3].mean(axis=2)


def names_of(one: StampSet) -> list[str] | None:
    """What the stamps of a set are called by whoever made them; None if nobody says."""
    if one.kind == HDF5:
        with _open_hdf5(one.paths[0]) as file:
            if FILENAMES not in file or len(file[FILENAMES]) != len(one):
                return None
            return [
                name.decode(errors="replace") if isinstance(name, bytes) else str(name)
                for name in file[FILENAMES][:]
            ]
    table = _read_metadata(one.metadata)
    for column in NAME_COLUMNS:
        if table is not None and column in table and len(table) == len(one):
            return [str(name) for name in table[column]]
    return None


def scales_of(one: StampSet, stated: float | None) -> NDArray[np.float64]:
    """Arcsec per pixel of every stamp of an array: as stated, or as its metadata say.

    Raises
    ------
    InputError
        If neither says.
    """
    table = _read_metadata(one.metadata) if stated is None else None
    if table is not None and SCALE_COLUMN in table and len(table) == len(one):
        scales = table[SCALE_COLUMN].to_numpy(np.float64)
        if np.isfinite(scales).all() and (scales > 0.0).all():
            return np.asarray(scales)
    if stated is None:
        raise InputError(
            f"{one.label}: no pixel scale; state pixel_scale_arcsec (--pixel-scale), arcsec per "
            "pixel"
        )
    return np.full(len(one), stated)


@functools.lru_cache(maxsize=4)
def _read_metadata(path: str | None) -> pd.DataFrame | None:
    return None if path is None else pd.read_parquet(path)


def region_of(stamp: NDArray[np.float32]) -> Callable[[slice, slice], NDArray[np.float32]]:
    """What gives a rectangle of a stamp; NaN outside of it."""

    def read(rows: slice, cols: slice) -> NDArray[np.float32]:
        out = np.full((rows.stop - rows.start, cols.stop - cols.start), np.nan, np.float32)
        inside = [
            slice(max(side.start, 0), max(0, min(side.stop, length)))
            for side, length in zip((rows, cols), stamp.shape, strict=True)
        ]
        part = stamp[inside[0], inside[1]]
        y0, x0 = inside[0].start - rows.start, inside[1].start - cols.start
        out[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
        return out

    return read
