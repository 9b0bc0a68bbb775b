"""More cutouts from the same objects: turned, zoomed, sheared, flipped, moved off centre."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray
from scipy import ndimage

from lensweep.ground.progress import Progress
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.data.examples import Examples, read_flux
from lensweep.training.data.labelled_set import claim, fill

# Section 5.1 of the thesis: rotation, zoom, shear; both flips.
ROTATION_DEG = 45.0
LEAST_ZOOM = 0.9
SHEAR_DEG = 15.0
# Beside the thesis: a catalogue's position, or a grid's, is rarely the middle of the lens.
SHIFT_PX = 10.0
# Less weight than this on pixels with data, and an interpolated pixel has none.
LEAST_WEIGHT = 0.5


def turn_at_random(flux: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Flip and quarter-turn every cutout at random: the eight symmetries of the square.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        A new array of the same shape; every pixel keeps its value.
    """
    out = np.empty_like(flux)
    for index, (turns, flip) in enumerate(zip(*draw_turns(len(flux), rng), strict=True)):
        turned = np.rot90(flux[index], turns)
        out[index] = turned[:, ::-1] if flip else turned
    return out


def draw_turns(n: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Draw quarter turns, and whether a cutout is flipped left to right after them."""
    return rng.integers(4, size=n).astype(np.int32), rng.random(n) < 0.5


def transform_at_random(
    flux: NDArray[np.float32], rng: np.random.Generator, most_shift_px: float = SHIFT_PX
) -> NDArray[np.float32]:
    """Transform every cutout as the thesis did, and shift it.

    Bilinear interpolation between pixels that have data; what comes from beyond the edge, or from
    pixels without data, has none.

    Parameters
    ----------
    flux : ndarray, shape (n, size, size), float32
        NaN where there is no data.
    rng : numpy.random.Generator
    most_shift_px : float
        The largest shift along either axis.

    Returns
    -------
    ndarray
        A new array of the same shape.
    """
    out = np.empty_like(flux)
    for index, image in enumerate(flux):
        matrix, shift_px = draw_transform(rng, most_shift_px)
        out[index] = transform(image, matrix, shift_px)
    return out


def draw_transform(
    rng: np.random.Generator, most_shift_px: float = SHIFT_PX
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a linear map from output to input coordinates (y, x), and a shift in pixels."""
    angle = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG))
    shear = np.deg2rad(rng.uniform(-SHEAR_DEG, SHEAR_DEG))
    zoom = rng.uniform(LEAST_ZOOM, 1.0)
    flips = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # Shear as Keras' image generator draws it, which the thesis most likely used.
    shearing = np.array([[1.0, -np.sin(shear)], [0.0, np.cos(shear)]])
    shift_px = rng.uniform(-most_shift_px, most_shift_px, 2)
    return zoom * rotation @ shearing @ np.diag(flips), shift_px


def transform(
    image: NDArray[np.float32], matrix: NDArray[np.float64], shift_px: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Resample one cutout about its centre.

    Parameters
    ----------
    image : ndarray, shape (size, size), float32
        NaN where there is no data.
    matrix : ndarray, shape (2, 2)
        From output to input coordinates (y, x), both from the centre.
    shift_px : ndarray, shape (2,)
        By how much the input's centre moves in the output, (y, x).
    """
    centre = (np.array(image.shape) - 1.0) / 2.0
    offset = centre - matrix @ (centre + shift_px)
    valid = np.isfinite(image)
    filled = np.where(valid, image, np.float32(0.0))
    values, weight = (
        ndimage.affine_transform(plane, matrix, offset, order=1, output=np.float64)
        for plane in (filled, valid.astype(np.float32))
    )
    seen = weight >= LEAST_WEIGHT
    out = np.full(image.shape, np.nan, np.float32)
    out[seen] = values[seen] / weight[seen]
    return out


AUGMENTATIONS = {"turns": turn_at_random, "thesis": transform_at_random}


def plan_copies(
    labels: NDArray[np.bool_], n_lenses: int, n_others: int, seed: int
) -> NDArray[np.int64]:
    """Which cutout every augmented one is made from: each of a class as often as any other.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    n_lenses, n_others : int
        How many to make.
    seed : int

    Returns
    -------
    ndarray of int, shape (n_lenses + n_others,)
        Rows of the originals, in random order.
    """
    rng = np.random.default_rng([seed, 20])
    rows = [
        np.resize(rng.permutation(np.flatnonzero(labels == wanted)), n)
        for wanted, n in ((True, n_lenses), (False, n_others))
    ]
    return rng.permutation(np.concatenate(rows))


def materialise(
    examples: Examples,
    folder: Path,
    n_lenses: int,
    n_others: int,
    seed: int,
    client: Client,
    progress: Progress,
) -> None:
    """Write an augmented data set; what is there already is kept.

    Every copy is transformed, the first too: of the rarer class more would be transformed than of
    the other, which would tell them apart. Copies keep the truth of their original, and its object.

    Parameters
    ----------
    examples : Examples
        The originals.
    folder : Path
        Receives a data set.
    n_lenses, n_others : int
        The thesis: 15,000 and 13,239.
    seed : int
    client : distributed.Client
    progress : Progress
    """
    asked = {
        "augmented": str(examples.folder.absolute()), "of": len(examples), "lenses": n_lenses,
        "others": n_others, "seed": seed,
    }  # fmt: skip
    claim(folder, asked)
    origins = plan_copies(examples.labels, n_lenses, n_others, seed)
    fill(
        folder, f"augmented-{seed}", len(origins), _copy_shard, client, progress,
        source=dataclasses.replace(examples, folder=examples.folder.absolute()), origins=origins,
        seed=seed,
    )  # fmt: skip


def _copy_shard(
    start: int, stop: int, source: Examples, origins: NDArray[np.int64], seed: int
) -> tuple[Cutouts, pd.DataFrame]:
    here = origins[start:stop]
    flux = transform_at_random(
        read_flux(source.store, here), np.random.default_rng([seed, 21, start])
    )
    nowhere, corner = np.full(len(flux), np.nan), np.zeros(len(flux), np.int32)
    valid = np.isfinite(flux).sum(axis=(1, 2)) / CUTOUT_SIZE**2
    cutouts = Cutouts(
        flux, valid.astype(np.float32), nowhere, nowhere, nowhere, nowhere, corner, corner
    )
    truth = source.truth.iloc[here].reset_index(drop=True)
    return cutouts, truth.assign(object_id=source.objects[here])
