"""The metadata of the Zarr stores of a run: told from half of it, and written again."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lensweep.ground.files import FLUSHED_AT_ONCE, whole_file

METADATA = "zarr.json"


def mend_metadata(store: Path, names: Sequence[str], make: Callable[[Path], None]) -> None:
    """Write the metadata of a store's arrays, and of itself, again where they are damaged.

    They say what the run's plan says: nothing is lost with them.

    Parameters
    ----------
    store : Path
        A store that was made.
    names : sequence of str
        Its arrays.
    make : callable
        Makes the same store, without a shard, in a folder.
    """
    files = [METADATA, *(f"{name}/{METADATA}" for name in names)]
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
        whole = pool.map(lambda file: is_metadata(store / file), files)
    damaged = [file for file, good in zip(files, whole, strict=True) if not good]
    if damaged:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "store")
            for file in damaged:
                with whole_file(store / file) as aside:
                    shutil.copyfile(Path(folder) / "store" / file, aside)


def is_metadata(path: Path) -> bool:
    """Whether a file is metadata of Zarr, and not half of it."""
    try:
        return "zarr_format" in json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, TypeError):
        return False
