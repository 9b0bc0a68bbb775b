"""The published lens catalogues that are shipped, and which of them lie at given positions.

Where every file is from, and what is doubtful in it: ``data/PROVENANCE.md``.
"""

from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lensweep.catalogs.crossmatch import nearest
from lensweep.catalogs.lensflow_grades import stored_grades

_CASTLES_TYPES = {
    "castles_no": "int16",
    "n_images": "Int16",
    "mag_source_n_components": "Int16",
    **dict.fromkeys(
        ["name", "ra_hms", "dec_dms", "z_lens_flag", "n_images_raw", "grade", "mag_lens_band",
         "mag_source_band", "xcheck_name", "xcheck_source", "note", "source"],
        "str",
    ),
}  # fmt: skip
_LENSFLOW_TYPES = {
    "lensflow_id": "int16",
    "in_faure2008": "bool",
    **dict.fromkeys(
        ["grade", "lenscat_grading", "faure_name_derived", "xcheck_match_sep_arcsec", "source"],
        "str",
    ),
}
_FAURE_TYPES = {
    "faure_table": "int16",
    "lensflow_id": "Int16",
    **dict.fromkeys(["name", "name_origin", "faure_table_basis", "source"], "str"),
}


def castles() -> pd.DataFrame:
    """Return the 100 systems of CASTLES (Kochanek et al.), as transcribed in 2018.

    Returns
    -------
    DataFrame
        ``name``, ``ra_deg``, ``dec_deg``, ``grade`` (A, B, C), ``z_lens``, ``z_source``,
        ``n_images``, ``image_separation_arcsec`` and the other columns of castles.csv. Positions
        are J2000; some are listed to a few arcseconds only.
    """
    return _read("castles.csv", _CASTLES_TYPES).rename(
        columns={"separation_arcsec": "image_separation_arcsec"}
    )


def lensflow92() -> pd.DataFrame:
    """Return the 92 COSMOS candidates of LensFlow (Pourrahmani, Nayyeri & Cooray 2018).

    Returns
    -------
    DataFrame
        ``lensflow_id`` (1 to 92), ``ra_deg``, ``dec_deg`` (J2000), ``grade`` (A, B, C as
        published, once ``lensweep catalogs update`` has fetched them; until then null in every
        row), ``confidence`` (``confident`` or ``probable``, lenscat's own two levels),
        ``in_faure2008``, ``faure_name_derived``, ``xcheck_match_sep_arcsec``, ``source``.

    Raises
    ------
    GradeError
        If the file of fetched grades is damaged.
    """
    table = _read("lensflow92.csv", _LENSFLOW_TYPES).rename(
        columns={"lenscat_grading": "confidence"}
    )
    published = stored_grades()
    if published is not None:
        table["grade"] = table["lensflow_id"].map(published.grades).astype("str")
    return table


def faure2008() -> pd.DataFrame:
    """Return 65 of the 67 COSMOS candidates of Faure et al. (2008).

    Returns
    -------
    DataFrame
        ``name``, ``name_origin``, ``ra_deg``, ``dec_deg`` (J2000), ``faure_table`` (1 best, 2
        single arclets; inferred except as ``faure_table_basis`` says), ``z_lens``,
        ``einstein_radius_arcsec``, ``lensflow_id`` (null if not among the 92), ``source``.
    """
    return _read("faure2008.csv", _FAURE_TYPES)


def match_known(ra_deg: ArrayLike, dec_deg: ArrayLike, radius_arcsec: float = 3.0) -> pd.DataFrame:
    """Find the CASTLES and LensFlow systems nearest to each position.

    Parameters
    ----------
    ra_deg, dec_deg : array_like, shape (n,)
        Degrees; ICRS and J2000 differ by less than 0.03 arcsec.
    radius_arcsec : float
        Largest separation, in (0, 3600]. No standard was found in the literature: 3 arcsec allows
        for a window centre 2.5 arcsec away and for the astrometry of early mosaics. CASTLES
        systems listed with coarse positions can lie farther off.

    Returns
    -------
    DataFrame
        One row per position, in order, with the six ``castles_`` and ``lensflow_`` columns of
        `lensweep.catalogs.schemas.CANDIDATES`; null where nothing is within the radius.

    Raises
    ------
    MatchError
        Radius not in (0, 3600].
    TableError
        Positions not on the sphere.
    """
    by_castles = _nearest_rows(castles(), ra_deg, dec_deg, radius_arcsec)
    by_lensflow = _nearest_rows(lensflow92(), ra_deg, dec_deg, radius_arcsec)
    return pd.DataFrame(
        {
            "castles_name": by_castles["name"],
            "castles_separation_arcsec": by_castles["match_arcsec"],
            "lensflow_id": by_lensflow["lensflow_id"].astype("Int16"),
            "lensflow_grade": by_lensflow["grade"],
            "lensflow_confidence": by_lensflow["confidence"],
            "lensflow_separation_arcsec": by_lensflow["match_arcsec"],
        }
    )


def _read(name: str, types: dict[str, Any]) -> pd.DataFrame:
    with files("lensweep.catalogs").joinpath("data", name).open(encoding="utf-8") as stream:
        # Empty is the only null: a lens may be called NA.
        return pd.read_csv(stream, dtype=types, keep_default_na=False, na_values=[""])


def _nearest_rows(
    catalog: pd.DataFrame, ra_deg: ArrayLike, dec_deg: ArrayLike, radius_arcsec: float
) -> pd.DataFrame:
    index, catalog_index, separation_arcsec = nearest(
        ra_deg, dec_deg, catalog["ra_deg"], catalog["dec_deg"], radius_arcsec
    )
    rows = catalog.iloc[catalog_index].assign(match_arcsec=separation_arcsec)
    return rows.set_axis(index, axis=0).reindex(np.arange(np.size(ra_deg)))
