"""A second band of a simulated scene: ACS/WFC F606W beside F814W, and the colours of what is drawn.

Colours are F606W - F814W in AB magnitudes. Those of galaxies are of Coleman, Wu & Weedman's (1980,
ApJS 43, 393) four spectra through both throughputs, at the redshifts of `_REDSHIFTS` (spectra and
throughputs as GalSim 2.8 ships them). They do not evolve. Which spectrum and which redshift an
object gets is our choice, stated with each kind; nothing else is known of redshifts here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lensweep.training.simulation.light import ZERO_POINT_AB, Image
from lensweep.training.simulation.psf import WAVELENGTHS_M, Psf

# The colour of one object of a kind, at a redshift.
Kind = Callable[[np.random.Generator, float], float]
# Where lenses lie, and what looks like them (medians of 0.64 and 1.82 in Collett's 2015 table); and
# what is lensed, and any faint galaxy.
NEAR, FAR = (0.2, 0.8), (0.4, 3.0)


@dataclass(frozen=True)
class Band:
    """One filter of ACS/WFC.

    Attributes
    ----------
    name : str
    zero_point_ab : float
        AB magnitude of 1 e-/s.
    wavelengths_m : tuple of float
        Those that its point-spread function is the mean of.
    """

    name: str
    zero_point_ab: float
    wavelengths_m: tuple[float, ...]


F814W = Band("F814W", ZERO_POINT_AB, WAVELENGTHS_M)
# Zero point of GOODS' second mosaics (Giavalisco et al. 2004). Wavelengths with the pivot of the
# throughput, 5919 A, and its spread, 670 A.
F606W = Band(
    "F606W", 26.493, (4.95e-7, 5.27e-7, 5.59e-7, 5.92e-7, 6.25e-7, 6.57e-7, 6.89e-7)
)  # fmt: skip
BANDS = {band.name: band for band in (F814W, F606W)}

_REDSHIFTS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_E = (0.80, 1.12, 1.61, 1.98, 1.96, 2.15, 2.44, 1.69, 0.91, 0.72)
_SBC = (0.55, 0.70, 1.02, 1.33, 1.44, 1.28, 0.95, 0.61, 0.48, 0.36)
_SCD = (0.40, 0.57, 0.86, 1.08, 1.07, 0.86, 0.61, 0.30, 0.22, 0.23)
_IM = (0.26, 0.30, 0.57, 0.71, 0.71, 0.48, 0.27, 0.16, 0.23, 0.30)
# Scatter of a galaxy about its spectrum: that of early types about their sequence is 0.1 mag in
# rest-frame U - V to a redshift of 0.75 (Ruhland et al. 2009).
_SCATTER = 0.1
# Of a black body of the Sun's 5772 K: what lights the zodiacal dust.
SKY_COLOUR = 0.27


def early_type(rng: np.random.Generator, redshift: float) -> float:
    """An elliptical, or an old core, bulge or bar."""
    return _galaxy(rng, redshift, _E, _E)


def disc(rng: np.random.Generator, redshift: float) -> float:
    """A spiral's disc, between Sbc and Scd."""
    return _galaxy(rng, redshift, _SBC, _SCD)


def star_forming(rng: np.random.Generator, redshift: float) -> float:
    """What is lensed, any faint galaxy, a ring or an irregular one: between Scd and Im.

    One kind for sources and unlensed neighbours, so that being blue is no evidence by itself.
    """
    return _galaxy(rng, redshift, _SCD, _IM)


def quasar(rng: np.random.Generator, redshift: float) -> float:
    """A power law of -0.44 (Vanden Berk et al. 2001), with what lines and dust scatter (chosen)."""
    return float(rng.normal(0.15, 0.15))


def star(rng: np.random.Generator, redshift: float) -> float:
    """From a black body of 7,000 K to one of 3,000 K; as many of each colour (chosen)."""
    return float(rng.uniform(0.07, 1.27))


def star_or_quasar(rng: np.random.Generator, redshift: float) -> float:
    """Either, one as often as the other (chosen)."""
    return star(rng, redshift) if rng.random() < 0.5 else quasar(rng, redshift)


@dataclass(frozen=True)
class SecondBand:
    """A scene's image in another band, drawn on beside the first.

    Attributes
    ----------
    band : Band
    image : ndarray, shape (ny, nx), float64, e-/s
        Drawn on in place.
    psf : Psf
    rng : numpy.random.Generator
        Of its own: the first band is what it is without a second.
    """

    band: Band
    image: Image
    psf: Psf
    rng: np.random.Generator

    def colours(self, kinds: Sequence[Kind], redshifts: tuple[float, float]) -> tuple[float, ...]:
        """The colours of one object's parts, at one redshift between two."""
        redshift = float(self.rng.uniform(*redshifts))
        return tuple(kind(self.rng, redshift) for kind in kinds)

    def gain(self, colour: float) -> float:
        """e-/s in this band for each in F814W."""
        return float(10.0 ** (0.4 * (self.band.zero_point_ab - ZERO_POINT_AB - colour)))


def _galaxy(
    rng: np.random.Generator, redshift: float, redder: tuple[float, ...], bluer: tuple[float, ...]
) -> float:
    share = rng.random()
    colours = share * np.array(redder) + (1.0 - share) * np.array(bluer)
    return float(np.interp(redshift, _REDSHIFTS, colours) + rng.normal(0.0, _SCATTER))
