"""Open a drizzled HLA, HAP or plain FITS image: pixels, weight, sky coordinates, zero point.

`inspect_mosaic` is the border: it reads headers only, and refuses everything that a scan could
trip over later. `lensweep.scanner.sky.pixels` then trusts the `Mosaic` that it returned.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.wcs import WCS

from lensweep.ground.files import is_remote
from lensweep.scanner.sky.celestial import read_pixel_scale, read_wcs
from lensweep.scanner.sky.companions import (
    COMPANIONS,
    CompanionError,
    find_weight,
    kind_of_companion,
)
from lensweep.scanner.sky.fits_files import (
    check_structure,
    decompress,
    faults_of,
    file_kind,
    without_warnings,
)
from lensweep.scanner.sky.headers import (
    MosaicError,
    positive_number,
    read_band,
    read_zero_point_ab,
)
from lensweep.scanner.sky.names import file_name, mosaic_name, printable
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.sky.remote import NoSectionsError, describe, open_fits
from lensweep.scanner.sky.units import read_units

__all__ = [
    "CompanionError",
    "Mosaic",
    "MosaicError",
    "inspect_mosaic",
]


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
    wht_path, wht_sha256
        The file that the weight is read from if it is one of its own, and the checksum of that
        file as it was found.
    notes
        What the user should know of how the file was read.
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
    wht_path: str | None = None
    wht_sha256: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The last part of `path`, as messages show it."""
        return printable(file_name(self.path))

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
    given: Sequence[str] = (),
) -> Mosaic:
    """Check, from headers and file length alone, that a mosaic can be scanned.

    Parameters
    ----------
    path
        FITS file, or the address of one, of which headers are fetched and no more; ``.gz`` is
        decompressed once into `scratch_folder`, since a gzip stream has
        to be inflated from its start for every region. Where it holds no weight, the
        ``_wht.fits`` that lies beside a ``_sci.fits`` or ``_drz.fits`` is its weight.
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
    given
        Files that were given with this one: one of them may be its weight.

    Returns
    -------
    Mosaic

    Raises
    ------
    CompanionError
        A weight or context map.
    NoSectionsError, RemoteError
        An address whose file cannot be read by section, or gives nothing now.
    MosaicError
        Missing, truncated, damaged, not FITS, no single 2-D image, no sky coordinates, unknown
        or wrong filter, unknown or contradictory units, or a statement of the user that the
        header contradicts.
    """
    label = f"mosaic {file_name(path)}"
    name = mosaic_name(path)
    if is_remote(path):
        sha256, pixels_path = describe(str(path)).version, str(path)
    else:
        sha256, pixels_path = _readable(Path(path), name, scratch_folder, label)
    with faults_of(label), _open_checked(pixels_path, label) as hdus:
        kind = kind_of_companion(hdus, file_name(path))
        if kind:
            raise CompanionError(f"{label}: {kind}, and no image: not scanned")
        sci_index, wht_index = _find_planes(hdus, label)
        if is_remote(path) and any(isinstance(hdu, fits.CompImageHDU) for hdu in hdus):
            raise NoSectionsError(f"{label}: is compressed tile by tile")
        headers = [hdus[sci_index].header, hdus[0].header]
        shape = (int(hdus[sci_index].shape[0]), int(hdus[sci_index].shape[1]))
        wcs, notes = read_wcs(hdus, sci_index, label)
        exposure_time_s = positive_number(headers, "EXPTIME", label)
        units, flux_scale = read_units(headers, overrides.units, exposure_time_s, label)
        mosaic = Mosaic(
            name=name,
            path=str(path),
            pixels_path=pixels_path,
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
            notes=tuple(notes),
        )
    if mosaic.band != band:
        needed = f"ensemble {ensemble_name} was trained on {band}"
        if ensemble_name is None:
            needed = f"the cutouts of a data set are {band}"
        raise MosaicError(f"{label}: filter {mosaic.band}, but {needed}")
    if is_remote(path):
        return mosaic
    weight = None if wht_index is not None else find_weight(Path(path), given)
    return mosaic if weight is None else _with_weight(mosaic, weight, scratch_folder)


def _readable(path: Path, name: str, scratch_folder: str | Path, label: str) -> tuple[str, str]:
    """The checksum of a file, and a file that its pixels can be read from."""
    kind = file_kind(path, label)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if kind == "fits":
        return sha256, str(path)
    if is_remote(scratch_folder):
        raise MosaicError(
            f"{label}: compressed, and {scratch_folder} is no file system on which it could be "
            "unpacked for all workers; gunzip it, or name a run's folder on one"
        )
    pixels_path = Path(scratch_folder) / f"{name}-{sha256[:12]}.fits"
    decompress(path, pixels_path, label)
    return sha256, str(pixels_path)


def _with_weight(mosaic: Mosaic, path: Path, scratch_folder: str | Path) -> Mosaic:
    """Take the weight from a file of its own."""
    label = f"mosaic {mosaic.file_name}: its weight map {path.name}"
    sha256, pixels_path = _readable(path, mosaic_name(path), scratch_folder, label)
    with faults_of(label), _open_checked(pixels_path, label) as hdus:
        images = _images(hdus)
        if len(images) != 1 or hdus[images[0]].shape != mosaic.shape:
            shapes = [hdus[index].shape for index in images] or "none"
            raise MosaicError(
                f"{label}: images of shape {shapes}, but the mosaic has {mosaic.shape}; mend it, "
                "or move it elsewhere"
            )
        _refuse_unscalable(hdus[images[0]], label)
    note = f"without weight in it: {printable(path.name)} is its weight"
    return replace(
        mosaic, wht_index=images[0], wht_path=pixels_path, wht_sha256=sha256,
        notes=(*mosaic.notes, note),
    )  # fmt: skip


@contextmanager
def _open_checked(path: str, label: str) -> Iterator[fits.HDUList]:
    """Open a FITS file whose structure is sound and whose data are all there."""
    check_structure(path, label)
    with without_warnings(), open_fits(path) as hdus:
        yield hdus


def _images(hdus: fits.HDUList) -> list[int]:
    return [index for index, hdu in enumerate(hdus) if hdu.is_image and len(hdu.shape) == 2]


def _find_planes(hdus: fits.HDUList, label: str) -> tuple[int, int | None]:
    images = [index for index in _images(hdus) if hdus[index].name.upper() not in COMPANIONS]
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
    for index in (sci_index, *weights):
        _refuse_unscalable(hdus[index], label)
    return sci_index, weights[0] if weights else None


def _refuse_unscalable(hdu: Any, label: str) -> None:
    for key in ("BSCALE", "BZERO", "BLANK"):
        value = hdu.header.get(key, 1)
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or (key == "BSCALE" and value == 0):
            raise MosaicError(
                f"{label}: damaged: {key} = {value} cannot scale pixels; fetch it again"
            )
