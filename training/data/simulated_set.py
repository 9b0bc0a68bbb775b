"""A simulated data set on disk, checked before anything is drawn."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client

from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.ground.settings import one_of
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.data.labelled_set import BAND, claim, fill
from lensweep.training.data.requests import SimulationConfig
from lensweep.training.simulation.bands import BANDS, F814W, Band
from lensweep.training.simulation.lenses import SKY_LENSES, LensPopulation
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.psf_file import fingerprint, read_psf
from lensweep.training.simulation.simulate import (
    KINDS,
    LENS_KINDS,
    VERSION,
    plan_kinds,
    simulate,
)


def open_simulation(config: SimulationConfig, out: Path) -> Psf | None:
    """Check a request, and begin or continue its folder.

    Returns
    -------
    Psf or None
        The PSF to draw with; None for drawn ones.

    Raises
    ------
    InputError
        If the PSF cannot be used, a kind is unknown or missing, or the folder holds another set.
    """
    _check_kinds(config)
    psf = None if config.psf is None else read_psf(Path(config.psf), config.psf_scale_arcsec)
    asked = dataclasses.asdict(config) | {"kind": "simulation", "simulation": VERSION}
    asked["psf"] = None if psf is None else fingerprint(psf)
    asked["kinds"] = sorted(set(config.kinds))
    # As sets said before there was a second band, or a choice of kinds.
    for name in ("band", "kinds", "bright_quasars", "even_radii"):
        if not asked[name]:
            del asked[name]
    claim(out, asked)
    return psf


def _check_kinds(config: SimulationConfig) -> None:
    for kind in config.kinds:
        one_of("kind", kind, KINDS)
    chosen = set(config.kinds or KINDS)
    for share, sort, there in (
        (config.lens_fraction, "lenses", chosen & set(LENS_KINDS)),
        (1.0 - config.lens_fraction, "others", chosen - set(LENS_KINDS)),
    ):
        if share > 0.0 and not there:
            raise InputError(
                f"kinds {', '.join(config.kinds)}: none of them is of the {sort}, which are to be "
                f"{share:.0%} of the cutouts; name one, or give another --lens-fraction"
            )


def run_simulation(
    config: SimulationConfig, psf: Psf | None, out: Path, client: Client, progress: Progress
) -> None:
    """Simulate what is not there yet: `cutouts.zarr`, and the truth of every cutout beside it."""
    make_dataset(
        out, config.n, config.seed, client, progress, lens_fraction=config.lens_fraction, psf=psf,
        band=BANDS[config.band or BAND], kinds=config.kinds or KINDS,
        population=LensPopulation(config.bright_quasars, config.even_radii),
    )  # fmt: skip


def make_dataset(
    folder: Path,
    n_cutouts: int,
    seed: int,
    client: Client,
    progress: Progress,
    hard_weight: int = 1,
    lens_fraction: float = 0.5,
    psf: Psf | None = None,
    band: Band = F814W,
    kinds: tuple[str, ...] = KINDS,
    population: LensPopulation = SKY_LENSES,
) -> None:
    """Simulate a data set on a cluster; what is there already is kept.

    Parameters
    ----------
    folder : Path
        Receives `cutouts.zarr` and `truth/<shard>.parquet`.
    n_cutouts : int
    seed : int
    client : distributed.Client
    progress : Progress
    hard_weight : int
        How much more frequent hard confusers are than others.
    lens_fraction : float
    psf : Psf, optional
        In place of the seed's drawn ones.
    band : Band
    kinds : tuple of str
        Which kinds there are, as of `plan_kinds`.
    population : LensPopulation
        As of `simulate`.
    """
    fill(
        folder, f"simulated-{seed}", n_cutouts, _simulated, client, progress, band.name, seed=seed,
        total=n_cutouts, hard_weight=hard_weight, lens_fraction=lens_fraction, psf=psf, filter=band,
        only=kinds, population=population,
    )  # fmt: skip


def _simulated(
    start: int, stop: int, total: int, seed: int, hard_weight: int, lens_fraction: float,
    psf: Psf | None, filter: Band, only: tuple[str, ...], population: LensPopulation,
) -> tuple[Cutouts, pd.DataFrame]:  # fmt: skip
    kinds = plan_kinds(total, seed, lens_fraction, hard_weight, only)[start:stop]
    bank = None if psf is None else (psf,)
    drawn = list(simulate(kinds, seed, start, bank, filter, population))
    flux = np.stack([cutout.flux for cutout in drawn])
    nowhere = np.full(len(drawn), np.nan)
    corner = np.zeros(len(drawn), np.int32)
    valid = np.isfinite(flux).sum(axis=(1, 2)) / CUTOUT_SIZE**2
    cutouts = Cutouts(
        flux, valid.astype(np.float32), nowhere, nowhere, nowhere, nowhere, corner, corner
    )
    truth = pd.DataFrame(
        {"kind": cutout.kind, "is_lens": cutout.kind in LENS_KINDS, **cutout.truth}
        for cutout in drawn
    )
    return cutouts, truth
