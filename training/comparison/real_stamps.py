"""Real images of a folder with a manifest, cut as single images are scored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.sky.mosaics import MosaicError
from lensweep.scanner.sky.overrides import HeaderOverrides
from lensweep.scanner.work.stamp_tasks import read_stamp
from lensweep.training.data.real_cutouts import BAND

MANIFEST = "MANIFEST.csv"
_NEEDED = ("file", "object", "filter", "label", "pixel_scale_arcsec")


@dataclass(frozen=True)
class RealStamps:
    """Cutouts of real images, and what is said of them.

    Attributes
    ----------
    flux : ndarray, shape (n, 100, 100), float32
    truth : DataFrame
        `object`, `label` (``lens``, ``nonlens`` or another word) and, where the manifest has it,
        `grade`.
    """

    flux: NDArray[np.float32]
    truth: pd.DataFrame


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
        If the manifest lacks a column, names no image in F814W, or one that cannot be read.
    """
    table = pd.read_csv(folder / MANIFEST)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise InputError(f"stamps {folder / MANIFEST}: lacks {', '.join(missing)}")
    table = table[table["filter"] == BAND].reset_index(drop=True)
    if not len(table):
        raise InputError(f"stamps {folder / MANIFEST}: no image in {BAND}")
    flux = [_middle(folder / row.file, row.pixel_scale_arcsec) for row in table.itertuples()]
    return RealStamps(np.stack(flux), table[[name for name in ("object", "label", "grade")
                                             if name in table]])  # fmt: skip


def _middle(path: Path, pixel_scale_arcsec: float) -> NDArray[np.float32]:
    try:
        return read_stamp(str(path), None, BAND, HeaderOverrides())[0]
    except MosaicError:
        stated = HeaderOverrides(BAND, pixel_scale_arcsec, "electrons/s")
        return read_stamp(str(path), None, BAND, stated)[0]
