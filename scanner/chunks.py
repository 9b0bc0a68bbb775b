"""The files in which the arrays of a Zarr store hold one shard of windows: written at once, as zarr
would write them.

Nothing here is compressed, so that a file is the bytes of its array, little-endian, filled up to
the chunk's size. Zarr itself would copy every chunk three times, and write one file after another.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from catalogs.files import FLUSHED_AT_ONCE, flush, is_remote, make_folder, whole_file

# Of zarr's default chunk keys (specification v3, 8.4): `c/<shard>`, and a 0 for each axis more.
KEYS = "c"
# What stands in a shard's index for a chunk that is not there.
_NO_CHUNK = 2**64 - 1


def make_folders(path: Path, names: list[str]) -> None:
    """Make the folders that will hold the arrays' files: one less for every shard to flush."""
    for name in names:
        make_folder(path / name / KEYS)


def write_chunks(
    path: Path, shard: int, arrays: Mapping[str, Any], values: Mapping[str, NDArray[Any]]
) -> None:
    """Write what arrays hold of one shard, and flush it: what says that it is there may follow.

    Parameters
    ----------
    path : Path
        The store.
    shard : int
    arrays : mapping of str to zarr.Array
        Chunked, or sharded, along their first axis only; without compressors.
    values : mapping of str to ndarray
        All of the shard's rows of each of `arrays`.
    """
    targets = [
        path.joinpath(name, KEYS, str(shard), *"0" * (array.ndim - 1))
        for name, array in arrays.items()
    ]
    contents = [_content(array, values[name]) for name, array in arrays.items()]
    # Together: each waits for the disk.
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
        list(pool.map(_write, targets, contents))
    # In an object store what has arrived stays, and has no folders.
    if not is_remote(path):
        depths = (array.ndim for array in arrays.values())
        flush({
            folder for target, depth in zip(targets, depths, strict=True)
            for folder in list(target.parents)[:depth]
        })  # fmt: skip


def _write(target: Path, content: Sequence[bytes]) -> None:
    make_folder(target.parent)
    with whole_file(target) as aside, aside.open("wb") as file:
        for part in content:
            file.write(part)


def _content(array: Any, values: NDArray[Any]) -> Sequence[bytes]:
    chunk = array.chunks[0]
    per_shard = array.shards[0] // chunk if array.shards else 1
    n_chunks = -(-len(values) // chunk)
    values = np.ascontiguousarray(values, array.dtype.newbyteorder("<"))
    rest = np.full(
        (n_chunks * chunk - len(values), *values.shape[1:]), array.fill_value, values.dtype
    )
    pixels: list[Any] = [part.data.cast("B") for part in (values, rest) if part.size]
    if not array.shards:
        return pixels
    # Chunks in their order, and the index of zarr's sharding codec (specification v3,
    # sharding_indexed 1.0).
    n_bytes = chunk * values[:1].nbytes
    index = np.full((per_shard, 2), _NO_CHUNK, "<u8")
    index[:n_chunks, 0] = np.arange(n_chunks) * n_bytes
    index[:n_chunks, 1] = n_bytes
    checksum = int(google_crc32c.value(index.tobytes())).to_bytes(4, "little")
    return [*pixels, index.tobytes(), checksum]
