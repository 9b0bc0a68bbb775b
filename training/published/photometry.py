"""Nine features of a photometric table, for the mixtures of Williams, Agnello & Treu (2017).

They state their inputs: magnitudes in g, r, i and z of a point source and of a galaxy model, and
WISE. Which nine features they made of these is not known to us; `NINE` is our choice, and others
can be given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.errors import InputError

BANDS = ("g", "r", "i", "z")
# How extended a source is, three colours through the optical, one of WISE, and how bright it is.
NINE = (
    *(f"psf_{band} - model_{band}" for band in BANDS),
    "model_g - model_r", "model_r - model_i", "model_i - w1", "w1 - w2", "w2",
)  # fmt: skip
# What lies outside stands for a magnitude that was not measured, such as -9999 or 99.
FAINTEST_MAG = 40.0


@dataclass(frozen=True)
class PhotometryColumns:
    """Which columns of a user's table hold what; magnitudes all.

    Attributes
    ----------
    psf, model : dict of str to str
        Point-source and galaxy-model magnitudes by band: all of `BANDS`.
    w1, w2 : str
        WISE.
    """

    psf: Mapping[str, str]
    model: Mapping[str, str]
    w1: str = "w1mpro"
    w2: str = "w2mpro"

    def __post_init__(self) -> None:
        for what, columns in (("psf", self.psf), ("model", self.model)):
            if set(columns) != set(BANDS):
                raise InputError(
                    f"{what}: names columns of bands {', '.join(columns) or 'none'}, but "
                    f"{', '.join(BANDS)} are needed"
                )

    @classmethod
    def of_sdss(cls) -> Self:
        """The names of SDSS and AllWISE."""
        return cls({band: f"psfMag_{band}" for band in BANDS},
                   {band: f"modelMag_{band}" for band in BANDS})  # fmt: skip

    @property
    def names(self) -> dict[str, str]:
        """The user's names by those that features are written in: psf_g, model_g, w1, ..."""
        kinds = (("psf", self.psf), ("model", self.model))
        by_band = {f"{kind}_{band}": columns[band] for kind, columns in kinds for band in BANDS}
        return {**by_band, "w1": self.w1, "w2": self.w2}


def photometric_features(
    table: pd.DataFrame, columns: PhotometryColumns, features: Sequence[str] = NINE
) -> NDArray[np.float64]:
    """Features for `lensweep.training.published.gaussian_mixture.MixtureClassifier`.

    Parameters
    ----------
    table : DataFrame
        Of an astropy table its `to_pandas()`.
    columns : PhotometryColumns
    features : sequence of str
        Each a sum or difference of `PhotometryColumns.names`, in magnitudes.

    Returns
    -------
    ndarray, shape (n, features)

    Raises
    ------
    InputError
        If a column is missing, a value of one is no magnitude, or a feature cannot be computed.
    """
    ours, theirs = list(columns.names), list(columns.names.values())
    missing = [name for name in theirs if name not in table]
    if missing:
        raise InputError(
            f"photometric table: lacks {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}: name its columns in PhotometryColumns"
        )
    columns_of = (pd.to_numeric(table[name], errors="coerce") for name in theirs)
    values = np.column_stack(list(columns_of)).astype(np.float64)
    measured = np.isfinite(values) & (values > 0.0) & (values < FAINTEST_MAG)
    if not measured.all():
        row, column = np.argwhere(~measured)[0]
        raise InputError(
            f"photometric table: row {row} has {theirs[column]} = "
            f"{table[theirs[column]].iloc[row]}, which is no magnitude; leave it out"
        )
    magnitudes = pd.DataFrame(values, columns=ours)
    try:
        return np.column_stack([magnitudes.eval(feature) for feature in features])
    except (SyntaxError, pd.errors.UndefinedVariableError) as error:
        raise InputError(
            f"features: {error}; write sums and differences of {', '.join(ours)}"
        ) from error
