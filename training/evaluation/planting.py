"""Lenses planted in a scanned mosaic and looked for through the scan's own plan.

A lens is painted on a patch of the scanning grid. The windows of the plan that lie about it get
its light, are judged as the scan judged them, and are merged with everything else that the scan
found. So edges, gaps, windows with half of their pixels, second looks and merging cost a planted
lens what they cost a real one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lensweep.catalogs.candidates import merge_overlaps
from lensweep.catalogs.crossmatch import all_pairs
from lensweep.scanner.network.brightest_peak import brightest_peak
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.network.stretch import sky_and_noise
from lensweep.scanner.run.plan import Windows
from lensweep.scanner.sky.cutouts import cut_windows
from lensweep.scanner.sky.grid import ScanGrid, grid_to_sky
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.scanner.sky.windows import centred_windows
from lensweep.training.data.injection import QUASAR_EVERY
from lensweep.training.data.injection_plan import measure_places
from lensweep.training.simulation.painting import MEASURING, Depth, paint
from lensweep.training.simulation.psf import Psf

# A lens is drawn on three windows a side, and judged in those whose centre lies this near to it on
# both axes: none of them reaches beyond what was drawn.
PATCH_PX = 3 * CUTOUT_SIZE
NEAR_PX = 75.0
# No window is judged for two lenses at once.
APART_PX = 2.0 * NEAR_PX + CUTOUT_SIZE
# Half a window: a detection of a wide lens may sit on one of its images.
FOUND_WITHIN_ARCSEC = 2.5
# A window that is in no plan.
OWN_WINDOW = -1
TRUTH_COLUMNS = ("number", "x", "y", "host", "noise", "kind", "offset_px")
WINDOW_COLUMNS = ("number", "window", "x", "y", "logit_mean")


@dataclass(frozen=True)
class Scanned:
    """A mosaic as a scan left it.

    Attributes
    ----------
    mosaic : Mosaic
    grid : ScanGrid
    windows : Windows
        Of its plan.
    min_valid_fraction : float
        Windows with less were masked.
    recentre : bool
        Whether detections move to the brightest light, as in a scan on a grid; else the scan was
        centred on sources, of which the lens is one: it gets a window of its own.
    """

    mosaic: Mosaic
    grid: ScanGrid
    windows: Windows
    min_valid_fraction: float
    recentre: bool


def random_places(
    scanned: Scanned, zero_point_ab: float, n: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Find places for lenses with drawn galaxies: anywhere that has data, far apart.

    Returns
    -------
    DataFrame
        At most `n` rows: ``x``, ``y`` on the grid, ``host`` (drawn) and ``noise``, e-/s.
    """
    ny, nx = scanned.grid.shape
    # Half of a turned pointing's image may be empty, and places crowd each other out.
    tried = rng.uniform(-0.5, np.array([nx, ny]) - 0.5, (6 * n, 2))
    found = pd.DataFrame(
        measure_places(
            scanned.mosaic, scanned.grid, tried[:, 0], tried[:, 1], "drawn", zero_point_ab
        ),
        columns=["x", "y", "host", "noise"],
    )
    return _apart(found).head(n)


def _apart(places: pd.DataFrame) -> pd.DataFrame:
    """Those that lie `APART_PX` from all that come before them."""
    kept = np.ones(len(places), np.bool_)
    if not len(places):
        return places
    positions = places[["x", "y"]].to_numpy(np.float64)
    tree = cKDTree(positions)
    for number, near in enumerate(tree.query_ball_point(positions, APART_PX)):
        if kept[number]:
            kept[[other for other in near if other > number]] = False
    return places[kept].reset_index(drop=True)


def number_lenses(places: pd.DataFrame, first: int = 0) -> pd.DataFrame:
    """One lens for every place, each `QUASAR_EVERY`th a quasar; ready to be planted."""
    number = first + np.arange(len(places))
    quasar = number % QUASAR_EVERY == QUASAR_EVERY - 1
    kind = np.where(quasar, "lensed_quasar", "lensed_galaxy")
    return places.assign(number=number, kind_of_lens=kind, painted="lens")


def plant(
    scanned: Scanned, lenses: pd.DataFrame, depth: Depth, psfs: Sequence[Psf], seed: int,
    ensemble: Ensemble,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Paint lenses, and judge the windows about each.

    Parameters
    ----------
    scanned : Scanned
    lenses : DataFrame
        As `number_lenses` gives it; with measured hosts, the columns of
        `lensweep.training.data.injection_plan.PLACE_COLUMNS` too.
    depth : Depth
    psfs : sequence of Psf
    seed : int
    ensemble : Ensemble

    Returns
    -------
    truth : DataFrame
        A row per lens: `TRUTH_COLUMNS`, of which ``offset_px`` is how far the lens lies from the
        nearest centre of a window that was looked at (NaN if none was), on the longer axis; and
        what was drawn.
    windows : DataFrame
        `WINDOW_COLUMNS`, a row per window that was painted on: position of the detection on the
        grid; ``logit_mean`` is NaN where it was masked or passed over.
    unseen : DataFrame
        ``number``, ``kind``, ``theta_e_arcsec``, ``source_magnitude``, ``host_magnitude`` of the
        first lens of each place where that would not have been seen. Of the first lenses the share
        that is seen is that of the sky; of all that were tried it is not, since more are tried
        where less is seen.
    """
    truths, windows, unseen = [], [], []
    for row in lenses.to_dict("records"):
        faint: list[dict[str, float]] = []
        x0, y0, patch = _patch(scanned, row["x"], row["y"])
        before = patch.copy()
        row |= {"x0": x0, "y0": y0, "mosaic": scanned.mosaic.name}
        drawn = paint(patch, row, depth, psfs, seed, faint, MEASURING)
        judged = _judge(scanned, row, patch - before, ensemble)
        windows.append(judged.drop(columns="offset_px"))
        seen = judged["offset_px"].min()
        kept = {name: row[name] for name in ("number", "x", "y", "host", "noise")}
        truths.append(kept | {"kind": row["kind_of_lens"], "offset_px": seen} | drawn)
        facts = {"number": row["number"], "kind": row["kind_of_lens"]}
        unseen += [facts | one for one in faint[:1]]
    names = ["number", "kind", "theta_e_arcsec", "source_magnitude", "host_magnitude"]
    return (
        pd.DataFrame(truths) if truths else pd.DataFrame(columns=TRUTH_COLUMNS),
        pd.concat(windows, ignore_index=True) if windows else pd.DataFrame(columns=WINDOW_COLUMNS),
        pd.DataFrame(unseen, columns=names),
    )


def _patch(scanned: Scanned, x: float, y: float) -> tuple[int, int, NDArray[np.float32]]:
    """Three by three windows of pixels about a position, and their first pixel."""
    x0, y0 = round(x) - PATCH_PX // 2, round(y) - PATCH_PX // 2
    steps = np.arange(0, PATCH_PX, CUTOUT_SIZE)
    corners = np.array([(x0 + dx, y0 + dy) for dy in steps for dx in steps], np.int32)
    flux, _ = cut_windows(scanned.mosaic, scanned.grid, corners)
    side = len(steps)
    tiles = flux.reshape(side, side, CUTOUT_SIZE, CUTOUT_SIZE)
    return x0, y0, tiles.transpose(0, 2, 1, 3).reshape(PATCH_PX, PATCH_PX).copy()


def _judge(
    scanned: Scanned, lens: dict[str, float], light: NDArray[np.float32], ensemble: Ensemble
) -> pd.DataFrame:
    """What the windows about a lens are with its light in them."""
    position = np.array([lens["x"], lens["y"]])
    centres = scanned.windows.corners + (CUTOUT_SIZE - 1) / 2.0
    near = np.flatnonzero(np.abs(centres - position).max(axis=1) <= NEAR_PX)
    corners = scanned.windows.corners[near]
    x, y = scanned.windows.x[near], scanned.windows.y[near]
    if not scanned.recentre:
        near = np.append(near, OWN_WINDOW)
        own, _ = centred_windows(position[:1], position[1:])
        corners = np.concatenate([corners, own])
        x, y = np.append(x, lens["x"]), np.append(y, lens["y"])
    flux, valid = cut_windows(scanned.mosaic, scanned.grid, corners)
    for cutout, (x0, y0) in zip(flux, corners.tolist(), strict=True):
        top, left = int(y0 - lens["y0"]), int(x0 - lens["x0"])
        cutout += light[top : top + CUTOUT_SIZE, left : left + CUTOUT_SIZE]
    usable = (valid >= scanned.min_valid_fraction) & (valid > 0.0)
    logit_mean = np.full(len(near), np.nan)
    if usable.any():
        verdicts = ensemble.judge(flux[usable])
        logit_mean[usable] = verdicts.logits.mean(axis=1)
    if scanned.recentre:
        dx, dy = brightest_peak(flux, sky_and_noise(flux)[0])
        x, y = x + dx, y + dy
    offset = np.abs(corners + (CUTOUT_SIZE - 1) / 2.0 - position).max(axis=1)
    return pd.DataFrame(
        {"number": lens["number"], "window": near, "x": x, "y": y, "logit_mean": logit_mean,
         "offset_px": np.where(usable, offset, np.nan)}
    )  # fmt: skip


def find_again(
    scanned: Scanned, detections: pd.DataFrame, truth: pd.DataFrame, windows: pd.DataFrame,
    merge_radius_arcsec: float,
) -> pd.DataFrame:  # fmt: skip
    """Merge the windows of planted lenses with a scan's, and look for the lenses among all.

    Parameters
    ----------
    scanned : Scanned
    detections : DataFrame
        Of this mosaic, as `lensweep.scanner.results.detections.read_detections` gives them.
    truth, windows : DataFrame
        As of `plant`; no window belongs to two lenses.
    merge_radius_arcsec : float

    Returns
    -------
    DataFrame
        `truth` with ``ra_deg``, ``dec_deg``, and the best candidate's score within
        `FOUND_WITHIN_ARCSEC`: ``logit_mean``, and ``logit_before`` without the lens; -inf where
        there is none.
    """
    scored = windows[windows["logit_mean"].notna()]
    ra, dec = grid_to_sky(scanned.grid, scored["x"].to_numpy(), scored["y"].to_numpy())
    painted = pd.DataFrame({"ra_deg": ra, "dec_deg": dec, "logit_mean": scored["logit_mean"]})
    untouched = detections[~detections["window"].isin(windows["window"])]
    together = pd.concat([untouched[painted.columns], painted], ignore_index=True)
    ra, dec = grid_to_sky(scanned.grid, truth["x"].to_numpy(), truth["y"].to_numpy())
    return truth.assign(
        ra_deg=ra, dec_deg=dec,
        logit_mean=_best_merged(together, ra, dec, merge_radius_arcsec),
        logit_before=_best_merged(detections, ra, dec, merge_radius_arcsec),
    )  # fmt: skip


def _best_merged(
    detections: pd.DataFrame, ra: NDArray[np.float64], dec: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    best = np.full(len(ra), -np.inf)
    if not len(detections) or not len(ra):
        return best
    own_ra, own_dec, score = (
        detections[name].to_numpy(np.float64) for name in ("ra_deg", "dec_deg", "logit_mean")
    )
    keep, _ = merge_overlaps(own_ra, own_dec, score, radius)
    lens, candidate, _ = all_pairs(ra, dec, own_ra[keep], own_dec[keep], FOUND_WITHIN_ARCSEC)
    np.maximum.at(best, lens, score[keep][candidate])
    return best
