"""What `lensweep grades` is asked for: a graded list, and where the pixels at it come from."""

from dataclasses import dataclass
from pathlib import Path

from lensweep.ground.errors import InputError
from lensweep.ground.files import place
from lensweep.ground.settings import at_least, check_seed, check_types, setting, within

LENSFLOW = "LensFlow"


@dataclass(frozen=True)
class GradesConfig:
    """A graded list, one source of pixels, and how they are scored.

    Attributes
    ----------
    mosaics : tuple of str
        FITS files to cut the windows from; or
    run, cutouts : str or None
        a run's folder or a cutout store, to put them together from stored cutouts.
    graded_list : str
        ``LensFlow``, ``CASTLES``, ``lenscat`` if it is installed, or a table with positions and a
        column ``grade``.
    ensemble : str
    min_valid_fraction : float
    n_control : int
        Random windows.
    seed : int
        Of the random windows and the bootstrap.
    """

    mosaics: tuple[str, ...] = setting((), "FITS mosaic; repeatable.")
    run: str | None = setting(None, "A run's folder, for its cutouts.")
    cutouts: str | None = setting(None, "A cutout store.")
    graded_list: str = setting(
        LENSFLOW, "LensFlow, CASTLES, lenscat, or a table with a grade.", "--list"
    )
    ensemble: str = setting("xception-7fold", "A shipped ensemble, or a bundle's folder.")
    min_valid_fraction: float = setting(0.5, "Lenses with less are not covered.")
    n_control: int = setting(1000, "Windows of random sky.", "--control")
    seed: int = setting(2018, "Of the random windows and the bootstrap.")

    def __post_init__(self) -> None:
        check_types(self)
        if (bool(self.mosaics), bool(self.run), bool(self.cutouts)).count(True) != 1:
            raise InputError("give one source of pixels: --mosaics, --run or --cutouts")
        within("min_valid_fraction", self.min_valid_fraction, 0.0, 1.0)
        at_least("control", self.n_control, 0)
        check_seed(self.seed)

    @property
    def stored(self) -> Path | None:
        """The folder of stored cutouts; None to cut from mosaics."""
        named = self.run or self.cutouts
        return None if named is None else place(named)
