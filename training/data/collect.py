"""Labelled cutouts from mosaics, catalogues, tables and folders of images."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client

from lensweep.ground.asked import digest_of
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import begun_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import sha256_of
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.training.data import labelled_set as labelled_store
from lensweep.training.data.collection_plan import lenses_to_avoid, plan_collection
from lensweep.training.data.image_folder import Image, list_images, read_image
from lensweep.training.data.label_table import gather_labels
from lensweep.training.data.real_cutouts import Opened, cut_rows, open_mosaics
from lensweep.training.data.requests import CollectConfig


@dataclass(frozen=True)
class Collection:
    """A request whose files have been looked at, in a folder that is claimed for it."""

    config: CollectConfig
    out: Path
    opened: Opened
    wanted: pd.DataFrame
    known: pd.DataFrame
    images: list[Image]
    image_overrides: HeaderOverrides


def open_collection(
    config: CollectConfig, overrides: HeaderOverrides, image_overrides: HeaderOverrides, out: Path
) -> Collection:
    """Check a request, and begin or continue its folder; needs no cluster.

    Parameters
    ----------
    config : CollectConfig
    overrides, image_overrides : HeaderOverrides
        What the headers of mosaics and of images do not say.
    out : Path
        Receives `cutouts.zarr`, `truth/`, `plan.parquet` and `missing.parquet`.

    Raises
    ------
    InputError
        If something named cannot be used.
    """
    wanted = gather_labels(config.catalogues if config.mosaics else (),
                           [Path(path) for path in config.labels], config.min_grade)  # fmt: skip
    images = [] if config.images is None else list_images(Path(config.images), image_overrides)
    known = lenses_to_avoid(config, wanted)
    with begun_folder(out, "data set folder"):
        opened = open_mosaics(config.mosaics, overrides, out / ".scratch")
    asked = dataclasses.asdict(config) | {
        "kind": "collection",
        "mosaics": {name: mosaic.sha256 for name, (mosaic, _) in opened.items()},
        "images": len(images),
        "images_sha256": digest_of(
            (image.path, image.is_lens, sha256_of(Path(image.path))) for image in images
        ),
        "labels_sha256": digest_of(wanted.itertuples(index=False, name=None)),
        "known_sha256": digest_of(known.itertuples(index=False, name=None)),
        "overrides": [dataclasses.asdict(overrides), dataclasses.asdict(image_overrides)],
    }
    labelled_store.claim(out, asked)
    return Collection(config, out, opened, wanted, known, images, image_overrides)


def collect(
    collection: Collection, client: Client, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Collect a data set; a stopped collection continues.

    Returns
    -------
    plan : DataFrame
        A row per cutout: ``kind``, ``is_lens``, ``object_id`` (windows that share pixels have one,
        which a fold must not split), ``source``, ``source_row``, ``name``, ``mosaic``, ``x0``,
        ``y0``, ``ra_deg``, ``dec_deg`` of the object, ``x_px``, ``y_px`` of it in the cutout,
        ``image``.
    missing : DataFrame
        `MISSING_COLUMNS`: what was asked for and could not be had, and why.

    Raises
    ------
    InputError
        If what can be had is of one class only.
    """
    config, out, opened = collection.config, collection.out, collection.opened
    path = out / "plan.parquet"
    if not path.is_file():
        plan, missing = plan_collection(
            config, opened, collection.wanted, collection.known, collection.images,
            collection.image_overrides, client,
        )  # fmt: skip
        labelled_store.write_rows(missing, out / labelled_store.MISSING)
        try:
            _refuse_one_class(plan, missing, out)
        except InputError:
            # Another request, which can be met, is not to find the folder taken.
            labelled_store.give_up(out)
            raise
        labelled_store.write_rows(plan, path)
    plan, missing = pd.read_parquet(path), pd.read_parquet(out / labelled_store.MISSING)
    labelled_store.fill(
        out, f"collected-{config.seed}", len(plan), make_shard, client, progress, plan=path,
        opened=opened, overrides=collection.image_overrides,
    )  # fmt: skip
    return plan, missing


def make_shard(
    start: int, stop: int, plan: Path, opened: Opened, overrides: HeaderOverrides
) -> tuple[Cutouts, pd.DataFrame]:
    """The cutouts of some rows of a plan, and their truth."""
    rows = pd.read_parquet(plan).iloc[start:stop].reset_index(drop=True)
    cutouts = cut_rows(rows, opened)
    for index in np.flatnonzero(rows["image"].notna()).tolist():
        flux, valid_fraction = read_image(str(rows["image"].iloc[index]), overrides)
        cutouts.flux[index], cutouts.valid_fraction[index] = flux, valid_fraction
    return cutouts, rows


def _refuse_one_class(plan: pd.DataFrame, missing: pd.DataFrame, out: Path) -> None:
    lenses = int(plan["is_lens"].sum())
    if 0 < lenses < len(plan):
        return
    counts = missing["reason"].str.replace(r"^\d+ of \d+ ", "", regex=True).value_counts()
    why = "; ".join(f"{n} {reason}" for reason, n in counts.head(3).items()) or "none were asked"
    raise InputError(
        f"{lenses} lenses and {len(plan) - lenses} others could be had, but both classes are "
        f"needed ({why}; all in {out / labelled_store.MISSING}); give other mosaics, a catalogue "
        "or labels"
    )
