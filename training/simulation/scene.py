"""A scene that is being drawn: its image, in one band or two, and where its object lies.

Objects have colours, which matter where a scene has a second band.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lensweep.scanner.sky.scale import PIXEL_SCALE_ARCSEC
from lensweep.training.simulation.bands import NEAR, Kind, SecondBand
from lensweep.training.simulation.light import Image, Sersic, draw, draw_galaxy_light, draw_point
from lensweep.training.simulation.psf import Psf

# Surface brightness at offsets (dx, dy) in arcsec, in F814W; with a gain for each of an object's
# colours, in another band.
Parts = Callable[..., Image]


@dataclass(frozen=True)
class Scene:
    """An image being drawn, and where on it the object goes.

    Attributes
    ----------
    image : ndarray, shape (ny, nx), float64, e-/s
        Drawn on in place.
    x_px, y_px : float
        The object's centre.
    psf : Psf
    rng : numpy.random.Generator
    second : SecondBand, optional
        The same scene in another band, on which all is drawn too.
    """

    image: Image
    x_px: float
    y_px: float
    psf: Psf
    rng: np.random.Generator
    second: SecondBand | None = None

    def beside(self, radius_arcsec: float, angle_rad: float) -> tuple[float, float]:
        """The pixel at a distance and direction from the object's centre."""
        step = radius_arcsec / PIXEL_SCALE_ARCSEC
        return self.x_px + step * np.cos(angle_rad), self.y_px + step * np.sin(angle_rad)

    def colours(self, *kinds: Kind, redshifts: tuple[float, float] = NEAR) -> tuple[float, ...]:
        """The colours of an object's parts, all at one redshift; zeros without a second band."""
        if self.second is None:
            return (0.0,) * len(kinds)
        return self.second.colours(kinds, redshifts)

    def add_galaxy(
        self, x_px: float, y_px: float, components: Sequence[Sersic], colour: float
    ) -> None:
        """Add a galaxy of one colour, as `light.draw_galaxy_light` does."""
        draw_galaxy_light(self.image, x_px, y_px, components, self.psf)
        if self.second is not None:
            there = brighter(components, self.second.gain(colour))
            draw_galaxy_light(self.second.image, x_px, y_px, there, self.second.psf)

    def add_point(self, x_px: float, y_px: float, flux: float, colour: float) -> None:
        """Add a point source, as `light.draw_point` does."""
        draw_point(self.image, x_px, y_px, flux, self.psf)
        if self.second is not None:
            there = flux * self.second.gain(colour)
            draw_point(self.second.image, x_px, y_px, there, self.second.psf)

    def add_light(
        self, x_px: float, y_px: float, parts: Parts, reach_arcsec: float,
        colours: Sequence[float], flux: float | None = None,
    ) -> None:  # fmt: skip
        """Add an extended object of several colours, as `light.draw` does."""
        draw(self.image, x_px, y_px, parts, reach_arcsec, self.psf, flux)
        if self.second is not None:
            gains = [self.second.gain(colour) for colour in colours]
            draw(
                self.second.image, x_px, y_px, lambda dx, dy: parts(dx, dy, *gains), reach_arcsec,
                self.second.psf, flux, of=parts,
            )  # fmt: skip


def brighter(components: Sequence[Sersic], gain: float) -> tuple[Sersic, ...]:
    """Components with that many times the flux."""
    step = 2.5 * float(np.log10(gain))
    return tuple(replace(one, magnitude=one.magnitude - step) for one in components)
