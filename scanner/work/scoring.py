"""Scores for stamps, from what was asked to a table: refuse, open a cluster, continue, write."""

import dataclasses
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensweep.catalogs.written_tables import write_table
from lensweep.deploy.cluster import open_client
from lensweep.deploy.local import open_here
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote, remove_folder
from lensweep.ground.progress import open_progress
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.run.paths import RunPaths
from lensweep.scanner.run.score_config import ScoreConfig
from lensweep.scanner.run.stamp_plan import StampPlan
from lensweep.scanner.sky.names import file_names
from lensweep.scanner.sky.scale import CUTOUT_SIZE, PIXEL_SCALE_ARCSEC
from lensweep.scanner.sky.stamp_arrays import NUMPY, StampSet, channel_of
from lensweep.scanner.sky.stamps import find_stamps
from lensweep.scanner.work.stages import BEGIN_WITH, imports_for
from lensweep.scanner.work.stamps import (
    keep_array,
    open_scores,
    plan_stamps,
    score_stamps,
    unfinished_at,
)

ARRAY = "array"
# Of many stamps for one reason, so many say it.
REASONS_SHOWN = 10


def run_scores(config: ScoreConfig, array: NDArray[Any] | None = None) -> pa.Table:
    """Score stamps, and write the table if its file is named.

    Parameters
    ----------
    config : ScoreConfig
    array : ndarray, shape (n, y, x), optional
        Stamps in memory, in the place of the config's images.

    Returns
    -------
    pyarrow.Table
        Schema `lensweep.catalogs.schemas.SCORES`.

    Raises
    ------
    InputError
        Beforehand if anything asked for cannot be; afterwards, with nothing written, if a table
        was asked for and not one stamp could be scored.
    """
    if config.out is not None:
        check_output(Path(config.out), [] if array is not None else config.images, as_table=True)
    bundle = check_bundle(config.ensemble)
    _refuse_unfit(bundle)
    if array is None:
        shown = find_stamps(config.images, config.dataset, config.channel)
    else:
        shown = [_in_memory(array, config.channel)]
    # Refused before anything is written.
    plan_stamps(config, shown, bundle)
    with ExitStack() as opened:
        paths = _folder(config, opened)
        progress = opened.enter_context(open_progress())
        hold = opened.enter_context(sole_writer(paths, progress.note))
        if array is not None:
            shown = [dataclasses.replace(shown[0], paths=(keep_array(paths, array),))]
        plans = plan_stamps(config, [one.absolute() for one in shown], bundle)
        open_scores(paths, config, plans, bundle)
        client = opened.enter_context(_client(config, bundle, plans, paths))
        table = score_stamps(config, shown, plans, bundle, paths, client, progress, hold)
        if config.out is not None:
            _write(table, config, paths, plans)
    return table


def _in_memory(array: NDArray[Any], channel: int | None) -> StampSet:
    channel = channel_of(f"stamps {ARRAY}", array.shape, array.dtype, channel)
    return StampSet(NUMPY, (ARRAY,), shape=array.shape, channel=channel, title=ARRAY)


def _refuse_unfit(bundle: Bundle) -> None:
    found = bundle.description.pixel_scale_arcsec, bundle.description.cutout_size
    if found != (PIXEL_SCALE_ARCSEC, CUTOUT_SIZE):
        raise InputError(
            f"ensemble {bundle.folder}: trained on cutouts of {found[1]} pixels at {found[0]:g} "
            f"arcsec, but stamps become {CUTOUT_SIZE} at {PIXEL_SCALE_ARCSEC:g}; use another"
        )


def _folder(config: ScoreConfig, opened: ExitStack) -> RunPaths:
    """Where the work is done: beside the table, or for this command alone."""
    if config.out is not None:
        return unfinished_at(Path(config.out))
    if config.cluster not in ("local", "cuda"):
        raise InputError(
            f"cluster {config.cluster}: its workers see no temporary folder of this machine; give "
            "out=... (--out), on storage that all see"
        )
    return RunPaths.at(Path(opened.enter_context(tempfile.TemporaryDirectory())) / "scores")


def _client(
    config: ScoreConfig, bundle: Bundle, plans: Sequence[StampPlan], paths: RunPaths
) -> AbstractContextManager[Any]:
    few = sum(plan.n_windows for plan in plans) <= config.stamps_per_shard
    if few and config.cluster == "local" and config.workers is None:
        return open_here()
    shared = None if is_remote(paths.root) else paths.root
    return open_client(
        config.cluster, config.workers, tls=config.tls, folder=shared, begin_with=BEGIN_WITH,
        imports=imports_for(bundle),
    )  # fmt: skip


def _write(
    table: pa.Table, config: ScoreConfig, paths: RunPaths, plans: Sequence[StampPlan]
) -> None:
    """Write the table; what it was made from stays only where shards failed, to be done again."""
    out = Path(str(config.out))
    reasons = table["message"].to_pylist()
    if None not in reasons:
        remove_folder(paths.root)
        more = len(reasons) - REASONS_SHOWN
        raise InputError(
            "\n".join(reasons[:REASONS_SHOWN]) + (f"\nand {more:,} more" if more > 0 else "")
        )
    try:
        write_table(table, out)
    except OSError as error:
        raise InputError(f"output file {out}: cannot be written ({error.strerror})") from error
    if not any(paths.shard_failures(plan.name) for plan in plans):
        remove_folder(paths.root)


def described(images: Any) -> tuple[tuple[str, ...], NDArray[Any] | None]:
    """What a caller in Python gives: paths, or an array in memory.

    Arrays of Zarr and data sets of h5py that lie in files are read from these.
    """
    kind = type(images).__module__.split(".")[0]
    if kind == "h5py" and images.file.mode != "r":
        return (ARRAY,), np.asarray(images[()])
    if kind == "h5py":
        return (f"{images.file.filename}::{images.name}",), None
    if kind == "zarr":
        root = getattr(images.store, "root", None)
        if root is not None:
            return (str(Path(root) / images.path),), None
        return (ARRAY,), np.asarray(images[:])
    if isinstance(images, np.ndarray):
        return (ARRAY,), images
    return file_names(images, "images"), None
