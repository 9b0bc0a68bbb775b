"""File names of Hubble's drizzled products, and what they say.

HLA: hla.stsci.edu/hla_faq.html. HAP: DrizzlePac's documentation of single-visit (SVM) and
multi-visit mosaics (MVM). HLSP: archive.stsci.edu/hlsp. Upper-case names circulate, so case means
nothing.
"""

import re
from dataclasses import dataclass

from lensweep.ground.errors import InputError

HAP_SVM, HAP_MVM, HLA, HLSP = "HAP-SVM", "HAP-MVM", "HLA", "HLSP"
# What a file holds, by the end of its name: an image to scan. Others are weights, catalogues,
# pictures.
IMAGES = frozenset({"drz", "drc", "drw", "sci", "img"})
_END = r"_(?P<kind>[a-z0-9-]+)\.fits(?:\.(?:gz|fz))?"
_CAMERA = r"(?P<instrument>acs|wfc3|wfpc2)"
_FILTER = r"(?P<band>f\d{3,4}[a-z]{1,2}|total|detection)"
_DETECTOR = r"(?P<detector>wfc|hrc|sbc|uvis|ir|pc|wf|wfpc2)"
_TAIL = rf"{_CAMERA}_{_DETECTOR}_{_FILTER}"
# HLA's WFPC2 names have the filter before the detector.
_WFPC2_TAIL = r"(?P<instrument>wfpc2)_(?P<band>f\d{3,4}[a-z]{1,2}|total)_(?P<detector>pc|wf)"
_VISIT = r"hst_(?P<programme>\d{4,5})_(?P<visit>[0-9a-z]{2})_"
_PATTERNS = tuple(
    (collection, level, re.compile(pattern, re.IGNORECASE))
    for collection, level, pattern in (
        (HAP_MVM, "skycell", rf"hst_skycell-(?P<part>p\d{{4}}x\d{{2}}y\d{{2}})_{_TAIL}_all{_END}"),
        (HAP_MVM, "skycell, coarse",
         rf"hst_skycell-(?P<part>p\d{{4}}x\d{{2}}y\d{{2}})_{_TAIL}_coarse-all{_END}"),
        (HAP_MVM, "exposure",
         rf"hst_skycell-(?P<part>p\d{{4}}x\d{{2}}y\d{{2}})_{_TAIL}_(?:coarse-)?all-[0-9a-z]{{8}}{_END}"),
        (HAP_SVM, "visit", rf"{_VISIT}{_TAIL}_(?P<part>[0-9a-z]{{6}}){_END}"),
        (HAP_SVM, "exposure", rf"{_VISIT}{_TAIL}_(?P<part>[0-9a-z]{{8}}){_END}"),
        (HLA, "visit", rf"{_VISIT}{_TAIL}{_END}"),
        (HLA, "visit", rf"{_VISIT}{_WFPC2_TAIL}{_END}"),
        (HLA, "exposure", rf"{_VISIT}{_TAIL}_(?P<part>\d{{2}}){_END}"),
        (HLA, "exposure", rf"{_VISIT}{_WFPC2_TAIL}_(?P<part>\d{{2}}){_END}"),
        (HLA, "mosaic", rf"hst_mos_(?P<part>\d+)_{_TAIL}(?:_(?:long|short))?{_END}"),
        (HLSP, "mosaic",
         rf"hlsp_(?P<survey>[a-z0-9-]+)_hst_{_CAMERA}(?:-(?P<detector>wfc|uvis|ir|hrc))?"
         rf"(?:-\d+mas)?_(?P<part>[a-z0-9-]+)_{_FILTER}_(?P<version>[a-z0-9.]+){_END}"),
    )
)  # fmt: skip
# Which detector an HLSP means that names the instrument alone. WFC3's two cannot be told apart.
_ONLY_IMAGER = {"acs": "wfc", "wfpc2": "wfpc2"}


class NameOfFileError(InputError):
    """A file name that must not be used for a file here."""


@dataclass(frozen=True)
class ProductName:
    """What the name of a product's file says.

    Attributes
    ----------
    collection : str
        `HAP-SVM`, `HAP-MVM`, `HLA` or `HLSP`.
    level : str
        `exposure`, `visit`, `mosaic`, `skycell`, or `skycell, coarse` (0.12 arcsec/pixel).
    instrument, detector, band : str
        As ACS, WFC, F814W. The detector is empty where the name leaves it open; the band may be
        TOTAL or DETECTION: all filters of a visit.
    kind : str
        Last word of the name, such as drz, drc (corrected for charge transfer), sci, wht.
    programme, visit, part, survey, version : str
        Proposal and visit; skycell, association or number of a mosaic; name and version of an
        HLSP. Empty where there is none.
    """

    collection: str
    level: str
    instrument: str
    detector: str
    band: str
    kind: str
    programme: str = ""
    visit: str = ""
    part: str = ""
    survey: str = ""
    version: str = ""

    @property
    def camera(self) -> str:
        """Instrument and detector, as ACS/WFC."""
        return f"{self.instrument}/{self.detector}" if self.detector else self.instrument

    @property
    def to_scan(self) -> bool:
        """Whether it is an image of several exposures in one filter."""
        return (
            self.kind.lower() in IMAGES
            and self.level in ("visit", "mosaic", "skycell")
            and self.band not in ("TOTAL", "DETECTION")
        )


def parse_name(file_name: str) -> ProductName | None:
    """Read the name of a product's file; None for names of other kinds.

    Parameters
    ----------
    file_name : str
        Without a folder.
    """
    for collection, level, pattern in _PATTERNS:
        found = pattern.fullmatch(file_name)
        if found:
            said = {key: value or "" for key, value in found.groupdict().items()}
            return _product_name(collection, level, said)
    return None


def safe_name(file_name: str) -> str:
    """A file name that an archive gave, as it may be used here.

    Raises
    ------
    NameOfFileError
        If it could lead out of the folder that it is meant for, or hide in it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,200}", file_name) or ".." in file_name:
        raise NameOfFileError(
            f"file name {file_name!r}: an archive's answer, but no plain file name; it is not used"
        )
    return file_name


def _product_name(collection: str, level: str, said: dict[str, str]) -> ProductName:
    instrument = said["instrument"].lower()
    detector = said.get("detector", "").lower() or _ONLY_IMAGER.get(instrument, "")
    # A WFPC2 image of all four chips.
    if instrument == "wfpc2":
        detector = "wfpc2" if detector == "wf" else detector
    return ProductName(
        collection,
        level,
        instrument.upper(),
        "" if detector == instrument else detector.upper(),
        said["band"].upper(),
        said["kind"].lower(),
        programme=said.get("programme", ""),
        visit=said.get("visit", "").lower(),
        part=said.get("part", "").lower(),
        survey=said.get("survey", "").lower(),
        version=said.get("version", "").lower(),
    )
