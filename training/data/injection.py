"""Lenses painted on real mosaics: background, neighbours and noise are real, and so are hosts.

Two kinds of places: at a detected galaxy, which keeps its own light and is given the mass that
goes with it; and on empty sky, with a drawn galaxy. Every place is kept untouched as well, and
drawn galaxies without their arcs, so that neither a background nor a galaxy is evidence.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.catalogs.lens_lists import known_lenses
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import begun_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.sky.grid import grid_to_sky
from lensweep.scanner.sky.mosaics import Mosaic
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.pixels import check_pixels
from lensweep.training.data import labelled_set as labelled_store
from lensweep.training.data.injection_plan import find_places
from lensweep.training.data.places import away_from, keep_apart
from lensweep.training.data.real_cutouts import MIDDLE_PX, Opened, cut_rows, open_mosaics
from lensweep.training.data.requests import InjectionConfig
from lensweep.training.simulation.painting import Depth, paint
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.psf_file import fingerprint, read_psf
from lensweep.training.simulation.simulate import VERSION, psf_bank

# One galaxy under more lenses teaches no more.
MAX_LENSES_PER_PLACE = 10
# Every fourth lens is a quasar, as in `simulate.plan_kinds`.
QUASAR_EVERY = 4


@dataclass(frozen=True)
class Injection:
    """A request whose files have been looked at, in a folder that is claimed for it."""

    config: InjectionConfig
    out: Path
    opened: Opened
    depths: dict[str, Depth]
    known: pd.DataFrame
    bank: tuple[Psf, ...] | None


def open_injection(config: InjectionConfig, overrides: HeaderOverrides, out: Path) -> Injection:
    """Check a request, and begin or continue its folder; needs no cluster.

    Parameters
    ----------
    config : InjectionConfig
    overrides : HeaderOverrides
        What the mosaics' headers do not say.
    out : Path
        Receives `cutouts.zarr`, `truth/` and `plan.parquet`.

    Raises
    ------
    InputError
        If a mosaic, a list of known lenses, the PSF or the folder cannot be used.
    """
    bank = None if config.psf is None else (read_psf(Path(config.psf), config.psf_scale_arcsec),)
    known = known_lenses(config.known)
    with begun_folder(out, "data set folder"):
        opened = open_mosaics(config.mosaics, overrides, out / ".scratch")
    depths = {name: depth_of(mosaic, config) for name, (mosaic, _) in opened.items()}
    asked = dataclasses.asdict(config) | {
        "kind": "injection",
        "simulation": VERSION,
        "mosaics": {name: mosaic.sha256 for name, (mosaic, _) in opened.items()},
        "psf": None if bank is None else fingerprint(bank[0]),
        "overrides": dataclasses.asdict(overrides),
    }
    labelled_store.claim(out, asked)
    return Injection(config, out, opened, depths, known, bank)


def inject(injection: Injection, client: Client, progress: Progress) -> pd.DataFrame:
    """Make a data set of painted and untouched cutouts of real mosaics; a stopped one continues.

    Returns
    -------
    DataFrame
        The plan: a row per cutout. ``object_id`` is the place's: a fold must not split it.

    Raises
    ------
    InputError
        If the mosaics have no room.
    """
    config, out, opened, depths = (
        injection.config, injection.out, injection.opened, injection.depths
    )  # fmt: skip
    path = out / "plan.parquet"
    if not path.is_file():
        plan = plan_injection(config, opened, depths, injection.known, client)
        labelled_store.write_rows(plan, path)
    plan = pd.read_parquet(path)
    labelled_store.fill(
        out, f"injected-{config.seed}", len(plan), make_shard, client, progress, plan=path,
        opened=opened, depths=depths, seed=config.seed, bank=injection.bank,
    )  # fmt: skip
    return plan


def plan_injection(
    config: InjectionConfig, opened: Opened, depths: dict[str, Depth], known: pd.DataFrame,
    client: Client,
) -> pd.DataFrame:  # fmt: skip
    """Choose places that share no pixel and hold no known lens, and the rows of each.

    Returns
    -------
    DataFrame
        The columns of `injection_plan.PLACE_COLUMNS`, ``object_id``, ``painted`` (``nothing``,
        ``host``, ``lens``), ``number`` of the lens in the data set (-1 without), ``kind`` and
        ``is_lens``.
    """
    for mosaic, _ in opened.values():
        check_pixels(mosaic)
    n_drawn = round(config.n * config.drawn_hosts)
    # Most random positions lie near some source, or share pixels with a place chosen before.
    n_empty = 20 * n_drawn // len(opened) + 100 if n_drawn else 0
    futures = [
        client.submit(find_places, mosaic, grid, depths[name].zero_point_ab, n_empty,
                      config.min_valid_fraction, config.seed, pure=False)
        for name, (mosaic, grid) in opened.items()
    ]  # fmt: skip
    places = pd.concat(client.gather(futures), ignore_index=True)
    places = places.sample(frac=1.0, random_state=config.seed)
    # Galaxies first: there are fewer of them.
    places = places.sort_values("host", kind="stable", ignore_index=True)
    centre_ra, centre_dec = _window_centres(places, opened)
    free = away_from(
        centre_ra, centre_dec, known["known_ra_deg"].to_numpy(),
        known["known_dec_deg"].to_numpy(), config.exclusion_radius_arcsec,
    )  # fmt: skip
    places, centre_ra, centre_dec = places[free], centre_ra[free], centre_dec[free]
    places = places[keep_apart(centre_ra, centre_dec)]
    chosen = [
        _with_lenses(places[places["host"] == host], host, n_lenses)
        for host, n_lenses in (("detected", config.n - n_drawn), ("drawn", n_drawn))
    ]
    return _rows(pd.concat(chosen, ignore_index=True))


def make_shard(
    start: int, stop: int, plan: Path, opened: Opened, depths: dict[str, Depth], seed: int,
    bank: tuple[Psf, ...] | None,
) -> tuple[Cutouts, pd.DataFrame]:  # fmt: skip
    """Cut the windows of some rows of a plan, and paint on them; their truth."""
    rows = pd.read_parquet(plan).iloc[start:stop].reset_index(drop=True)
    cutouts = cut_rows(rows, opened)
    psfs = psf_bank(seed) if bank is None else bank
    truths = []
    for row, flux in zip(rows.to_dict("records"), cutouts.flux, strict=True):
        depth = depths[row["mosaic"]]
        drawn = {} if row["painted"] == "nothing" else paint(flux, row, depth, psfs, seed)
        truths.append(
            {key: value for key, value in row.items() if key not in ("x", "y", "number")}
            | {"x_px": row["x"] - row["x0"], "y_px": row["y"] - row["y0"]}
            | dataclasses.asdict(depth)
            | drawn
        )
    return cutouts, pd.DataFrame(truths)


def _with_lenses(places: pd.DataFrame, host: str, n_lenses: int) -> pd.DataFrame:
    """As many places as are needed, with the number of lenses of each."""
    if not n_lenses:
        return places.iloc[:0].assign(n_lenses=0)
    if n_lenses > MAX_LENSES_PER_PLACE * len(places):
        where = "at detected galaxies" if host == "detected" else "on empty sky"
        raise InputError(
            f"{n_lenses} lenses {where}: the mosaics have {len(places)} such places that share no "
            f"pixel and hold no known lens, for at most {MAX_LENSES_PER_PLACE} lenses each; ask "
            "for fewer, give more mosaics, or change --drawn-hosts"
        )
    chosen = places.head(n_lenses)
    least, more = divmod(n_lenses, len(chosen))
    return chosen.assign(n_lenses=least + (np.arange(len(chosen)) < more))


def _rows(places: pd.DataFrame) -> pd.DataFrame:
    """The cutouts of every place: untouched, and for each lens its drawn galaxy and itself."""
    # Neighbours are read together.
    places = places.sort_values(["mosaic", "y0", "x0"], ignore_index=True)
    rows: list[dict[str, Any]] = []
    number = 0
    for object_id, place in enumerate(places.to_dict("records")):
        count = place.pop("n_lenses")
        drawn = place["host"] == "drawn"
        common = place | {"object_id": object_id}
        rows.append(common | {"painted": "nothing", "number": -1, "kind_of_lens": "",
                              "kind": "real_sky" if drawn else "real_galaxy"})  # fmt: skip
        for _ in range(count):
            quasar = number % QUASAR_EVERY == QUASAR_EVERY - 1
            kind = "lensed_quasar" if quasar else "lensed_galaxy"
            lens = common | {"number": number, "kind_of_lens": kind}
            if drawn:
                rows.append(lens | {"painted": "host", "kind": "elliptical"})
            rows.append(lens | {"painted": "lens", "kind": kind})
            number += 1
    table = pd.DataFrame(rows)
    table[["x0", "y0"]] = table[["x0", "y0"]].astype(np.int32)
    return table.assign(is_lens=table["painted"] == "lens")


def _window_centres(
    places: pd.DataFrame, opened: Opened
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centres = np.empty((2, len(places)))
    for name, members in places.groupby("mosaic", sort=False).indices.items():
        corners = places[["x0", "y0"]].to_numpy(np.float64)[members]
        centres[:, members] = grid_to_sky(opened[str(name)][1], *(corners + MIDDLE_PX).T)
    return centres[0], centres[1]


def depth_of(mosaic: Mosaic, config: InjectionConfig) -> Depth:
    """What fluxes mean in a mosaic: by its header, else by the config.

    Raises
    ------
    InputError
        If neither says.
    """
    zero_point = mosaic.zero_point_ab if mosaic.zero_point_ab is not None else config.zero_point_ab
    if zero_point is None:
        raise InputError(
            f"mosaic {mosaic.file_name}: no PHOTFLAM and PHOTPLAM in the header, so magnitudes "
            "cannot be painted; state the AB magnitude of 1 e-/s with --zero-point"
        )
    seconds = (
        mosaic.exposure_time_s if mosaic.exposure_time_s is not None else config.exposure_time_s
    )
    if seconds is None:
        raise InputError(
            f"mosaic {mosaic.file_name}: no EXPTIME in the header, so shot noise cannot be "
            "painted; state it with --exposure-time, in seconds"
        )
    return Depth(zero_point, seconds)
