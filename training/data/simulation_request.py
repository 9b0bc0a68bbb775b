"""A simulated data set as a user asks for it: checked before anything is drawn."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from lensweep.ground.errors import InputError
from lensweep.ground.progress import Progress
from lensweep.ground.settings import check_types, within
from lensweep.training.data import labelled_set as labelled_store
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.simulation.psf import Psf
from lensweep.training.simulation.psf_file import fingerprint, read_psf


@dataclass(frozen=True)
class SimulationConfig:
    """What is simulated.

    Attributes
    ----------
    n : int
        Cutouts.
    seed : int
        Of at least 0.
    lens_fraction : float
        Share of them that are lenses.
    psf : str or None
        FITS file; None draws from `simulate.psf_bank`.
    psf_scale_arcsec : float or None
        Per pixel of that file, if its header does not say.
    """

    n: int
    seed: int = 2018
    lens_fraction: float = 0.5
    psf: str | None = None
    psf_scale_arcsec: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.n < 1:
            raise InputError(f"{self.n} cutouts: ask for at least 1")
        within("seed", self.seed, 0, 2**31)
        if not 0.0 <= self.lens_fraction <= 1.0:
            raise InputError(f"lens fraction {self.lens_fraction}: must be from 0 to 1")


def open_simulation(config: SimulationConfig, out: Path) -> Psf | None:
    """Check a request, and begin or continue its folder.

    Returns
    -------
    Psf or None
        The PSF to draw with; None for drawn ones.

    Raises
    ------
    InputError
        If the PSF cannot be used, or the folder holds another data set.
    """
    psf = None if config.psf is None else read_psf(Path(config.psf), config.psf_scale_arcsec)
    asked = dataclasses.asdict(config) | {"kind": "simulation"}
    asked["psf"] = None if psf is None else fingerprint(psf)
    labelled_store.claim(out, asked)
    return psf


def run_simulation(
    config: SimulationConfig, psf: Psf | None, out: Path, client: Client, progress: Progress
) -> None:
    """Simulate what is not there yet: `cutouts.zarr`, and the truth of every cutout beside it."""
    make_dataset(
        out, config.n, config.seed, client, progress, lens_fraction=config.lens_fraction, psf=psf
    )
