"""The units of pixels, as astropy reads them: what makes raw values electrons per second."""

import re
import warnings

from astropy import units as u
from astropy.io import fits

from lensweep.scanner.sky.headers import MosaicError, card

# Hubble's own spellings, which are those of no standard, and what astropy calls them.
_SPELLINGS = {
    "electron": ("electrons", "electron", "elec", "e-", "e"),
    "count": ("counts", "count", "cts", "ct", "dn", "adu"),
    "s": ("seconds", "second", "secs", "sec", "s"),
    "count/s": ("cps",),
}
_ASTROPY = {spelling: name for name, several in _SPELLINGS.items() for spelling in several}
_WORD = re.compile(r"(?<![0-9.a-z])(?:e-(?![0-9])|[a-z]+)")
_FLAGS = "electrons/s, counts/s, electrons or counts, in any spelling that astropy reads"
_SHORT = "electrons/s, counts/s, electrons, counts"
_KINDS = {
    "electron rate": u.electron / u.s,
    "electrons": u.electron,
    "count rate": u.count / u.s,
    "counts": u.count,
}


def read_units(
    headers: list[fits.Header], stated: str | None, exposure_time_s: float | None, label: str
) -> tuple[str, float]:
    """Read the units as stated, and the factor that makes raw pixels e-/s.

    Raises
    ------
    MosaicError
        No or unknown units; counts, whose gain is open; BUNIT and drizzle's own D001OUUN
        contradict each other; a total without EXPTIME. `stated` ends all but the last.
    """
    raw = str(card(headers, "BUNIT", label) or "")
    if stated is not None:
        kind, scale = _kind_of(stated)
        if not kind:
            raise MosaicError(f"{label}: --units {stated}, but it takes {_FLAGS}")
        raw = stated
    else:
        kind, scale = _kind_of(raw)
        _refuse_unclear(raw, kind, str(card(headers, "D001OUUN", label) or ""), label)
    if kind.endswith("rate"):
        return raw, scale
    if exposure_time_s is None:
        raise MosaicError(f"{label}: units {raw} need EXPTIME > 0 in the header to become e-/s")
    return raw, scale / exposure_time_s


def _kind_of(text: str) -> tuple[str, float]:
    """Which of `_KINDS` a unit is, and how many of them it holds; an empty kind for any other."""
    spelled = _WORD.sub(lambda word: _ASTROPY.get(word[0], word[0]), text.strip().lower())
    try:
        with warnings.catch_warnings():
            # Several slashes are read from left to right, as by everybody else.
            warnings.simplefilter("ignore", u.UnitsWarning)
            unit = u.Unit(spelled)
    except (ValueError, TypeError):
        return "", 1.0
    for kind, wanted in _KINDS.items():
        if unit.is_equivalent(wanted):
            return kind, float(unit.to(wanted))
    return "", 1.0


def _refuse_unclear(raw: str, kind: str, drizzled: str, label: str) -> None:
    if not raw:
        raise MosaicError(
            f"{label}: the header states no units (BUNIT); state them with --units ({_SHORT})"
        )
    if not kind:
        raise MosaicError(
            f"{label}: unknown units {raw}, no flux in electrons or counts; state them with "
            f"--units ({_SHORT})"
        )
    if kind.startswith("count"):
        rate = "/s" if kind == "count rate" else ""
        raise MosaicError(
            f"{label}: units {raw}, which may or may not include the gain; say --units "
            f"electrons{rate} or --units counts{rate}"
        )
    # D001OUUN is the unit that drizzle wrote: 'cps' is a rate, 'counts' a total.
    rate_drizzled = {"cps": True, "counts": False}.get(drizzled.strip().lower())
    if rate_drizzled is not None and rate_drizzled != (kind == "electron rate"):
        raise MosaicError(
            f"{label}: BUNIT = {raw}, but drizzle wrote D001OUUN = {drizzled}; say --units "
            + ("electrons/s" if rate_drizzled else "electrons")
        )
