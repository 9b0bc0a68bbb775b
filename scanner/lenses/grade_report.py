"""Score a graded list and show it: the thesis' Table 5-2 as Parquet, Markdown and a picture."""

import json
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lensweep.catalogs.lens_lists import known_lenses, read_lens_list
from lensweep.catalogs.lensflow_grades import stored_grades
from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.ground.outputs import begun_folder
from lensweep.ground.terminal import wide_console
from lensweep.scanner.lenses.cutouts_at import mosaic_fields, stored_fields
from lensweep.scanner.lenses.grade_page import GradeReport, draw_grades, markdown
from lensweep.scanner.lenses.grade_table import grade_order, rank_correlations, summarise_grades
from lensweep.scanner.lenses.grades_request import LENSFLOW, GradesConfig
from lensweep.scanner.lenses.grading import GradedScores, score_graded
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.sky.overrides import HeaderOverrides


def report_grades(config: GradesConfig, overrides: HeaderOverrides, out: Path) -> GradeReport:
    """Score a graded list, print its table, and write it.

    Parameters
    ----------
    config : GradesConfig
    overrides : HeaderOverrides
        What the mosaics' headers do not say.
    out : Path
        Folder for ``graded.parquet``, ``control.parquet``, ``grades.parquet``, ``grades.md`` and
        ``grades.png``; made if need be.

    Raises
    ------
    InputError
        If the list has no grades, or none of it is covered.
    """
    lenses = read_graded(config.graded_list)
    with begun_folder(out):
        bundle = check_bundle(config.ensemble)
        scores = _score(config, overrides, bundle, lenses)
    letters = config.graded_list == LENSFLOW and stored_grades() is not None
    report = GradeReport(
        scores,
        summarise_grades(scores, letters, config.seed),
        rank_correlations(scores),
        str(lenses["grade_scheme"].dropna().iloc[0]),
        _facts(bundle, config),
    )
    _write(report, out)
    console = wide_console()
    console.print(markdown(report))
    console.print(f"wrote {out}")
    return report


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


def _score(
    config: GradesConfig, overrides: HeaderOverrides, bundle: Bundle, lenses: pd.DataFrame
) -> GradedScores:
    with tempfile.TemporaryDirectory() as scratch:
        if config.stored is None:
            fields = mosaic_fields(
                config.mosaics, overrides, bundle.description.band, config.ensemble, Path(scratch)
            )
        else:
            fields = stored_fields(config.stored)
        return score_graded(
            fields, Ensemble(bundle), lenses, known_lenses(), config.min_valid_fraction,
            config.n_control, config.seed,
        )  # fmt: skip


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


def _facts(bundle: Bundle, config: GradesConfig) -> dict[str, str]:
    return {
        "list": config.graded_list,
        "ensemble": bundle.description.name,
        "ensemble_sha256": bundle.sha256,
        "min_valid_fraction": repr(config.min_valid_fraction),
        "seed": str(config.seed),
    }
