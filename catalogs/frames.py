"""Positions that a table states in another frame than ICRS: brought to it, or refused."""

import re
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import FK4, FK5, BaseCoordinateFrame, FK4NoETerms, SkyCoord
from astropy.time import Time
from numpy.typing import NDArray

_FRAMES: dict[str, type[BaseCoordinateFrame]] = {
    "FK4": FK4, "FK4-NO-E": FK4NoETerms, "FK5": FK5,
}  # fmt: skip
# What VOTable and FITS call frames, in capitals, without VOTable's `eq_`; by default their equinox.
_SYSTEMS = {"ICRS": "", "FK5": "J2000", "FK4": "B1950", "FK4-NO-E": "B1950"}
_YEAR = re.compile(r"[BJ]?\d{4}(\.\d*)?", re.IGNORECASE)
# From this year on a bare equinox is Julian, and the frame FK5 (FITS, Calabretta & Greisen 2002).
_FIRST_JULIAN = 1984.0


class FrameError(ValueError):
    """A frame that no position can be brought to ICRS from."""


@dataclass(frozen=True)
class Frame:
    """An equatorial frame other than ICRS.

    Attributes
    ----------
    system : str
        ``FK4``, ``FK4-NO-E`` or ``FK5``.
    equinox : str
        ``B1950``, ``J2000`` or another year.
    epoch : str
        Of the positions, which FK4's own rotation matters for; the equinox if it is not known.
    """

    system: str
    equinox: str
    epoch: str

    def __str__(self) -> str:
        return f"{self.system} {self.equinox}"


def frame_of(system: str, equinox: str | float | None, epoch: str | None = None) -> Frame | None:
    """The frame that a VOTable's COOSYS or a FITS header names; None for ICRS.

    Parameters
    ----------
    system : str
        COOSYS' ``system`` or FITS' ``RADESYS``; empty if only the equinox is known.
    equinox, epoch : optional
        A year, with or without B or J.

    Raises
    ------
    FrameError
        If it is not an equatorial frame that positions can be brought to ICRS from.
    """
    year = None if equinox in (None, "") else _year(str(equinox))
    known = system.strip().upper().removeprefix("EQ_")
    if not known:
        known = "FK4" if year is not None and _is_besselian(year) else "FK5"
    if known not in _SYSTEMS:
        raise FrameError(f"frame {system!r}")
    if known == "ICRS":
        return None
    year = year or _SYSTEMS[known]
    return Frame(known, year, year if epoch in (None, "") else _year(str(epoch)))


def to_icrs(
    frame: Frame, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring positions to ICRS.

    Parameters
    ----------
    frame : Frame
    ra_deg, dec_deg : ndarray, shape (n,), float64
        Finite; Dec within [-90, 90].

    Returns
    -------
    ra_deg, dec_deg : ndarray, shape (n,), float64
        RA in [0, 360).
    """
    when = {"equinox": Time(frame.equinox)}
    if frame.system != "FK5":
        when["obstime"] = Time(frame.epoch)
    there = SkyCoord(ra_deg * u.deg, dec_deg * u.deg, frame=_FRAMES[frame.system](**when))
    return np.asarray(there.icrs.ra.deg), np.asarray(there.icrs.dec.deg)


def _year(text: str) -> str:
    """A year as astropy takes it: B1950, J2000."""
    found = text.strip().upper()
    if not _YEAR.fullmatch(found):
        raise FrameError(f"equinox or epoch {text!r}")
    number = float(found.lstrip("BJ"))
    kind = found[0] if found[0] in "BJ" else "J" if number >= _FIRST_JULIAN else "B"
    return f"{kind}{number:g}"


def _is_besselian(year: str) -> bool:
    return year.startswith("B")
