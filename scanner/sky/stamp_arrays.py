"""Many stamps in one array of a file, or in files of their own: how they are read.

An array is (n, y, x), or has an axis of channels, last or second, of which one is looked at. What
is not finite, and in an array of floats what is exactly 0, has no data, as in a mosaic without a
weight map. Where they are is found in `lensweep.scanner.sky.stamps`.
"""

import dataclasses
import functools
import io
from collections.abc import Callable, Iterator
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
from lensweep.ground.files import is_remote
from lensweep.scanner.sky.names import printable

FITS, NUMPY, ZARR, HDF5 = "fits", "npy", "zarr", "hdf5"
WITHIN = "::"
# What the names of stamps are called in an HDF5 file, and in a table beside a store.
FILENAMES = "filenames"
NAME_COLUMNS = ("original_filename", "filename", "source_id")
SCALE_COLUMN = "pixel_scale_arcsec_per_pixel"
# Pictures that are brightness as they are.
_GREYS = ("L", "I", "I;16", "I;16B", "F")


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
    n_channels = shape[channel_axis(shape)]
    if channel is None and n_channels > 1:
        raise InputError(
            f"{label}: shape {shape} has {n_channels} channels; say which one is of the "
            f"ensemble's band: --channel 0 to {n_channels - 1}"
        )
    if channel is not None and not 0 <= channel < n_channels:
        raise InputError(f"{label}: no channel {channel} in shape {shape}; 0 is the first")
    return channel or 0


def channel_axis(shape: tuple[int, ...]) -> int:
    """The last, unless the second is shorter: stamps have more pixels than channels."""
    return 1 if shape[1] < shape[3] else 3


def holds_pictures(array: Any) -> bool:
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
        with open_hdf5(path) as file:
            yield file[one.dataset]


@contextmanager
def open_hdf5(path: str) -> Iterator[Any]:
    """Open an HDF5 file to read.

    Raises
    ------
    InputError
        If h5py is not installed, or it is no such file.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"stamps {path}: need h5py; `pip install 'lensweep[hdf5]'`") from error
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
        part = np.take(part, one.channel, axis=channel_axis(one.shape))
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
        # Palettes and transparency are no brightness.
        plain = image if image.mode in _GREYS else image.convert("RGB")
        values = np.asarray(plain, np.float32)
    return values if values.ndim == 2 else values.mean(axis=2)


def names_of(one: StampSet) -> list[str] | None:
    """What the stamps of a set are called by whoever made them; None if nobody says."""
    if one.kind == HDF5:
        with open_hdf5(one.paths[0]) as file:
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
