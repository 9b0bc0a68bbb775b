"""A labelled data set on disk, whatever its pixels are from: cutouts, and the truth beside them.

`cutouts.zarr`, and `truth/<shard>.parquet`, which is written last and so says that its shard is
done.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client

from lensweep.catalogs.tables import write_frame
from lensweep.ground.asked import first_change
from lensweep.ground.atomic import sweep, write_json
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder, refuse_strangers
from lensweep.ground.progress import Progress
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes
from lensweep.scanner.work.dispatch import spread

SHARD = 512
# What all networks but those of two bands are trained on.
BAND = "F814W"
_ASKED = "dataset.json"
# What could not be had, and why; it stays where nothing was made.
MISSING = "missing.parquet"


def claim(folder: Path, asked: dict[str, Any]) -> None:
    """Begin a data set in a folder, or continue the one that is there.

    Parameters
    ----------
    folder : Path
    asked : dict
        Everything that decides its pixels and labels; JSON.

    Raises
    ------
    InputError
        If the folder holds another data set or other files, or cannot be written to.
    """
    path, asked = folder / _ASKED, json.loads(json.dumps(asked))
    check_folder(folder, "data set folder")
    try:
        refuse_strangers(folder, _ASKED, (MISSING,))
        (folder / "truth").mkdir(exist_ok=True)
        sweep(folder / "truth", "*.partial")
        if not path.is_file():
            write_json(path, asked)
    except OSError as error:
        raise InputError(
            f"data set folder {folder}: cannot be written to ({error.strerror}); name another"
        ) from error
    change = first_change(json.loads(path.read_text()), asked)
    if change is not None:
        raise InputError(
            f"data set folder {folder}: holds another data set ({change.key} was {change.was}, "
            f"now {change.now}); name a new folder, or repeat the first command"
        )


def give_up(folder: Path) -> None:
    """Let a folder go in which nothing was made; what says why stays in it.

    Parameters
    ----------
    folder : Path
        That was claimed.
    """
    (folder / _ASKED).unlink()
    (folder / "truth").rmdir()


def fill(
    folder: Path,
    name: str,
    n_cutouts: int,
    make_shard: Callable[..., tuple[Cutouts, pd.DataFrame]],
    client: Client,
    progress: Progress,
    band: str = BAND,
    **fixed: Any,
) -> None:
    """Make the shards of a data set that are not there yet, on a cluster.

    Parameters
    ----------
    folder : Path
    name : str
        Of the data set, in place of a mosaic's.
    n_cutouts : int
    make_shard : callable
        From a shard's first cutout and end, and `fixed`, to its cutouts and their truth: a row
        each, with the columns ``kind`` and ``is_lens`` at least, and ``object_id`` where one
        object may have several.
    client : distributed.Client
    progress : Progress
    band : str
        Of the cutouts.
    **fixed
        More arguments of `make_shard`.
    """
    attributes = StoreAttributes(name, "", band, 0.05, grid_wcs="", windows_per_shard=SHARD)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    cutout_store.create(folder / "cutouts.zarr", n_cutouts, attributes)
    bounds = [(start, min(start + SHARD, n_cutouts)) for start in range(0, n_cutouts, SHARD)]
    missing = [bound for bound in bounds if not _truth_path(folder, bound[0]).is_file()]
    done = n_cutouts - sum(stop - start for start, stop in missing)
    stage = progress.stage("cutouts", n_cutouts, done, unit="cutouts")
    written = spread(
        client, _write_shard, missing, folder=folder, make_shard=make_shard, fixed=fixed
    )
    for (start, stop), _ in written:
        progress.advance(stage, stop - start)


def read_truth(folder: Path) -> pd.DataFrame:
    """Read the truth of a data set: one row per cutout, in order.

    Returns
    -------
    DataFrame
        `kind`, `is_lens` and whatever else is known.
    """
    paths = sorted((folder / "truth").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def _write_shard(
    bounds: tuple[int, int],
    folder: Path,
    make_shard: Callable[..., tuple[Cutouts, pd.DataFrame]],
    fixed: dict[str, Any],
) -> None:
    start, stop = bounds
    cutouts, truth = make_shard(start, stop, **fixed)
    cutout_store.write_shard(folder / "cutouts.zarr", start, cutouts)
    write_rows(truth, _truth_path(folder, start))


def write_rows(table: pd.DataFrame, path: Path) -> None:
    """Write a table of a data set: whole, or not at all."""
    write_frame(table, path)


def _truth_path(folder: Path, start: int) -> Path:
    return folder / "truth" / f"{start:08d}.parquet"
