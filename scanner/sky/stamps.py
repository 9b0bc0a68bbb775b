"""Stamps that somebody has: single FITS files, or many in an array of a file; where they are.

Of other tools it is assumed, from their own sources and documentation (November 2026):

* Cutana (github.com/esa/Cutana, docs/reference/output_formats.md; stores that its version 0.4.0
  wrote are read in tests/test_cutana.py): a folder of batches, each with
  `images.zarr`, whose array `images` is (n, y, x, channels), and `images_metadata.parquet`, whose
  row i has the `source_id` and the `pixel_scale_arcsec_per_pixel` of image i.
* AnomalyMatch (github.com/esa/AnomalyMatch, prediction/zarr_filenames.py, and
  prediction_process_hdf5.py of its first versions): Zarr stores with an array `images` and, beside
  them, `<store>_metadata.parquet` with `original_filename`, `filename` or `source_id`; or an HDF5
  file with `images`, of bytes of PNG or JPEG pictures, and `filenames`. Pictures are stretched to
  eight bits: what a network makes of them is not what it makes of flux.
"""

import dataclasses
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zarr

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_file, is_remote
from lensweep.scanner.sky.stamp_arrays import (
    FILENAMES,
    FITS,
    HDF5,
    NUMPY,
    WITHIN,
    ZARR,
    StampSet,
    channel_of,
    holds_pictures,
    open_array,
    open_hdf5,
)

_HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
_FITS_ENDINGS = tuple(
    f"{kind}{packed}" for kind in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)
# What an array of stamps is called, where nobody says.
IMAGES = "images"
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


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
    with open_hdf5(path) as file:
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
        if holds_pictures(array):
            return dataclasses.replace(one, shape=shape)
    channel = channel_of(one.label, shape, dtype, channel)
    return dataclasses.replace(one, shape=shape, channel=channel)
