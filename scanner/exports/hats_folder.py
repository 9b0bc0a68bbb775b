"""Candidates as a HATS collection, which LSDB opens and matches with surveys of any size."""

import importlib
import importlib.util
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lensweep.catalogs.hats import HatsError
from lensweep.scanner.exports.own_folder import replaced_folder

# Pairs within it are found across the borders of partitions.
MARGIN_ARCSEC = 30.0
_MARKER = "collection.properties"


def write_hats(root: Path, rows: pa.Table, path: Path) -> None:
    """Write a HATS collection with a margin of `MARGIN_ARCSEC`.

    Raises
    ------
    HatsError
        If LSDB is not installed.
    """
    with replaced_folder(path, _MARKER) as partial:
        if importlib.util.find_spec("lsdb") is None:
            raise HatsError("export to hats: needs LSDB; `pip install 'lensweep[hats]'`")
        lsdb = importlib.import_module("lsdb")
        catalogue = lsdb.from_dataframe(
            # Given a schema, LSDB 0.11 writes a margin that it then refuses.
            rows.to_pandas(types_mapper=pd.ArrowDtype), ra_column="ra_deg", dec_column="dec_deg",
            margin_threshold=MARGIN_ARCSEC, catalog_name=path.name,
        )  # fmt: skip
        catalogue.write_catalog(
            partial, catalog_name=path.name, progress_bar=False, should_write_skymap=False
        )
