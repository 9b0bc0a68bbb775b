"""The stores of a run, made before the work and swept after it."""

from collections.abc import Sequence

import zarr

from lensweep.ground.atomic import sweep
from lensweep.ground.files import remove_folder
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.run import cutout_store, score_store
from lensweep.scanner.run.cutout_store import StoreAttributes
from lensweep.scanner.run.damage import unmark_damaged
from lensweep.scanner.run.paths import RunPaths, zarr_location
from lensweep.scanner.run.plan import Plan
from lensweep.scanner.run.records import write_record
from lensweep.scanner.run.shards import Sharded
from lensweep.scanner.run.zarr_metadata import METADATA, is_metadata
from lensweep.scanner.work.stages import failure_of, shards_to_do


def prepare(
    bundle: Bundle,
    paths: RunPaths,
    plans: Sequence[Plan],
    given_up: Sequence[Plan],
    failed: dict[str, str],
) -> list[str]:
    """Make the stores of all mosaics, and account for those that can be worked on no more.

    Returns
    -------
    list of str
        What to say of damage that was found.
    """
    notes = []
    for plan in [*plans, *given_up]:
        prepare_stores(paths, plan, bundle)
        if damaged := unmark_damaged(paths, plan):
            notes.append(
                f"mosaic {plan.mosaic.name}: files of {len(damaged)} shards are damaged or gone, "
                f"of shard {damaged[0]} first; they are done again"
            )
    for plan in given_up:
        for shard in shards_to_do(paths, [plan]):
            name = plan.mosaic.name
            write_record(paths.failure(name, shard.number), failure_of(shard, failed[name]))
    return notes


def prepare_stores(paths: RunPaths, plan: Plan, bundle: Bundle) -> None:
    """Create a mosaic's stores, or leave them if they are there."""
    mosaic = plan.mosaic
    attributes = StoreAttributes(
        mosaic.name, mosaic.sha256, mosaic.band, bundle.description.pixel_scale_arcsec,
        plan.grid.wcs_header, plan.windows_per_shard,
    )  # fmt: skip
    make_stores(paths, plan, attributes, bundle)


def make_stores(
    paths: RunPaths, plan: Sharded, attributes: StoreAttributes, bundle: Bundle
) -> None:
    """Create the stores of what is planned, or make those of a stopped run fit to be continued."""
    make_groups(paths)
    made = [
        cutout_store.create(paths.cutouts(plan.name), plan.n_windows, attributes),
        score_store.create(
            paths.scores(plan.name), plan.n_windows, plan.windows_per_shard, bundle.sha256,
            list(bundle.description.members),
        ),
    ]  # fmt: skip
    if any(made):
        # Markers of a store that somebody removed would stand for windows that are not there.
        remove_folder(paths.markers(plan.name))
    elif len(paths.score_markers(plan.name)) < plan.n_shards:
        sweep_stores(paths, plan.name)


def make_groups(paths: RunPaths) -> None:
    """Make the groups that hold the stores of all mosaics, unless they are there."""
    for root in (paths.all_cutouts, paths.all_scores):
        if not is_metadata(root / METADATA):
            (root / METADATA).unlink(missing_ok=True)
        zarr.open_group(zarr_location(root), mode="a", zarr_format=3)


def sweep_stores(paths: RunPaths, mosaic: str) -> None:
    """Remove what workers were writing of a mosaic when they were killed."""
    for folder in (paths.cutouts(mosaic), paths.scores(mosaic), paths.markers(mosaic)):
        sweep(folder, "**/*.partial")
