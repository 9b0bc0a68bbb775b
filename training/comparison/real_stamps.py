"""Real images of a folder with a manifest, cut as single images are scored."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.settings import within
from lensweep.scanner.sky.mosaics import MosaicError
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.work.stamp_tasks import read_stamp
from lensweep.training.data.real_cutouts import BAND

MANIFEST = "MANIFEST.csv"
LENS, NONLENS = "lens", "nonlens"
_NEEDED = ("file", "object", "filter", "label", "pixel_scale_arcsec")


@dataclass(frozen=True)
class RealStamps:
    """Cutouts of real images, and what is said of them.

    Attributes
    ----------
    flux : ndarray, shape (n, 100, 100), float32
    truth : DataFrame
        `object`, `label` (`LENS`, `NONLENS` or another word) and, where the manifest has it,
        `grade`.
    """

    flux: NDArray[np.float32]
    truth: pd.DataFrame

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.flux).tobytes()).hexdigest()


def read_real_stamps(folder: Path) -> RealStamps:
    """Cut the middle of every F814W image of a folder.

    What a header does not say is taken from the manifest; headers that do say are believed.

    Parameters
    ----------
    folder : Path
        With `MANIFEST.csv`: ``file``, ``object``, ``filter``, ``label``, ``pixel_scale_arcsec``,
        and perhaps ``grade``.

    Raises
    ------
    InputError
        If the manifest cannot be read or lacks a column, names no image in F814W, or one that
        cannot be read, or labels none as lens or other.
    """
    path = folder / MANIFEST
    table = _read_manifest(path)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise InputError(
            f"stamps {path}: lacks {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    bands = sorted(set(table["filter"]))
    table = table[table["filter"] == BAND]
    if not len(table):
        raise InputError(f"stamps {path}: no image in {BAND}; its filters are {', '.join(bands)}")
    flux = [_middle(path, *row) for row in table[["file", "pixel_scale_arcsec"]].itertuples()]
    table = table.reset_index(drop=True).assign(label=table["label"].str.lower().to_numpy())
    if not set(table["label"]) & {LENS, NONLENS}:
        raise InputError(
            f"stamps {path}: no image in {BAND} is labelled {LENS} or {NONLENS}; its labels are "
            f"{', '.join(sorted(set(table['label'])))}"
        )
    return RealStamps(np.stack(flux), table[[name for name in ("object", "label", "grade")
                                             if name in table]])  # fmt: skip


def _read_manifest(path: Path) -> pd.DataFrame:
    """All columns as text: an object may be called by a number."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"stamps {path}: not readable as CSV in UTF-8 ({error})") from error
    return table.apply(lambda column: column.str.strip())


def _middle(manifest: Path, row: int, name: str, scale: str) -> NDArray[np.float32]:
    label = f"stamps {manifest}: row {row} (counted from 0)"
    if not name:
        raise InputError(f"{label} names no file")
    try:
        pixel_scale_arcsec = float(scale)
    except ValueError as error:
        raise InputError(f"{label}: pixel_scale_arcsec = {scale!r} is no number") from error
    within(f"{label}: pixel_scale_arcsec", pixel_scale_arcsec, 1e-3, 10.0)
    path = str(manifest.parent / name)
    try:
        return read_stamp(path, None, BAND, HeaderOverrides())[0]
    except MosaicError:
        stated = HeaderOverrides(BAND, pixel_scale_arcsec, "electrons/s")
    try:
        return read_stamp(path, None, BAND, stated)[0]
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
