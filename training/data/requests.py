"""What labelled sets are asked for: simulated, painted on mosaics, collected, mined.

Every `setting` is an option of the command of that name.
"""

import math
from dataclasses import MISSING, dataclass
from typing import Any

from lensweep.ground.errors import InputError
from lensweep.ground.settings import check_seed, check_types, one_of, setting

# Half a window's diagonal: nearer lenses can lie in the window.
MIN_EXCLUSION_ARCSEC = 3.6
MIN_FIELD_PX = 400
# What `lensweep.training.simulation.bands` knows beside F814W.
SECOND_BANDS = ("F606W",)
_SEED = "Same seed, same cutouts."
_MIN_VALID = "Windows with less data are not used."
_KNOWN = "More known lenses to keep away from: a table, or lenscat; repeatable."


def _psf() -> Any:
    return setting(None, "FITS image of a PSF, in place of drawn ones.")


def _psf_scale() -> Any:
    return setting(None, "Its arcsec per pixel, if not in its header.", "--psf-scale")


def _exclusion_radius() -> Any:
    return setting(10.0, "Arcsec between windows and known lenses.", "--exclusion-radius")


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
    band : str or None
        Of `SECOND_BANDS`: the same scenes in that filter; None is F814W.
    kinds : tuple of str
        Of `simulate.KINDS`; none: all of them.
    bright_quasars : bool
        Lensed quasars and chance pairs are drawn evenly in magnitude, as of `simulate.simulate`.
    even_radii : bool
        Lenses are drawn evenly in Einstein radius.
    """

    n: int = setting(MISSING, "Cutouts to simulate.")
    seed: int = setting(2018, _SEED)
    lens_fraction: float = setting(0.5, "Share of lenses.")
    psf: str | None = _psf()
    psf_scale_arcsec: float | None = _psf_scale()
    band: str | None = setting(
        None, "F606W: the same scenes as of the same seed in F814W, in a second band."
    )
    kinds: tuple[str, ...] = setting(
        (), "Draw these kinds alone, such as lensed_quasar or merger; repeatable.", "--kind"
    )
    bright_quasars: bool = setting(
        False, "Draw lensed quasars and chance pairs evenly in magnitude, not as the sky has them."
    )
    even_radii: bool = setting(
        False, "Draw lenses evenly in Einstein radius, not as the sky has them."
    )

    def __post_init__(self) -> None:
        check_types(self)
        if self.n < 1:
            raise InputError(f"{self.n} cutouts: ask for at least 1")
        check_seed(self.seed)
        if not 0.0 <= self.lens_fraction <= 1.0:
            raise InputError(f"lens fraction {self.lens_fraction}: must be from 0 to 1")
        if self.band == "F814W":
            raise InputError("band = F814W: is what is simulated anyway; leave --band out")
        if self.band is not None:
            one_of("band", self.band, SECOND_BANDS)
            if self.psf is not None:
                raise InputError(
                    f"psf {self.psf}: one file cannot be the PSF in F814W, which decides what is "
                    f"seen, and in {self.band}; leave one of the two options out"
                )


@dataclass(frozen=True)
class InjectionConfig:
    """What is painted, and where.

    Attributes
    ----------
    mosaics : tuple of str
        FITS files.
    n : int
        Lenses to paint.
    seed : int
    drawn_hosts : float
        Share of the lenses that are painted, galaxy and all, on empty sky.
    exclusion_radius_arcsec : float
        No window's centre lies this near to a known lens.
    known : tuple of str
        Lists of known lenses besides the shipped ones.
    min_valid_fraction : float
        Of a window's pixels.
    psf : str or None
        FITS file; None draws from `simulate.psf_bank`.
    psf_scale_arcsec : float or None
        Per pixel of that file, if its header does not say.
    zero_point_ab : float or None
        AB magnitude of 1 e-/s, for mosaics without PHOTFLAM and PHOTPLAM.
    exposure_time_s : float or None
        For mosaics without EXPTIME.
    """

    mosaics: tuple[str, ...]
    n: int = setting(1000, "Lenses to paint.")
    seed: int = setting(2018, _SEED)
    drawn_hosts: float = setting(0.3, "Share painted with a drawn galaxy, on empty sky.")
    exclusion_radius_arcsec: float = _exclusion_radius()
    known: tuple[str, ...] = setting((), _KNOWN)
    min_valid_fraction: float = setting(0.9, _MIN_VALID)
    psf: str | None = _psf()
    psf_scale_arcsec: float | None = _psf_scale()
    zero_point_ab: float | None = setting(
        None, "AB magnitude of 1 e-/s, without PHOTFLAM and PHOTPLAM.", "--zero-point"
    )
    exposure_time_s: float | None = setting(None, "Seconds, without EXPTIME.", "--exposure-time")

    def __post_init__(self) -> None:
        if not self.mosaics:
            raise InputError("no mosaics: name at least one FITS file")
        check_types(self)
        check_seed(self.seed)
        if self.n < 1:
            raise InputError(f"{self.n} lenses to paint: ask for at least 1")
        for name in ("drawn_hosts", "min_valid_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} = {getattr(self, name)}: must be from 0 to 1")
        _refuse_near(self.exclusion_radius_arcsec)
        if self.exposure_time_s is not None and not 0.0 < self.exposure_time_s < math.inf:
            raise InputError(f"exposure time {self.exposure_time_s} s: must be above 0")
        if self.zero_point_ab is not None and not 15.0 < self.zero_point_ab < 35.0:
            raise InputError(f"zero point {self.zero_point_ab}: not an AB magnitude of 1 e-/s")


@dataclass(frozen=True)
class CollectConfig:
    """What is collected.

    Attributes
    ----------
    mosaics : tuple of str
        FITS files; may be empty if there are images.
    catalogues : tuple of str
        Whose positions are lenses: see `label_table.read_catalogue`.
    labels : tuple of str
        Tables of labelled or graded positions.
    images : str or None
        Folder of labelled images.
    random_positions, random_sources : int
        Non-lenses to take from the mosaics.
    exclusion_radius_arcsec : float
        Their windows' centres keep this far from every known lens.
    known : tuple of str
        Lists of known lenses to keep away from, besides the shipped ones and the positives.
    min_valid_fraction : float
        Of a window's pixels.
    seed : int
    min_grade : str or None
        Lenses of a weaker grade are no labels: see `lensweep.catalogs.grade_scales.at_least`.
    """

    mosaics: tuple[str, ...]
    catalogues: tuple[str, ...] = setting(
        ("castles",), "Lenses: castles, lensflow, faure2008, lenscat or a file; "
        "repeatable.", "--catalog",
    )  # fmt: skip
    labels: tuple[str, ...] = setting(
        (), "Table of ra_deg, dec_deg and label (lens, nonlens), or grades (A, B, C are lenses, X "
        "is none); repeatable: graders vote.",
    )  # fmt: skip
    images: str | None = setting(None, "Folder of FITS, NPY or PNG in lens/ and nonlens/.")
    random_positions: int = setting(100, "Non-lenses at random.")
    random_sources: int = setting(100, "Non-lenses at detected sources.")
    exclusion_radius_arcsec: float = _exclusion_radius()
    known: tuple[str, ...] = setting((), _KNOWN)
    min_valid_fraction: float = setting(0.9, _MIN_VALID)
    seed: int = setting(2018, _SEED)
    min_grade: str | None = setting(
        None, "Weaker lenses are no labels: A, B or C (catalogues B, your grades C)."
    )

    def __post_init__(self) -> None:
        if not self.mosaics and self.images is None:
            raise InputError("no mosaics and no images: name FITS files, or a folder of images")
        check_types(self)
        check_seed(self.seed)
        if self.labels and not self.mosaics:
            raise InputError(f"labels {self.labels[0]}: no mosaics to cut its positions from")
        if min(self.random_positions, self.random_sources) < 0:
            raise InputError(
                f"{self.random_positions} random positions and {self.random_sources} random "
                "sources: must be 0 or more"
            )
        if not 0.0 < self.min_valid_fraction <= 1.0:
            raise InputError(
                f"min_valid_fraction = {self.min_valid_fraction}: must be above 0, up to 1"
            )
        _refuse_near(self.exclusion_radius_arcsec)


@dataclass(frozen=True)
class MiningConfig:
    """An ensemble, `n` windows to keep, and fields; the first has `seed`, the next seed + 1."""

    ensemble: str = setting("xception-7fold", "A shipped ensemble, or a bundle's folder.")
    n: int = setting(1000, "Windows to keep.")
    seed: int = setting(1, "Of the first field; the next have the next.")
    fields: int = setting(10, "Simulated fields without lenses.")
    size_px: int = setting(3000, "Pixels a side of each.", "--size")

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self.seed)
        for name, least in (("n", 1), ("fields", 1), ("size_px", MIN_FIELD_PX)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least {least}")


def _refuse_near(exclusion_radius_arcsec: float) -> None:
    if not exclusion_radius_arcsec >= MIN_EXCLUSION_ARCSEC:
        raise InputError(
            f"exclusion radius {exclusion_radius_arcsec} arcsec: at least "
            f"{MIN_EXCLUSION_ARCSEC}, half a window's diagonal, or windows hold known lenses"
        )
