"""All pairs within a radius as LSDB carries it out: partition by partition, with margins.

Needs LSDB, so it is imported only where HATS catalogues are matched.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from lsdb.core.crossmatch.abstract_crossmatch_algorithm import AbstractCrossmatchAlgorithm
from numpy.typing import NDArray

from lensweep.catalogs.crossmatch import all_pairs, check_radius

SEPARATION = "separation_arcsec"


class AllPairs(AbstractCrossmatchAlgorithm):
    """Every pair within a radius, by `lensweep.catalogs.crossmatch.all_pairs` in each partition.

    LSDB's own algorithm stops at a number of neighbours; this one does not, and its separations
    are the same to the last digit as those of tables that are matched at once.

    Parameters
    ----------
    radius_arcsec : float
    """

    extra_columns = pd.DataFrame({SEPARATION: pd.Series(dtype=pd.ArrowDtype(pa.float64()))})

    def __init__(self, radius_arcsec: float) -> None:
        super().__init__()
        check_radius(radius_arcsec)
        self.radius_arcsec = radius_arcsec

    def perform_crossmatch(
        self, crossmatch_args: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], pd.DataFrame]:
        """Match two partitions; the right one comes with its margin."""
        left, right = crossmatch_args.left_df, crossmatch_args.right_df
        left_info = crossmatch_args.left_catalog_info
        right_info = crossmatch_args.right_catalog_info
        first, second, separation = all_pairs(
            left[left_info.ra_column].to_numpy(np.float64),
            left[left_info.dec_column].to_numpy(np.float64),
            right[right_info.ra_column].to_numpy(np.float64),
            right[right_info.dec_column].to_numpy(np.float64),
            self.radius_arcsec,
        )
        found = pd.Series(separation, dtype=self.extra_columns[SEPARATION].dtype)
        return first, second, pd.DataFrame({SEPARATION: found})
