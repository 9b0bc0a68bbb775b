"""Score a graded list and show it: the thesis' Table 5-2 as Parquet, Markdown and a picture."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lensweep.catalogs.lens_lists import known_lenses, read_lens_list
from lensweep.catalogs.lensflow_grades import stored_grades
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.files import place, whole_file
from lensweep.ground.outputs import check_folder
from lensweep.ground.terminal import wide_console
from lensweep.scanner.lenses.cutouts_at import mosaic_fields, stored_fields
from lensweep.scanner.lenses.grade_page import LENSFLOW, GradeReport, draw_grades, markdown
from lensweep.scanner.lenses.grade_table import grade_order, rank_correlations, summarise_grades
from lensweep.scanner.lenses.grading import score_graded
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.sky.mosaics import HeaderOverrides


def report_grades(
    mosaics: Sequence[str],
    stored: Path | None,
    graded_list: str,
    ensemble: str,
    overrides: HeaderOverrides,
    min_valid_fraction: float,
    n_control: int,
    seed: int,
    out: Path,
) -> GradeReport:
    """Score a graded list, print its table, and write it.

    Parameters
    ----------
    mosaics : sequence of str
        FITS files to cut the windows from; or
    stored : Path or None
        a run's folder or a cutout store, to put them together from stored cutouts.
    graded_list : str
        ``LensFlow``, ``CASTLES``, ``lenscat`` if it is installed, or a table with positions and a
        column ``grade``.
    ensemble : str
    overrides : HeaderOverrides
        What the mosaics' headers do not say.
    min_valid_fraction : float
    n_control : int
        Random windows.
    seed : int
        Of the random windows and the bootstrap.
    out : Path
        Folder for ``graded.parquet``, ``control.parquet``, ``grades.parquet``, ``grades.md`` and
        ``grades.png``; made if need be.

    Raises
    ------
    InputError
        If not exactly one source of pixels is given, the list has no grades, or none of it is
        covered.
    """
    if bool(mosaics) == (stored is not None):
        raise InputError("give one source of pixels: --mosaics, --run or --cutouts")
    if not 0.0 <= min_valid_fraction <= 1.0 or n_control < 0:
        raise InputError(
            f"min_valid_fraction = {min_valid_fraction}, control = {n_control}: must lie within 0"
            " and 1, and be 0 or more"
        )
    lenses = read_graded(graded_list)
    check_folder(out)
    bundle = check_bundle(ensemble)
    with tempfile.TemporaryDirectory() as scratch:
        if stored is None:
            fields = mosaic_fields(
                mosaics, overrides, bundle.description.band, ensemble, Path(scratch)
            )
        else:
            fields = stored_fields(stored)
        scores = score_graded(
            fields, Ensemble(bundle), lenses, known_lenses(), min_valid_fraction, n_control, seed
        )
    letters = graded_list == LENSFLOW and stored_grades() is not None
    report = GradeReport(
        scores,
        summarise_grades(scores, letters, seed),
        rank_correlations(scores),
        str(lenses["grade_scheme"].dropna().iloc[0]),
        _facts(bundle, graded_list, seed, min_valid_fraction),
    )
    _write(report, out)
    text = markdown(report)
    console = wide_console()
    console.print(text)
    console.print(f"wrote {out}")
    return report


def one_source(run: str | None, cutouts: str | None) -> Path | None:
    """The folder of stored cutouts, of those that were named.

    Raises
    ------
    InputError
        If both were.
    """
    if run is not None and cutouts is not None:
        raise InputError("give one source of pixels: --mosaics, --run or --cutouts")
    named = run or cutouts
    return None if named is None else place(named)


def read_graded(graded_list: str) -> pd.DataFrame:
    """The rows of a graded list, in the columns of `lensweep.catalogs.lens_schemas.KNOWN`.

    Raises
    ------
    InputError
        If it has no grades.
    catalogs.tables.TableError
        If it cannot be read.
    """
    shipped = known_lenses()
    lenses = shipped[shipped["catalogue"] == graded_list]
    if not len(lenses):
        lenses = read_lens_list(graded_list)
    grade_order(lenses["grade"].dropna().tolist())
    return lenses.reset_index(drop=True)


def _write(report: GradeReport, out: Path) -> None:
    facts = report.facts | {"grade_scheme": report.scheme}
    facts["spearman"] = json.dumps(report.correlations.to_dict(orient="records"))
    tables = {"graded": report.scores.lenses, "control": report.scores.control,
              "grades": report.summary.assign(grade_scheme=report.scheme)}  # fmt: skip
    try:
        for name, table in tables.items():
            rows = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
            write_parquet(with_provenance(rows, facts), out / f"{name}.parquet")
        with whole_file(out / "grades.md") as aside:
            aside.write_text(markdown(report), encoding="utf-8")
        draw_grades(report, out / "grades.png")
    except OSError as error:
        raise InputError(f"output folder {out}: cannot be written ({error.strerror})") from error


def _facts(bundle: Bundle, graded_list: str, seed: int, min_valid: float) -> dict[str, str]:
    return {
        "list": graded_list,
        "ensemble": bundle.description.name,
        "ensemble_sha256": bundle.sha256,
        "min_valid_fraction": repr(min_valid),
        "seed": str(seed),
    }
