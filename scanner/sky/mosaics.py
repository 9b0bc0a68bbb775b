"""Open a drizzled HLA, HAP or plain FITS image: pixels, weight, sky coordinates, zero point.

`inspect_mosaic` is the border: it reads headers only, and refuses everything that a scan could
trip over later. `lensweep.scanner.sky.pixels` then trusts the `Mosaic` that it returned.
"""

import gzip
import hashlib
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from lensweep.ground.files import is_remote
from lensweep.scanner.sky.headers import (
    HeaderOverrides,
    MosaicError,
    positive_number,
    read_band,
    read_pixel_scale,
    read_units,
    read_wcs,
    read_zero_point_ab,
)
from lensweep.scanner.sky.names import mosaic_name, printable

__all__ = [
    "HeaderOverrides",
    "Mosaic",
    "MosaicError",
    "inspect_mosaic",
]

# Planes that a drizzled file holds beside the image, and that are never the image.
_COMPANIONS = frozenset({"WHT", "CTX", "CON", "ERR", "DQ", "RMS", "EXP", "FLAG"})


@dataclass(frozen=True)
class Mosaic:
    """One drizzled image that can be scanned; plain values only, so it travels to workers.

    Parameters
    ----------
    name
        Its own, as `lensweep.scanner.sky.names.mosaic_name` makes it of the file's.
    path
        The file as given by the user.
    pixels_path
        The file that pixels are read from: `path`, or its decompressed copy.
    sha256
        Of the file as given.
    sci_index, wht_index
        Extension numbers of the image and of its weight, if it has one.
    shape
        (ny, nx), pixels.
    wcs_header
        Header text of the celestial WCS, distortion cards included; empty without sky
        coordinates.
    has_sky_wcs
        False when only a pixel scale is known.
    band
        Filter name, such as F814W.
    units
        As stated by the header or by the user.
    flux_scale
        Raw pixel values times this are e-/s.
    zero_point_ab
        AB magnitude of 1 e-/s, or None when PHOTFLAM or PHOTPLAM is missing.
    exposure_time_s
        EXPTIME, or None when the header has none.
    pixel_scale_arcsec
        Geometric mean of the two axes, at the reference pixel.
    """

    name: str
    path: str
    pixels_path: str
    sha256: str
    sci_index: int
    wht_index: int | None
    shape: tuple[int, int]
    wcs_header: str
    has_sky_wcs: bool
    band: str
    units: str
    flux_scale: float
    zero_point_ab: float | None
    exposure_time_s: float | None
    pixel_scale_arcsec: float

    @property
    def file_name(self) -> str:
        """The last part of `path`, as messages show it."""
        return printable(Path(self.path).name)

    @property
    def wcs(self) -> WCS:
        """A new celestial WCS: wcslib changes its state in use, so threads do not share one.

        Raises
        ------
        MosaicError
            The mosaic has no sky coordinates.
        """
        if not self.has_sky_wcs:
            raise MosaicError(f"mosaic {self.file_name}: no sky coordinates, only a pixel scale")
        return WCS(fits.Header.fromstring(self.wcs_header, sep="\n"))


def inspect_mosaic(
    path: str | Path,
    overrides: HeaderOverrides,
    band: str,
    ensemble_name: str | None,
    scratch_folder: str | Path,
    require_sky_wcs: bool = True,
) -> Mosaic:
    """Check, from headers and file length alone, that a mosaic can be scanned.

    Parameters
    ----------
    path
        FITS file; ``.gz`` is decompressed once into `scratch_folder`, since a gzip stream has
        to be inflated from its start for every region. A separate ``_wht.fits`` is not sought.
    overrides
        What the user states about the file.
    band
        The filter that is needed.
    ensemble_name
        Which ensemble was trained on it, for the message when the filters differ; None for
        cutouts of a data set.
    scratch_folder
        Created when needed. Copies are named after the checksum, so that a changed file or a
        namesake from another folder never meets an old copy.
    require_sky_wcs
        False lets an image pass of which only the pixel scale is known.

    Returns
    -------
    Mosaic

    Raises
    ------
    MosaicError
        Missing, truncated, not FITS, no single 2-D image, no sky coordinates, unknown or
        wrong filter, unknown or contradictory units, or a statement of the user that the
        header contradicts.
    """
    path = Path(path)
    label = f"mosaic {path.name}"
    kind = _file_kind(path, label)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    name = mosaic_name(path)
    pixels_path = path
    if kind == "gzip" and is_remote(scratch_folder):
        raise MosaicError(
            f"{label}: compressed, and {scratch_folder} is no file system on which it could be "
            "unpacked for all workers; gunzip it, or name a run's folder on one"
        )
    if kind == "gzip":
        pixels_path = Path(scratch_folder) / f"{name}-{sha256[:12]}.fits"
        _decompress(path, pixels_path, label)
    with _open_checked(pixels_path, label) as hdus:
        sci_index, wht_index = _find_planes(hdus, label)
        headers = [hdus[sci_index].header, hdus[0].header]
        shape = (int(hdus[sci_index].shape[0]), int(hdus[sci_index].shape[1]))
        wcs = read_wcs(hdus[sci_index].header, label)
        exposure_time_s = positive_number(headers, "EXPTIME", label)
        units, flux_scale = read_units(headers, overrides.units, exposure_time_s, label)
        mosaic = Mosaic(
            name=name,
            path=str(path),
            pixels_path=str(pixels_path),
            sha256=sha256,
            sci_index=sci_index,
            wht_index=wht_index,
            shape=shape,
            wcs_header="" if wcs is None else wcs.to_header(relax=True).tostring(sep="\n"),
            has_sky_wcs=wcs is not None,
            band=read_band(headers, overrides.band, label),
            units=units,
            flux_scale=flux_scale,
            zero_point_ab=read_zero_point_ab(headers, label),
            exposure_time_s=exposure_time_s,
            pixel_scale_arcsec=read_pixel_scale(
                headers, wcs, overrides.pixel_scale_arcsec, label, require_sky_wcs
            ),
        )
    if mosaic.band != band:
        needed = f"ensemble {ensemble_name} was trained on {band}"
        if ensemble_name is None:
            needed = f"the cutouts of a data set are {band}"
        raise MosaicError(f"{label}: filter {mosaic.band}, but {needed}")
    return mosaic


def _file_kind(path: Path, label: str) -> str:
    try:
        with path.open("rb") as stream:
            start = stream.read(6)
    except FileNotFoundError as error:
        raise MosaicError(f"{label}: no such file: {path}") from error
    except OSError as error:
        raise MosaicError(f"{label}: cannot be read: {error.strerror}: {path}") from error
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start == b"SIMPLE":
        return "fits"
    raise MosaicError(f"{label}: neither FITS nor gzip-compressed FITS: {path}")


def _decompress(path: Path, target: Path, label: str) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with gzip.open(path, "rb") as packed, aside.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
        if _file_kind(aside, label) != "fits":
            raise MosaicError(f"{label}: compressed more than once; decompress it first")
        aside.replace(target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MosaicError(f"{label}: truncated or damaged gzip file; fetch it again") from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _open_checked(path: Path, label: str) -> Iterator[fits.HDUList]:
    """Open a FITS file whose images are all there; astropy only warns when they are not."""
    truncated = f"{label}: the file is truncated; fetch it again"
    with warnings.catch_warnings():
        # Both are turned into errors below.
        warnings.filterwarnings("ignore", "File may have been truncated", AstropyUserWarning)
        warnings.filterwarnings("ignore", "Error validating header for HDU", VerifyWarning)
        try:
            hdus = fits.open(path)
        except OSError as error:
            raise MosaicError(f"{truncated} ({error})") from error
        with hdus:
            length = path.stat().st_size
            end = 0
            for hdu in hdus:
                info = hdu.fileinfo()
                end = info["datLoc"] + info["datSpan"]
                if end > length:
                    raise MosaicError(
                        f"{truncated} (extension {hdu.name or 'without a name'} ends at byte "
                        f"{end}, the file at {length})"
                    )
            with path.open("rb") as stream:
                stream.seek(end)
                if stream.read(8) == b"XTENSION":
                    raise MosaicError(f"{truncated} (it ends inside a header)")
            yield hdus


def _find_planes(hdus: fits.HDUList, label: str) -> tuple[int, int | None]:
    images = [
        index
        for index, hdu in enumerate(hdus)
        if hdu.is_image and hdu.name.upper() not in _COMPANIONS and len(hdu.shape) == 2
    ]
    named = [index for index in images if hdus[index].name.upper() == "SCI"]
    found = named or images
    if not found:
        shapes = [hdu.shape for hdu in hdus if hdu.is_image and hdu.shape]
        raise MosaicError(f"{label}: no 2-D science image; shapes found: {shapes or 'none'}")
    if len(found) > 1:
        raise MosaicError(
            f"{label}: {len(found)} images that could be the mosaic (extensions "
            f"{found[0]} to {found[-1]}); give one drizzled image a file"
        )
    sci_index = found[0]
    if 0 in hdus[sci_index].shape:
        raise MosaicError(f"{label}: empty image, shape {hdus[sci_index].shape}")
    weights = [
        index for index, hdu in enumerate(hdus) if hdu.is_image and hdu.name.upper() == "WHT"
    ]
    if len(weights) > 1:
        raise MosaicError(f"{label}: one SCI image, but {len(weights)} WHT extensions")
    if weights and hdus[weights[0]].shape != hdus[sci_index].shape:
        raise MosaicError(
            f"{label}: SCI has shape {hdus[sci_index].shape}, WHT {hdus[weights[0]].shape}"
        )
    return sci_index, weights[0] if weights else None
