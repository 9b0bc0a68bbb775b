"""The maps that belong to a drizzled image: told apart from it, and its weight found beside it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from astropy.io import fits

from lensweep.scanner.sky.headers import MosaicError

# Planes that a drizzled file holds beside the image, and that are never the image.
COMPANIONS = frozenset({"WHT", "CTX", "CON", "ERR", "DQ", "RMS", "EXP", "FLAG"})
_WEIGHT = "a weight map"
_KINDS = {"WHT": _WEIGHT, "CTX": "a context map", "CON": "a context map"}
# `_wht.fits`, and with a version behind it `_wht_20.fits`, `_wht_v1.0.fits`.
_VERSION = r"(?P<version>([-_]v?\d[\d.]*)*)$"
_NAME = re.compile(
    rf"_(?P<kind>wht|weight|ivm|ctx|con|rms|err|exp|dq|flg|flag){_VERSION}", re.IGNORECASE
)
_ALIASES = {"WEIGHT": "WHT", "IVM": "WHT", "FLG": "FLAG"}
_IMAGE = re.compile(rf"_(?P<kind>sci|drz|drc){_VERSION}", re.IGNORECASE)
_ENDING = re.compile(r"(\.(fits|fit|fts))?(\.(gz|fz))?$", re.IGNORECASE)


class CompanionError(MosaicError):
    """A file is no image, but a map that belongs to one."""


def kind_of_companion(hdus: fits.HDUList, file_name: str) -> str | None:
    """What map a file is, in words; None for an image.

    Parameters
    ----------
    hdus
        Of the file. AstroDrizzle states FILETYPE, or EXTNAME.
    file_name
        All that older maps have.
    """
    names = {hdu.name.upper() for hdu in hdus if hdu.is_image and hdu.shape}
    if "SCI" in names:
        return None
    stated = {str(hdus[0].header.get("FILETYPE", "")).strip().upper()}
    for kind in COMPANIONS & (stated | names if len(names) == 1 else stated):
        return _words(kind)
    found = _NAME.search(_ENDING.sub("", file_name))
    return f"{_words(found['kind'].upper())}, by its name" if found else None


def _words(kind: str) -> str:
    kind = _ALIASES.get(kind, kind)
    return _KINDS.get(kind, f"a map of {kind}")


def find_weight(path: Path, given: Sequence[str]) -> Path | None:
    """Find the weight map of an image that holds none, in a file of its own.

    Parameters
    ----------
    path
        The image's file: the map has its name, with ``_wht`` for ``_sci`` or behind ``_drz``.
    given
        Files that were given with it, which are looked through before its own folder.
    """
    by_name = {Path(other).name: Path(other) for other in given}
    for name in _weight_names(path.name):
        for candidate in (by_name.get(name), path.with_name(name)):
            if candidate is not None and candidate != path and candidate.is_file():
                return candidate
    return None


def _weight_names(file_name: str) -> Iterator[str]:
    ending = _ENDING.search(file_name)
    own = ending[0] if ending else ""
    stem = file_name.removesuffix(own)
    endings = dict.fromkeys([own, ".fits", ".fits.gz", ".fits.fz"])
    for weight in _weight_stems(stem):
        for other in endings:
            yield f"{weight}{other}"


def _weight_stems(stem: str) -> Iterator[str]:
    image = _IMAGE.search(stem)
    if image is None:
        yield f"{stem}_wht"
        return
    wht = "WHT" if image["kind"].isupper() else "wht"
    before, version = stem[: image.start()], image["version"]
    yield f"{before}_{wht}{version}"
    if image["kind"].lower() != "sci":
        yield f"{before}_{image['kind']}_{wht}{version}"
