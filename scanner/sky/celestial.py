"""The sky coordinates of a drizzled image: complete, free of left-overs, and usable.

wcslib puts a default for whatever a header does not say, or says in a way that it cannot read: 0
for a reference value, 1 degree for a pixel. So what must be there is looked for first.
"""

import math
import re
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame

from lensweep.scanner.sky.fits_files import faults_of, without_warnings
from lensweep.scanner.sky.headers import MosaicError, card

# Polynomials count where CTYPE ends in -SIP (Shupe et al. 2005, ASP 347, 491). Drizzling takes
# distortions out and renames CTYPE; MultiDrizzle, and AstroDrizzle before 2021, left the rest.
_POLYNOMIALS = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)$")
# Lookup tables of calibrated exposures, which lie in extensions of their own.
_LOOKUPS = re.compile(r"(CPDIS|CPERR|DP|D2IMDIS|D2IMERR|D2IM|DQ)[12](\..*)?$|D2IMEXT$|AXISCORR$")
_TABLE_USED = re.compile(r"(CPDIS|D2IMDIS)[12]$")
_TABLES = frozenset({"WCSDVARR", "D2IMARR"})
_NUMBERS = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)[12]$|(CD|PC)[12]_[12]$|PV[12]_\d+$|(EQUINOX|LONPOLE|LATPOLE)$"
)
# WFPC2 images that were calibrated early say EQUINOX = 'J2000', which wcslib does not read.
_EQUINOX = re.compile(r"[BJ]?(\d{4}(\.\d*)?)$")
_FRAMES = ("ICRS", "FK5", "FK4", "FK4-NO-E")
# Hubble's pixels measure 0.0135 (COSTAR's FOC) to 0.27 arcsec; drizzling may halve or double that.
MIN_SCALE_ARCSEC, MAX_SCALE_ARCSEC = 0.005, 1.0
# Largest disagreement between --pixel-scale and the header that rounding can explain.
_PIXEL_SCALE_TOLERANCE = 0.01
_SQUARE_TOLERANCE = 0.05
# From pixels to the sky and back.
_ROUND_TRIP_PX = 0.1


def read_wcs(hdus: fits.HDUList, index: int, label: str) -> tuple[WCS | None, list[str]]:
    """Read the celestial WCS of an image, distortion polynomials included.

    Parameters
    ----------
    hdus, index
        The file, and which of its images.
    label
        Begins every message.

    Returns
    -------
    wcs : WCS or None
        None without one.
    notes : list of str
        What was found in the header and left out of it.

    Raises
    ------
    MosaicError
        Lookup-table distortions; reference values that are missing or no finite numbers; a frame
        that nobody knows; or cards that wcslib cannot use.
    """
    with faults_of(f"{label}: unusable sky coordinates"), without_warnings():
        header, notes = _without_left_overs(hdus, index, label)
        if not _is_celestial(header):
            return None, []
        header = _with_equinox_in_years(header)
        _refuse_missing(header, label)
        wcs = WCS(header)
        wcs = wcs.sub(2) if wcs.naxis > 2 else wcs
        if not wcs.has_celestial:
            return None, []
        # wcslib knows frames in capitals only.
        wcs.wcs.radesys = wcs.wcs.radesys.strip().upper()
        wcs.wcs.set()
        _refuse_unknown_frame(wcs, header, label)
        _refuse_unusable(wcs, hdus[index].shape, label)
    return wcs, notes


def _without_left_overs(
    hdus: fits.HDUList, index: int, label: str
) -> tuple[fits.Header, list[str]]:
    header = hdus[index].header
    keys = set(header)
    tables = sorted(key for key in keys if _TABLE_USED.match(key))
    polynomials = sorted(key for key in keys if _POLYNOMIALS.match(key))
    distorted = any(str(header.get(f"CTYPE{axis}", "")).strip().endswith("-SIP") for axis in (1, 2))
    if tables and (distorted or any(hdu.name.upper() in _TABLES for hdu in hdus)):
        raise MosaicError(
            f"{label}: distortion tables ({', '.join(tables)}), so a calibrated exposure and no "
            "mosaic; drizzle it first"
        )
    notes = []
    if polynomials and not distorted:
        notes.append(
            f"distortion polynomials ({polynomials[0]} and {len(polynomials) - 1} more) left over "
            f"beside CTYPE1 = {header.get('CTYPE1')}, which has none: not applied"
        )
    if tables:
        notes.append(
            f"distortion tables named ({', '.join(tables)}) that the file does not hold, beside "
            f"CTYPE1 = {header.get('CTYPE1')}: not applied"
        )
    if not notes and not any(_LOOKUPS.match(key) for key in keys):
        return header, notes
    kept = (
        entry
        for entry in header.cards
        if not _LOOKUPS.match(entry.keyword)
        and (distorted or not _POLYNOMIALS.match(entry.keyword))
    )
    return fits.Header(kept), notes


def _with_equinox_in_years(header: fits.Header) -> fits.Header:
    stated = header.get("EQUINOX")
    years = _EQUINOX.match(stated.strip()) if isinstance(stated, str) else None
    if years is None:
        return header
    header = header.copy()
    header["EQUINOX"] = float(years[1])
    return header


def _is_celestial(header: fits.Header) -> bool:
    names = [str(header.get(f"CTYPE{axis}", ""))[:4].upper() for axis in (1, 2)]
    # Those that astropy leads to ICRS; what is on the Earth or on a planet is no sky.
    return all(name in ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT") for name in names)


def _refuse_missing(header: fits.Header, label: str) -> None:
    for key in header:
        # EPOCH is what EQUINOX was called once.
        counts = _NUMBERS.match(key) or (key == "EPOCH" and "EQUINOX" not in header)
        if counts and not _is_blank(header[key]) and not _is_number(header[key]):
            raise MosaicError(
                f"{label}: unusable sky coordinates: {key} = {header[key]!r} is no finite number; "
                "correct the header, or fetch it again"
            )
    given = {key for key in header if _NUMBERS.match(key) and not _is_blank(header[key])}
    missing = sorted({"CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"} - given)
    if not any(key.startswith("CD") and "_" in key for key in given):
        missing += sorted({"CDELT1", "CDELT2"} - given)
    if missing:
        raise MosaicError(
            f"{label}: unusable sky coordinates: the header has no {', '.join(missing)}"
            + (" and no CD matrix" if "CDELT1" in missing else "")
        )


def _is_blank(value: Any) -> bool:
    return value is None or isinstance(value, fits.card.Undefined)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse_unknown_frame(wcs: WCS, header: fits.Header, label: str) -> None:
    stated = header.get("RADESYS", header.get("RADECSYS", ""))
    equatorial = wcs.wcs.ctype[wcs.wcs.lng].startswith("RA--")
    known = isinstance(stated, str) and wcs.wcs.radesys in ("", *_FRAMES)
    if equatorial and not known:
        raise MosaicError(
            f"{label}: unusable sky coordinates: RADESYS = {stated}, none of "
            f"{', '.join(_FRAMES)}; correct it in the header"
        )


def _refuse_unusable(wcs: WCS, shape: tuple[int, ...], label: str) -> None:
    """Corners and middle of the image must have a place on the sky, and find back from there."""
    ny, nx = shape
    x = np.array([0.0, nx - 1, 0.0, nx - 1, (nx - 1) / 2])
    y = np.array([0.0, 0.0, ny - 1, ny - 1, (ny - 1) / 2])
    wcs_to_celestial_frame(wcs)
    sky = wcs.pixel_to_world(x, y).icrs
    back = wcs.world_to_pixel(sky)
    if not np.allclose(back, (x, y), rtol=0.0, atol=_ROUND_TRIP_PX):
        raise MosaicError(
            f"{label}: unusable sky coordinates: pixels have no place on the sky, or not one alone"
        )


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
        Neither is known; they differ by over 1 %; pixels are not square; or the WCS has pixels
        that no camera of Hubble's has, which the user does not confirm.
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
    _refuse_unlikely(scale_arcsec, stated_arcsec, label)
    return scale_arcsec


def _refuse_unlikely(scale_arcsec: float, stated_arcsec: float | None, label: str) -> None:
    if stated_arcsec is not None:
        if not math.isclose(scale_arcsec, stated_arcsec, rel_tol=_PIXEL_SCALE_TOLERANCE):
            raise MosaicError(
                f"{label}: the header says {scale_arcsec:.5g} arcsec/pixel, "
                f"--pixel-scale says {stated_arcsec:.5g}; leave the option out for this file"
            )
    elif not MIN_SCALE_ARCSEC <= scale_arcsec <= MAX_SCALE_ARCSEC:
        raise MosaicError(
            f"{label}: unusable sky coordinates: {scale_arcsec:.5g} arcsec/pixel, outside "
            f"{MIN_SCALE_ARCSEC:g} to {MAX_SCALE_ARCSEC:g}; if it is right, say --pixel-scale "
            f"{scale_arcsec:.5g}"
        )


def _scale_hint(headers: list[fits.Header], label: str) -> str:
    # PIXSCALE is nobody's standard, so it is shown and not believed.
    noted = card(headers, "PIXSCALE", label)
    if noted is None:
        return "state the scale with --pixel-scale, in arcsec/pixel"
    return f"the header notes PIXSCALE = {noted}: confirm with --pixel-scale, in arcsec/pixel"
