"""Lenses painted on galaxies of a run's own mosaics, and such galaxies as they are, as stamps."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.ground.errors import InputError
from lensweep.ground.settings import at_least, check_seed
from lensweep.scanner.inspection.blind import DUD, LENS, Planted, write_blind
from lensweep.scanner.inspection.contents import read_finished
from lensweep.scanner.inspection.wide_stamps import (
    STAMP_SIDE_PX,
    cut_stamp,
    stamp_corners,
    usable_mosaic,
)
from lensweep.scanner.run.plan import Plan, read_plan
from lensweep.scanner.run.tally import planned_mosaics
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.data.injection import QUASAR_EVERY
from lensweep.training.data.injection_plan import find_places
from lensweep.training.data.places import away_from, keep_apart
from lensweep.training.simulation.field import MIN_SIGNAL_TO_NOISE
from lensweep.training.simulation.painting import Depth, paint
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.simulate import psf_bank

# A few mosaics have galaxies enough; to find them takes half a minute each.
MOST_MOSAICS = 4
AWAY_ARCSEC = 10.0
MIN_VALID_FRACTION = 0.9
# Lenses are drawn anew until one is as clear as those of the example: whoever misses it, erred.
MAX_DRAWS = 40
_FIRST = (STAMP_SIDE_PX - CUTOUT_SIZE) // 2


def write_planted(root: Path, top: int, seed: int, n: int) -> Path:
    """Write a blind page with planted lenses, as many galaxies, and as many rows shown twice.

    Parameters
    ----------
    root : Path
        The run's folder.
    top, seed, n : int

    Raises
    ------
    InputError
        As `plant` and `lensweep.scanner.inspection.blind.write_blind`.
    """
    at_least("top", top, 1)
    at_least("planted", n, 0)
    check_seed(seed)
    candidates, _ = read_finished(root)
    return write_blind(root, top, seed, n, plant(root, candidates, n, seed))


def plant(root: Path, candidates: pd.DataFrame, n: int, seed: int) -> list[Planted]:
    """Paint lenses on galaxies of a run's mosaics, and leave as many such galaxies as they are.

    Hosts lie 10 arcsec or more from candidates and known lenses, so that a galaxy that is left as
    it is, is no lens that anybody knows of.

    Parameters
    ----------
    root : Path
        The run's folder.
    candidates : DataFrame
        All of the run: ``ra_deg``, ``dec_deg``.
    n : int
        Lenses, and galaxies; fewer where the mosaics have no room. 0 plants nothing.
    seed : int

    Returns
    -------
    list of Planted

    Raises
    ------
    InputError
        If no mosaic of the run can be painted on.
    """
    at_least("planted", n, 0)
    if n == 0:
        return []
    rng = np.random.default_rng([seed, 6])
    with tempfile.TemporaryDirectory() as scratch:
        opened = _open(root, rng, Path(scratch))
        places = _places(opened, candidates, n, seed)
        psfs = psf_bank(seed)
        return [
            _planted(place, number, opened, psfs, seed)
            for number, place in enumerate(places.to_dict("records"))
        ]


def _open(
    root: Path, rng: np.random.Generator, scratch: Path
) -> dict[str, tuple[Mosaic, Plan, Depth]]:
    opened: dict[str, tuple[Mosaic, Plan, Depth]] = {}
    for name in rng.permutation(planned_mosaics(root)).tolist():
        plan = read_plan(root, name)
        zero_point, seconds = plan.mosaic.zero_point_ab, plan.mosaic.exposure_time_s
        if zero_point is None or seconds is None or len(opened) == MOST_MOSAICS:
            continue
        mosaic = usable_mosaic(root, plan, 0, scratch)
        if mosaic is not None:
            opened[name] = mosaic, plan, Depth(zero_point, seconds)
    if not opened:
        raise InputError(
            f"run {root}: lenses can be painted on none of its mosaics: they are gone, have "
            "changed, or have no PHOTFLAM, PHOTPLAM and EXPTIME; give --planted 0"
        )
    return opened


def _places(
    opened: dict[str, tuple[Mosaic, Plan, Depth]], candidates: pd.DataFrame, n: int, seed: int
) -> pd.DataFrame:
    """Galaxies that can be lenses, twice as many as lenses, in an order of no meaning."""
    places = pd.concat(
        [
            find_places(mosaic, plan.grid, depth.zero_point_ab, 0, MIN_VALID_FRACTION, seed)
            for mosaic, plan, depth in opened.values()
        ],
        ignore_index=True,
    ).sample(frac=1.0, random_state=seed)
    lenses = known_lenses(())[["known_ra_deg", "known_dec_deg"]].to_numpy()
    ra_deg, dec_deg = np.concatenate([lenses, candidates[["ra_deg", "dec_deg"]].to_numpy()]).T
    here = places["ra_deg"].to_numpy(), places["dec_deg"].to_numpy()
    places = places[away_from(*here, ra_deg, dec_deg, AWAY_ARCSEC)]
    places = places[keep_apart(places["ra_deg"].to_numpy(), places["dec_deg"].to_numpy())]
    if len(places) < 2:
        raise InputError(
            f"{len(places)} galaxies of the run's mosaics can be lenses and lie {AWAY_ARCSEC:g} "
            "arcsec from all candidates; give --planted 0"
        )
    return places.head(2 * min(n, len(places) // 2))


def _planted(
    place: dict[Any, Any], number: int, opened: dict[str, tuple[Mosaic, Plan, Depth]],
    psfs: Sequence[Psf], seed: int,
) -> Planted:  # fmt: skip
    """Every other galaxy as it is, and with a lens."""
    mosaic, plan, depth = opened[place["mosaic"]]
    corner = stamp_corners(np.array([place["x"]]), np.array([place["y"]]))[0]
    untouched = cut_stamp(mosaic, plan, corner)
    if number % 2:
        return Planted(untouched, DUD, {"kind": "galaxy", "mosaic": place["mosaic"]})
    quasar = (number // 2) % QUASAR_EVERY == QUASAR_EVERY - 1
    kind = "lensed_quasar" if quasar else "lensed_galaxy"
    x0, y0 = (corner + _FIRST).tolist()
    row = place | {"painted": "lens", "kind_of_lens": kind, "x0": x0, "y0": y0}
    for draw in range(MAX_DRAWS):
        flux = untouched.copy()
        inner = flux[_FIRST:-_FIRST, _FIRST:-_FIRST]
        row["number"] = MAX_DRAWS * number + draw
        truth = paint(inner, row, depth, psfs, seed)
        if truth["signal_to_noise"] >= MIN_SIGNAL_TO_NOISE:
            break
    told = {name: truth[name] for name in ("theta_e_arcsec", "signal_to_noise")}
    return Planted(flux, LENS, {"kind": kind, "mosaic": place["mosaic"]} | told)
