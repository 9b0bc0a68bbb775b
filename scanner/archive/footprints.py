"""Footprints of products: STC-S text, as MAST's `s_region` and HLA's `regionSTCS` have it."""

import re

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude, angular_separation
from mocpy import MOC
from numpy.typing import NDArray

from lensweep.catalogs.coverage import ORDER, joined

# No Hubble product is wider: the mosaic of a whole survey is 1.5 degrees.
WIDEST_DEG = 8.0
_SHAPE = re.compile(r"(polygon|circle)\b", re.IGNORECASE)
# Reference frames and positions as STC-S has them; J2000 and ICRS differ by 0.03 arcsec.
_FRAMES = frozenset({"icrs", "j2000", "fk5", "topocenter", "barycenter", "geocenter", "spher2",
                     "unknownrefpos"})  # fmt: skip


class FootprintError(ValueError):
    """A footprint that says nothing."""


def footprint_moc(stcs: str) -> MOC:
    """The sky within a footprint.

    Parameters
    ----------
    stcs : str
        One or several `POLYGON [frame] ra dec ra dec ...` or `CIRCLE [frame] ra dec radius`, in
        degrees.

    Raises
    ------
    FootprintError
        If it is neither, in another frame, off the sphere or absurdly large.
    """
    words = _SHAPE.split(stcs)
    whole = joined(
        (_circle if shape.lower() == "circle" else _polygon)(_numbers(rest, stcs), stcs)
        for shape, rest in zip(words[1::2], words[2::2], strict=True)
    )
    if words[0].strip() or whole.empty():
        raise FootprintError(f"footprint {stcs[:80]!r}: no polygon and no circle")
    return whole


def _numbers(text: str, stcs: str) -> list[float]:
    words = text.replace(",", " ").split()
    while words and words[0].lower() in _FRAMES:
        words.pop(0)
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise FootprintError(f"footprint {stcs[:80]!r}: {error}") from error
    if not np.isfinite(numbers).all():
        raise FootprintError(f"footprint {stcs[:80]!r}: a corner is no number")
    return numbers


def _polygon(numbers: list[float], stcs: str) -> MOC:
    corners = np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2)
    if len(corners) > 1 and np.array_equal(corners[0], corners[-1]):
        corners = corners[:-1]
    if len(numbers) % 2 or len(np.unique(corners, axis=0)) < 3:
        raise FootprintError(f"footprint {stcs[:80]!r}: not three corners")
    ra, dec = _sky(corners[:, 0], corners[:, 1], stcs)
    _refuse_wide(float(angular_separation(ra[0], dec[0], ra, dec).max().to_value(u.deg)), stcs)
    return MOC.from_polygon(ra, dec, max_depth=ORDER)


def _circle(numbers: list[float], stcs: str) -> MOC:
    if len(numbers) != 3 or not 0.0 < numbers[2] < 90.0:
        raise FootprintError(f"footprint {stcs[:80]!r}: a circle is ra, dec and radius")
    _refuse_wide(2.0 * numbers[2], stcs)
    ra, dec = _sky(np.array(numbers[:1]), np.array(numbers[1:2]), stcs)
    return MOC.from_cone(ra, dec, radius=numbers[2] * u.deg, max_depth=ORDER)


def _refuse_wide(width_deg: float, stcs: str) -> None:
    if width_deg > WIDEST_DEG:
        raise FootprintError(
            f"footprint {stcs[:80]!r}: {width_deg:.3g} deg wide, no image of Hubble is"
        )


def _sky(
    ra: NDArray[np.float64], dec: NDArray[np.float64], stcs: str
) -> tuple[Longitude, Latitude]:
    if np.any(np.abs(dec) > 90.0):
        raise FootprintError(f"footprint {stcs[:80]!r}: a declination beyond a pole")
    return Longitude(ra % 360.0, u.deg), Latitude(dec, u.deg)
