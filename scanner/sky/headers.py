"""What the headers of a drizzled image say: filter, units, zero point, sky coordinates.

Nothing is guessed: a header that is silent or contradicts itself is an error, which says what the
user can state instead. `label` starts every message: ``mosaic <file name>``.
"""

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.names import printable

_ELECTRONS_PER_SECOND = frozenset({"electrons/s", "electron/s", "e-/s", "e/s"})
_ELECTRONS = frozenset({"electrons", "electron", "e-"})
_COUNTS_PER_SECOND = frozenset({"counts/s", "count/s", "cps"})
_UNIT_FLAGS = ("electrons/s", "counts/s", "electrons")
# A polariser in the beam makes another band: F606W+POL0V.
_FILTER_NAME = re.compile(r"F\d{3,4}[A-Z]{1,3}|POL\d+[A-Z]*")
# Lookup-table distortions belong to calibrated exposures; drizzling takes them out.
_LOOKUP_TABLES = ("CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2")
# Largest disagreement between --pixel-scale and the header that rounding can explain.
_PIXEL_SCALE_TOLERANCE = 0.01
_SQUARE_TOLERANCE = 0.05


class MosaicError(InputError):
    """A mosaic cannot be scanned as asked; the message starts with ``mosaic <file name>:``."""

    def __init__(self, message: str) -> None:
        # Many hold a path, and all may become a row of a table.
        super().__init__(printable(message))


@dataclass(frozen=True)
class HeaderOverrides:
    """What the user states about mosaics whose headers do not.

    Parameters
    ----------
    band
        ``--band``: the filter, only for a header that names none.
    pixel_scale_arcsec
        ``--pixel-scale``: only for a header without sky coordinates; with them, a check.
    units
        ``--units``: ``electrons/s``, ``counts/s`` or ``electrons``. It wins over the header,
        because headers that contradict their own pixels are why it exists. ``counts/s`` is
        taken with the scale of ``electrons/s``: the stretch measures flux in units of the
        image's own noise, so a constant gain cancels; zero points then hold for counts.
    """

    band: str | None = None
    pixel_scale_arcsec: float | None = None
    units: str | None = None


def _card(headers: list[fits.Header], key: str, label: str) -> Any:
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
    """Read a card that means something only above 0; None when it is absent or anything else."""
    value = _card(headers, key, label)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


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
            f"{label}: the header names no filter (FILTER, FILTER1, FILTER2, PHOTMODE); "
            "state it with --band"
        )
    band = found if stated is None else stated.strip().upper()
    if found not in (None, band):
        raise MosaicError(f"{label}: the header says filter {found}, --band says {band}")
    return str(band)


def _band_of_header(headers: list[fits.Header], label: str) -> str | None:
    # COSMOS products say FILTER = 'HST-F814W'.
    name = str(_card(headers, "FILTER", label) or "").upper()
    if _FILTER_NAME.search(name):
        return "+".join(_FILTER_NAME.findall(name))
    if name and not name.startswith("CLEAR"):
        return name
    wheels = [str(_card(headers, key, label) or "").upper() for key in ("FILTER1", "FILTER2")]
    in_beam = [wheel for wheel in wheels if wheel and not wheel.startswith("CLEAR")]
    mode = str(_card(headers, "PHOTMODE", label) or "").upper()
    return "+".join(in_beam or _FILTER_NAME.findall(mode)) or None


def read_units(
    headers: list[fits.Header], stated: str | None, exposure_time_s: float | None, label: str
) -> tuple[str, float]:
    """Read the units as stated, and the factor that makes raw pixels e-/s.

    Raises
    ------
    MosaicError
        No or unknown units; a rate of counts, whose gain is open; BUNIT and drizzle's own
        D001OUUN contradict each other; a total without EXPTIME. `stated` ends all but the last.
    """
    raw = str(_card(headers, "BUNIT", label) or "")
    unit = (raw if stated is None else stated).replace(" ", "").lower()
    if stated is not None:
        if unit not in _UNIT_FLAGS:
            raise MosaicError(f"{label}: --units {stated}, but it takes {', '.join(_UNIT_FLAGS)}")
        raw = stated
    else:
        _refuse_unclear_units(raw, unit, str(_card(headers, "D001OUUN", label) or ""), label)
    if unit not in _ELECTRONS:
        return raw, 1.0
    if exposure_time_s is None:
        raise MosaicError(f"{label}: units {raw} need EXPTIME > 0 in the header to become e-/s")
    return raw, 1.0 / exposure_time_s


def _refuse_unclear_units(raw: str, unit: str, drizzled: str, label: str) -> None:
    if not unit:
        raise MosaicError(
            f"{label}: the header states no units (BUNIT); state them with --units "
            f"({', '.join(_UNIT_FLAGS)})"
        )
    if unit in _COUNTS_PER_SECOND:
        raise MosaicError(
            f"{label}: units {raw}, which may or may not include the gain; say --units "
            "electrons/s or --units counts/s"
        )
    if unit not in _ELECTRONS_PER_SECOND | _ELECTRONS:
        raise MosaicError(
            f"{label}: unknown units {raw}; state them with --units ({', '.join(_UNIT_FLAGS)})"
        )
    # D001OUUN is the unit that drizzle wrote: 'cps' is a rate, 'counts' a total.
    rate = {"cps": True, "counts": False}.get(drizzled.strip().lower())
    if rate is not None and rate != (unit in _ELECTRONS_PER_SECOND):
        raise MosaicError(
            f"{label}: BUNIT = {raw}, but drizzle wrote D001OUUN = {drizzled}; say --units "
            + ("electrons/s" if rate else "electrons")
        )


def read_zero_point_ab(headers: list[fits.Header], label: str) -> float | None:
    """Compute the AB magnitude of 1 e-/s, or None without PHOTFLAM and PHOTPLAM.

    ``-2.5 log10 PHOTFLAM - 5 log10 PHOTPLAM - 2.408`` (HLA FAQ).
    """
    photflam = positive_number(headers, "PHOTFLAM", label)
    photplam = positive_number(headers, "PHOTPLAM", label)
    if photflam is None or photplam is None:
        return None
    return -2.5 * math.log10(photflam) - 5.0 * math.log10(photplam) - 2.408


def read_wcs(header: fits.Header, label: str) -> WCS | None:
    """Read the celestial WCS of an image, distortion polynomials included; None without one.

    Raises
    ------
    MosaicError
        Lookup-table distortions, or cards that wcslib cannot use.
    """
    tables = [key for key in _LOOKUP_TABLES if key in header]
    if tables:
        raise MosaicError(
            f"{label}: distortion tables ({', '.join(tables)}), so a calibrated exposure and no "
            "mosaic; drizzle it first"
        )
    try:
        with warnings.catch_warnings():
            # Old date and RADECSYS cards, which wcslib mends without loss.
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
            if not wcs.has_celestial:
                return None
            wcs = wcs.celestial
            wcs.wcs.set()
    except (ValueError, VerifyError) as error:
        raise MosaicError(f"{label}: unusable sky coordinates: {error}") from error
    return wcs


def read_pixel_scale(
    headers: list[fits.Header],
    wcs: WCS | None,
    stated_arcsec: float | None,
    label: str,
    require_sky_wcs: bool,
) -> float:
    """Read the pixel scale in arcsec, from the WCS, or from the user where there is none.

    Raises
    ------
    MosaicError
        Neither is known; they differ by over 1 %; or pixels are not square.
    """
    if stated_arcsec is not None and not 0 < stated_arcsec < math.inf:
        raise MosaicError(f"{label}: --pixel-scale {stated_arcsec}, but it must be above 0")
    if wcs is None:
        if require_sky_wcs:
            raise MosaicError(
                f"{label}: no sky coordinates (WCS) in the header, which a scan needs"
            )
        if stated_arcsec is None:
            raise MosaicError(f"{label}: no sky coordinates (WCS); {_scale_hint(headers, label)}")
        return stated_arcsec
    width, height = proj_plane_pixel_scales(wcs) * 3600.0
    # wcslib puts 1 degree for a missing row of the CD matrix; drizzled pixels are square.
    if not math.isclose(width, height, rel_tol=_SQUARE_TOLERANCE):
        raise MosaicError(
            f"{label}: unusable sky coordinates: pixels of {width:.5g} x {height:.5g} arcsec"
        )
    scale_arcsec = math.sqrt(width * height)
    if stated_arcsec is not None and not math.isclose(
        scale_arcsec, stated_arcsec, rel_tol=_PIXEL_SCALE_TOLERANCE
    ):
        raise MosaicError(
            f"{label}: the header says {scale_arcsec:.5g} arcsec/pixel, "
            f"--pixel-scale says {stated_arcsec:.5g}"
        )
    return scale_arcsec


def _scale_hint(headers: list[fits.Header], label: str) -> str:
    # PIXSCALE is nobody's standard, so it is shown and not believed.
    noted = _card(headers, "PIXSCALE", label)
    if noted is None:
        return "state the scale with --pixel-scale, in arcsec/pixel"
    return f"the header notes PIXSCALE = {noted}: confirm with --pixel-scale, in arcsec/pixel"
