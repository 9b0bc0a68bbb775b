"""What the headers of a drizzled image say: filter, zero point, and what the user states instead.

Nothing is guessed: a header that is silent or contradicts itself is an error, which says what the
user can state instead. `label` starts every message: ``mosaic <file name>``.
"""

import math
import re
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.names import printable

# A polariser in the beam makes another band: F606W+POL0V.
_FILTER_NAME = re.compile(r"F\d{3,4}[A-Z]{1,3}|POL\d+[A-Z]*")
# Where Hubble's cameras name what is in the beam: WFPC2's FILTER1 and FILTER2 are numbers.
_WHEELS = (("FILTNAM1", "FILTNAM2"), ("FILTER1", "FILTER2"))
_NO_FILTER = ("CLEAR", "N/A", "NONE")


class MosaicError(InputError):
    """A mosaic cannot be scanned as asked; the message starts with ``mosaic <file name>:``."""

    def __init__(self, message: str) -> None:
        # Many hold a path, and all may become a row of a table.
        super().__init__(printable(message))


def card(headers: list[fits.Header], key: str, label: str) -> Any:
    """Find the first value that is not blank, the science header before the primary one."""
    for header in headers:
        try:
            value = header.get(key)
        except VerifyError as error:
            raise MosaicError(f"{label}: unreadable header card {key}") from error
        if value is None or isinstance(value, fits.card.Undefined):
            continue
        if isinstance(value, str):
            value = value.strip()
        if value != "":
            return value
    return None


def positive_number(headers: list[fits.Header], key: str, label: str) -> float | None:
    """Read a card that means something only above 0: the first that is; None if none is."""
    for header in headers:
        value = card([header], key, label)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and value > 0:
            return float(value)
    return None


def read_band(headers: list[fits.Header], stated: str | None, label: str) -> str:
    """Read the filter, such as F814W, in capitals; several in the beam are joined by ``+``.

    Raises
    ------
    MosaicError
        The header names no filter and `stated` is None, or the two contradict each other.
    """
    found = _band_of_header(headers, label)
    if stated is None and found is None:
        raise MosaicError(
            f"{label}: the header names no filter (FILTER, FILTNAM1, FILTER1, PHOTMODE); "
            "state it with --band"
        )
    band = found if stated is None else stated.strip().upper()
    if found not in (None, band):
        raise MosaicError(f"{label}: the header says filter {found}, --band says {band}")
    return str(band)


def _band_of_header(headers: list[fits.Header], label: str) -> str | None:
    # ACS has FILTER1 and FILTER2, WFC3 and NICMOS FILTER, WFPC2 FILTNAM1 and FILTNAM2; HLA, HAP and
    # HLSP products add FILTER. COSMOS says FILTER = 'HST-F814W'.
    name = _named(headers, "FILTER", label)
    if _FILTER_NAME.search(name):
        return "+".join(_FILTER_NAME.findall(name))
    if name:
        return name
    for wheels in _WHEELS:
        in_beam = [wheel for key in wheels if (wheel := _named(headers, key, label))]
        if in_beam:
            return "+".join(in_beam)
    mode = str(card(headers, "PHOTMODE", label) or "").upper()
    return "+".join(_FILTER_NAME.findall(mode)) or None


def _named(headers: list[fits.Header], key: str, label: str) -> str:
    """A filter's name; empty for none, for a clear wheel, and for the number of a filter."""
    name = str(card(headers, key, label) or "").upper()
    if _FILTER_NAME.search(name):
        return name
    return "" if name.startswith(_NO_FILTER) or name.replace(".", "").isdigit() else name


def read_zero_point_ab(headers: list[fits.Header], label: str) -> float | None:
    """Compute the AB magnitude of 1 e-/s, or None without PHOTFLAM and PHOTPLAM.

    ``-2.5 log10 PHOTFLAM - 5 log10 PHOTPLAM - 2.408`` (HLA FAQ).
    """
    photflam = positive_number(headers, "PHOTFLAM", label)
    photplam = positive_number(headers, "PHOTPLAM", label)
    if photflam is None or photplam is None:
        return None
    return -2.5 * math.log10(photflam) - 5.0 * math.log10(photplam) - 2.408
