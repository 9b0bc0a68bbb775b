"""Commands about known lenses and finished runs: recall, crossmatch, grades, rank, two-bands."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lensweep.commands.from_settings import chosen, takes
from lensweep.commands.options import Run
from lensweep.ground.files import place
from lensweep.ground.terminal import say
from lensweep.scanner.lenses.grades_request import GradesConfig
from lensweep.scanner.sky.overrides import HeaderOverrides

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Known = Annotated[
    list[str] | None,
    typer.Option(help="More known lenses: a table with RA and Dec, or lenscat; repeatable."),
]
MatchRadius = Annotated[
    float | None, typer.Option("--radius", help="Arcsec, for all; default each lens's own.")
]


@commands.command("recall")
def recall_command(
    run: Run,
    known: Known = None,
    radius_arcsec: MatchRadius = None,
    top: Annotated[int | None, typer.Option(help="Count candidates up to this rank.")] = None,
    false_per_deg2: Annotated[
        float | None, typer.Option(help="Count candidates with at most so many false ones.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table, by ending; default RUN/recall.parquet."),
    ] = None,
) -> None:
    """What a run made of the known lenses in its footprint; those outside are no misses."""
    from lensweep.scanner.lenses.lens_report import show_recall

    show_recall(place(run), known or (), radius_arcsec, top, out, false_per_deg2)


@commands.command("crossmatch")
def crossmatch_command(
    source: Annotated[
        str, typer.Argument(help="A run's folder, a table with RA and Dec, or a HATS catalogue.")
    ],
    known: Known = None,
    radius_arcsec: MatchRadius = None,
    every: Annotated[
        bool, typer.Option("--all", help="All matches, not only the nearest.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table, by ending; default RUN/crossmatch.parquet."),
    ] = None,
) -> None:
    """Which known lenses lie near candidates or positions, on the sphere."""
    from lensweep.catalogs.hats_folders import is_hats
    from lensweep.scanner.lenses.hats_report import show_hats_matches
    from lensweep.scanner.lenses.lens_report import show_matches

    found = place(source)
    show = show_hats_matches if is_hats(found) else show_matches
    show(found, known or (), radius_arcsec, every, out)


grades_app = typer.Typer(invoke_without_command=True)
commands.add_typer(grades_app, name="grades")


@grades_app.callback()
@takes(GradesConfig, HeaderOverrides)
def grades_command(
    given: dict[str, Any],
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the tables and the picture; needed."),
    ] = None,
) -> None:
    """Score a graded list at its positions: the thesis' Table 5-2, with a random-field control.

    Or merge the grades that people have given on a run's page: lensweep grades merge.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise typer.BadParameter("missing; name a folder", context, param_hint="'--out'")
    config = chosen(GradesConfig, given)
    from lensweep.scanner.lenses.grade_report import report_grades

    report_grades(config, chosen(HeaderOverrides, given), out)


@grades_app.command("merge")
def merge_grades_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="CSV files of grades; without any, those that RUN's server kept."),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run's folder, to join them onto.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file to write; default RUN/inspect/merged.csv."),
    ] = None,
) -> None:
    """Merge grades of several people: means, disagreement, kappa, and how good each of them is."""
    from lensweep.scanner.inspection.agreement_report import show_merged
    from lensweep.scanner.inspection.merged_grades import merge_grades

    show_merged(merge_grades(files or (), None if run is None else place(run), out))


@commands.command("rank")
def rank_command(
    run: Run,
    aggregate: Annotated[str, typer.Option(help="mean, median or rank.")] = "mean",
    ensemble: Annotated[str | None, typer.Option(help="The run's bundle, if not shipped.")] = None,
    min_logit: Annotated[
        float | None, typer.Option(help="Least mean log-odds of a candidate (as in the run).")
    ] = None,
    lens_density: Annotated[
        float | None, typer.Option(help="Visible lenses per square degree (as in the run).")
    ] = None,
    merge_radius: Annotated[
        float | None, typer.Option(help="Arcsec; detections closer are one (as in the run).")
    ] = None,
    match_radius: Annotated[
        float | None, typer.Option(help="Arcsec; for known lenses (as in the run).")
    ] = None,
) -> None:
    """Rank a finished run in another way, without a pixel, into a new file beside the old one."""
    from lensweep.scanner.results.reranking import rerank

    path = rerank(
        place(run), aggregate, ensemble, min_logit=min_logit, lens_density=lens_density,
        merge_radius_arcsec=merge_radius, match_radius_arcsec=match_radius,
    )  # fmt: skip
    say(f"wrote {path}")


@commands.command("two-bands")
@takes(HeaderOverrides)
def two_bands_command(
    given: dict[str, Any],
    run: Run,
    second_band: Annotated[
        list[str], typer.Option(help="FITS mosaic of the second band; repeatable.")
    ],
    ensemble: Annotated[str, typer.Option(help="Bundle of two bands, as outlook makes one.")],
    top: Annotated[int, typer.Option(help="As many of the first candidates.")] = 500,
) -> None:
    """Look at a run's first candidates again, in colour, and rank them by that, into a new file."""
    from lensweep.commands.show_two_bands import show_two_bands
    from lensweep.ground.progress import open_progress
    from lensweep.scanner.results.two_bands import LABEL, look_in_two_bands
    from lensweep.scanner.run.paths import RunPaths

    overrides = chosen(HeaderOverrides, given)
    with open_progress() as progress:
        table = look_in_two_bands(place(run), second_band, ensemble, top, overrides, progress)
    show_two_bands(table)
    say(f"wrote {RunPaths(place(run)).reranked(LABEL)}")


catalogs_app = typer.Typer(help="The catalogues of known lenses.", no_args_is_help=True)
commands.add_typer(catalogs_app, name="catalogs")


@catalogs_app.command("update")
def catalogs_update_command(
    server: Annotated[
        str, typer.Option(help="VizieR's host, or a mirror's.")
    ] = "vizier.cds.unistra.fr",
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0,
) -> None:
    """Fetch the LensFlow grades, which are not shipped, from VizieR."""
    from lensweep.catalogs.vizier import update_grades

    grades, path = update_grades(server, timeout_s)
    counts = (f"{sum(g == one for g in grades.grades.values())} {one}" for one in "ABC")
    say(f"{grades.scheme}: {', '.join(counts)}\nwrote {path}")
