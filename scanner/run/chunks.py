"""The files in which the arrays of a Zarr store hold one shard of windows: written at once, as zarr
would write them, and read as they are.

Nothing here is compressed, so that a file is the bytes of its array, little-endian, filled up to
the chunk's size. Zarr itself would copy every chunk three times, and write one file after another:
`benchmarks/chunks.py` has what that costs.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from lensweep.ground.files import FLUSHED_AT_ONCE, flush, is_remote, make_folder, whole_file
from lensweep.scanner.run.records import FileSum, sum_of_parts

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
) -> dict[str, FileSum]:
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

    Returns
    -------
    dict of str to FileSum
        Of every file, by its path within the store.
    """
    targets = [path / file_name(shard, name, array) for name, array in arrays.items()]
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
    return {
        file_name(shard, name, array): sum_of_parts(content)
        for (name, array), content in zip(arrays.items(), contents, strict=True)
    }


def read_chunks(
    path: Path,
    shard: int,
    arrays: Mapping[str, Any],
    n_rows: int,
    sums: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Read what `write_chunks` has written of one shard.

    Parameters
    ----------
    path, shard, arrays
        As there.
    n_rows : int
        How many rows were written.
    sums : mapping of str to FileSum, optional
        What `write_chunks` has returned.

    Returns
    -------
    dict of str to ndarray
        Read-only.

    Raises
    ------
    ValueError
        If a file is not there, or cannot be what was written.
    """
    found = {}
    for name, array in arrays.items():
        file = file_name(shard, name, array)
        found[name] = _read(path / file, array, n_rows, (sums or {}).get(file))
    return found


def file_name(shard: int, name: str, array: Any) -> str:
    """The file that holds what an array has of one shard, as it lies in the store."""
    return "/".join((name, KEYS, str(shard), *"0" * (array.ndim - 1)))


def _read(source: Path, array: Any, n_rows: int, expected: Sequence[int] | None) -> NDArray[Any]:
    dtype, shape = array.dtype.newbyteorder("<"), array.shape[1:]
    n_chunks, end = _layout(array, n_rows)
    n_values = n_chunks * array.chunks[0] * math.prod(shape)
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{source} is not there") from None
    n_bytes = n_values * dtype.itemsize
    if len(content) != n_bytes + len(end) or content[n_bytes:] != end:
        raise ValueError(f"{source} is damaged")
    if expected is not None and sum_of_parts([content]) != tuple(expected):
        raise ValueError(f"{source} is damaged: its checksum is another")
    return np.frombuffer(content, dtype, n_values).reshape(-1, *shape)[:n_rows]


def _write(target: Path, content: Sequence[bytes]) -> None:
    make_folder(target.parent)
    with whole_file(target) as aside, aside.open("wb") as file:
        for part in content:
            file.write(part)


def _content(array: Any, values: NDArray[Any]) -> Sequence[bytes]:
    n_chunks, end = _layout(array, len(values))
    values = np.ascontiguousarray(values, array.dtype.newbyteorder("<"))
    n_rest = n_chunks * array.chunks[0] - len(values)
    rest = np.full((n_rest, *values.shape[1:]), array.fill_value, values.dtype)
    pixels: list[Any] = [part.data.cast("B") for part in (values, rest) if part.size]
    return [*pixels, end]


def _layout(array: Any, n_rows: int) -> tuple[int, bytes]:
    """In how many chunks rows lie, and what follows them in the file."""
    chunk = array.chunks[0]
    n_chunks = -(-n_rows // chunk)
    if not array.shards:
        return n_chunks, b""
    # Chunks in their order, and the index of zarr's sharding codec (specification v3,
    # sharding_indexed 1.0).
    n_bytes = chunk * math.prod(array.shape[1:]) * array.dtype.itemsize
    index = np.full((array.shards[0] // chunk, 2), _NO_CHUNK, "<u8")
    index[:n_chunks, 0] = np.arange(n_chunks) * n_bytes
    index[:n_chunks, 1] = n_bytes
    checksum = int(google_crc32c.value(index.tobytes())).to_bytes(4, "little")
    return n_chunks, index.tobytes() + checksum
