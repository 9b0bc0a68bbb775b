"""A Zarr array with a row of numbers per cutout of a data set, filled on a cluster, resumable.

A shard of cutouts is one chunk and one task. The finished chunk is the marker: rows are finite,
and what is not there yet reads as NaN.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client
from numpy.typing import NDArray

from lensweep.deploy.config import SCORE
from lensweep.ground.atomic import sweep, whole_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.work.dispatch import spread
from lensweep.training.data.labelled_set import SHARD


def fill_rows(
    kept: Path,
    shape: tuple[int, int],
    made_from: dict[str, Any],
    task: Callable[..., NDArray[np.float32]],
    client: Client,
    progress: Progress,
    stage: str = "features",
    **fixed: Any,
) -> NDArray[np.float32]:
    """Compute the rows that are missing, and read all.

    Parameters
    ----------
    kept : Path
        The array's folder.
    shape : tuple of int
        Cutouts, and numbers of each.
    made_from : dict
        What the rows depend on; rows that were made from something else are computed anew.
    task : callable
        From a shard's first cutout and end, and `fixed`, to its rows; runs on workers.
    client : distributed.Client
    progress : Progress
    stage : str
        What is shown of it.
    **fixed
        More arguments of `task`.

    Returns
    -------
    ndarray, of that shape, float32
    """
    _create(kept, shape, made_from)
    rows = zarr.open_array(kept, mode="r")
    shards = [(start, min(start + SHARD, shape[0])) for start in range(0, shape[0], SHARD)]
    missing = [shard for shard in shards if np.isnan(rows[shard[0], 0])]
    done = shape[0] - sum(stop - start for start, stop in missing)
    shown = progress.stage(stage, shape[0], done, unit="cutouts")
    done_shards = spread(
        client, _fill_shard, missing, resource=SCORE, kept=kept, task=task, fixed=fixed
    )
    for (start, stop), _ in done_shards:
        progress.advance(shown, stop - start)
    return np.asarray(rows[:])


def _create(kept: Path, shape: tuple[int, int], made_from: dict[str, Any]) -> None:
    if (kept / "zarr.json").is_file():
        there = zarr.open_array(kept, mode="r")
        if there.shape == shape and dict(there.attrs) == made_from:
            sweep(kept, "**/*.partial")
            return
    with whole_folder(kept) as partial:
        array = zarr.create_array(
            partial, shape=shape, chunks=(SHARD, shape[1]), dtype="float32", fill_value=np.nan,
            compressors=None, dimension_names=("cutout", "column"),
        )  # fmt: skip
        array.attrs.update(made_from)


def _fill_shard(
    shard: tuple[int, int],
    kept: Path,
    task: Callable[..., NDArray[np.float32]],
    fixed: dict[str, Any],
) -> None:
    start, stop = shard
    zarr.open_array(kept, mode="r+")[start:stop] = task(start, stop, **fixed)
