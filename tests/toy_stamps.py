"""Cutouts that anybody can tell apart: a galaxy with a ring about it, and one without."""

import numpy as np
import pandas as pd

from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts, StoreAttributes


def draw_toy(n, size_px=100, seed=0, ring=30.0):
    """Cutouts, shape (n, size, size), of which every other has a ring, and labels.

    A hundredth of the pixels have no data.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices((size_px, size_px)) - (size_px - 1) / 2.0
    labels = np.arange(n) % 2 == 0
    flux = rng.normal(0.0, 1.0, (n, size_px, size_px))
    for image, is_lens in zip(flux, labels, strict=True):
        dx, dy = rng.uniform(-2.0, 2.0, 2)
        radius = np.hypot(x - dx, (y - dy) / rng.uniform(0.8, 1.0))
        image += rng.uniform(20.0, 60.0) * np.exp(-radius / (0.05 * size_px))
        if is_lens:
            image += ring * np.exp(-0.5 * ((radius - 0.2 * size_px) / 2.0) ** 2)
    flux[rng.random(flux.shape) < 0.01] = np.nan
    return (0.01 * flux).astype(np.float32), labels


def write_toy_set(folder, n, seed=0, ring=30.0):
    """A labelled set of them in a folder, as a simulation leaves it, but made at once."""
    flux, labels = draw_toy(n, seed=seed, ring=ring)
    valid = np.isfinite(flux).mean(axis=(1, 2)).astype(np.float32)
    nowhere, corner = np.full(n, np.nan), np.zeros(n, np.int32)
    attributes = StoreAttributes(f"toy-{seed}", "", "F814W", 0.05, grid_wcs="",
                                 windows_per_shard=n)  # fmt: skip
    cutout_store.create(folder / "cutouts.zarr", n, attributes)
    cutouts = Cutouts(flux, valid, *[nowhere] * 4, corner, corner)
    cutout_store.write_shard(folder / "cutouts.zarr", 0, cutouts)
    (folder / "truth").mkdir()
    truth = pd.DataFrame({"kind": np.where(labels, "ring", "galaxy"), "is_lens": labels})
    truth.to_parquet(folder / "truth" / "00000000.parquet")
    return folder
