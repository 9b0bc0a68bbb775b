"""Take the light of the lens away, so that the arcs are left: from several bands, or from one.

Hezaveh, Perreault Levasseur & Marshall (2017, Nature 548, 555) separate lens and source by
independent component analysis of several bands: the two galaxies differ in colour, and no pixel's
light of the one tells of the other's. One band has no colours; the way for it, ellipses fitted to
the lens' isophotes (Jedrzejewski 1987, MNRAS 226, 747), is ours.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray
from photutils.isophote import Ellipse, EllipseGeometry, build_ellipse_model
from sklearn.decomposition import FastICA

from lensweep.catalogs.written_tables import CREATED
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.ground.settings import check_seed
from lensweep.scanner.run.outputs import check_output
from lensweep.scanner.sky.celestial import read_wcs
from lensweep.scanner.sky.fits_files import (
    check_structure,
    decompress,
    faults_of,
    file_kind,
    without_warnings,
)

# Where a lens outshines its arcs: 0.3 arcsec.
CORE_PX = 6.0
# What stands out from an ellipse by more is no part of the lens: arcs, companions.
CLIP_SIGMA, CLIPS = 2.0, 5
_LEAST_SMA_PX = 1.0


def remove_by_components(
    bands: NDArray[np.floating], x_px: float, y_px: float, seed: int = 2018
) -> NDArray[np.float64]:
    """Remove a lens' light from images of one field in several bands.

    Of as many independent components as there are bands, the one that is most concentrated on the
    lens' centre is the lens.

    Parameters
    ----------
    bands : ndarray, shape (n_bands, ny, nx)
        At least two, of one pixel grid and about one PSF; NaN where there is no data.
    x_px, y_px : float
        The lens' centre.
    seed : int

    Returns
    -------
    ndarray, shape (n_bands, ny, nx), float64
        What is left; NaN where any band has no data.

    Raises
    ------
    InputError
        If there is one band, no pixel with data in all, no light in one, or the centre lies where
        there is no data.
    """
    if len(bands) < 2:
        raise InputError("one band has no independent components: give two, or fit ellipses")
    valid = np.isfinite(bands).all(axis=0)
    if valid.sum() <= len(bands):
        raise InputError("no pixel has data in all bands; are they of one field and pixel grid?")
    pixels = np.asarray(bands[:, valid].T, np.float64)
    # In units of its own spread, no band outweighs another.
    spread = pixels.std(axis=0)
    if not spread.all():
        raise InputError(f"band {int(np.flatnonzero(spread == 0.0)[0]) + 1}: all pixels are alike")
    analysis = FastICA(whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-6)
    components = analysis.fit_transform(pixels / spread)
    lens = _most_concentrated(components, valid, x_px, y_px)
    components[:, lens] = np.median(components[:, lens])
    left = np.full(bands.shape, np.nan)
    left[:, valid] = (analysis.inverse_transform(components) * spread).T
    return left


def _most_concentrated(
    components: NDArray[np.float64], valid: NDArray[np.bool_], x_px: float, y_px: float
) -> int:
    row, column = np.nonzero(valid)
    core = np.hypot(row - y_px, column - x_px) <= CORE_PX
    if not core.any():
        raise InputError(
            f"no band has data within {CORE_PX:.0f} pixels of {x_px:.0f}, {y_px:.0f}; give the "
            "centre of the lens, in pixels from 0"
        )
    light = np.abs(components - np.median(components, axis=0))
    return int(np.argmax(light[core].mean(axis=0)))


def remove_by_ellipses(
    image: NDArray[np.floating], x_px: float, y_px: float
) -> NDArray[np.float64]:
    """Remove a lens' light from one image: ellipses about its centre, fitted without the arcs.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Sky subtracted; NaN where there is no data.
    x_px, y_px : float
        The lens' centre.

    Returns
    -------
    ndarray, shape (ny, nx), float64
        What is left.

    Raises
    ------
    InputError
        If no ellipse fits: there is no galaxy at that place, or it is outside.
    """
    data = np.ma.masked_invalid(np.asarray(image, np.float64))
    reach = _reach_px(image.shape, x_px, y_px)
    row, column = np.indices(image.shape)
    core = data[np.hypot(row - y_px, column - x_px) <= CORE_PX].compressed()
    if core.size < 3 or core.min() == core.max():
        raise InputError(
            f"centre {x_px:.0f}, {y_px:.0f}: there is no light to fit within {CORE_PX:.0f} pixels "
            "of it; give the lens' centre, in pixels from 0"
        )
    geometry = EllipseGeometry(x_px, y_px, sma=max(0.2 * reach, 3.0), eps=0.2, pa=0.5)
    with warnings.catch_warnings():
        # Of fits that did not converge: an ellipse is left as it was.
        warnings.simplefilter("ignore", (AstropyUserWarning, RuntimeWarning))
        isophotes = Ellipse(data, geometry=geometry).fit_image(
            minsma=_LEAST_SMA_PX, maxsma=reach, step=0.15, sclip=CLIP_SIGMA, n_clip=CLIPS,
            integrmode="median", fix_center=True,
        )  # fmt: skip
        if len(isophotes) < 3:
            raise InputError(
                f"no ellipse fits the light at pixel {x_px:.0f}, {y_px:.0f}; give the centre of a "
                "galaxy"
            )
        model = build_ellipse_model(image.shape, isophotes, fill=0.0)
    return np.asarray(np.where(np.isfinite(image), image - model, np.nan))


def _reach_px(shape: tuple[int, ...], x_px: float, y_px: float) -> float:
    """How far the edge is from a centre, which has to be inside."""
    reach = float(np.min([x_px, y_px, shape[1] - 1 - x_px, shape[0] - 1 - y_px]))
    if not reach >= CORE_PX:
        raise InputError(
            f"centre {x_px:.0f}, {y_px:.0f}: outside the image of {shape[1]} x {shape[0]} pixels, "
            "or at its edge; give the lens' centre, in pixels from 0"
        )
    return reach


def remove_from_files(
    bands: Sequence[Path], out: Path, x_px: float | None, y_px: float | None, seed: int
) -> None:
    """Remove a lens' light from FITS images of one field, and write what is left.

    Parameters
    ----------
    bands : sequence of Path
        One: ellipses. Several: independent components.
    out : Path
        A plane per band, with the first band's sky coordinates; ``PLANE1`` and so on name them.
    x_px, y_px : float or None
        The lens' centre; by default the middle.
    seed : int

    Raises
    ------
    InputError
        If an image cannot be read, they are of several shapes, or the file cannot be written.
    """
    if out.suffix.lower() not in (".fits", ".fit"):
        raise InputError(f"output file {out}: is written as FITS; name a file *.fits")
    check_output(out, bands)
    check_seed(seed)
    if len({path.resolve() for path in bands}) < len(bands):
        raise InputError("bands: one file is named twice; a band by itself needs one")
    images, headers = zip(*map(_read, bands), strict=True)
    if len({image.shape for image in images}) > 1:
        sizes = ", ".join(str(image.shape) for image in images)
        raise InputError(f"bands are of several shapes ({sizes}); bring them onto one pixel grid")
    ny, nx = images[0].shape
    centre = ((nx - 1) / 2.0 if x_px is None else x_px, (ny - 1) / 2.0 if y_px is None else y_px)
    _reach_px(images[0].shape, *centre)
    if len(images) > 1:
        left = remove_by_components(np.stack(images), *centre, seed)
    else:
        left = remove_by_ellipses(images[0], *centre)[None]
    header = headers[0]
    header.update(CREATED)
    for number, path in enumerate(bands, start=1):
        header[f"PLANE{number}"] = path.name
    with whole_file(out) as aside:
        fits.PrimaryHDU(left.astype(np.float32), header).writeto(aside)


def _read(path: Path) -> tuple[NDArray[np.float64], fits.Header]:
    """The first image of two axes, and where it lies on the sky."""
    label = f"image {path}"
    with faults_of(label), without_warnings(), TemporaryDirectory() as scratch:
        plain = path
        if file_kind(path, label) == "gzip":
            plain = Path(scratch) / "image.fits"
            decompress(path, plain, label)
        try:
            file = fits.open(plain)
        except OSError as error:
            raise InputError(f"{label}: cannot be read ({error})") from error
        with file:
            check_structure(plain, label)
            images = (index for index, hdu in enumerate(file)
                      if getattr(hdu, "data", None) is not None and hdu.is_image)  # fmt: skip
            index = next(images, None)
            if index is None or file[index].data.ndim != 2:
                raise InputError(f"{label}: no image of two axes in it")
            wcs, _ = read_wcs(file, index, label)
            header = fits.Header() if wcs is None else wcs.to_header()
            return np.array(file[index].data, np.float64), header
