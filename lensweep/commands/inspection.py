"""The commands to look at what a run has found, and to grade it."""

from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.options import Run
from lensweep.ground.errors import InputError
from lensweep.ground.files import place
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

SEED, PLANTED = 2018, 20


@commands.command("inspect")
def inspect_command(
    run: Run,
    top: Annotated[int, typer.Option(help="Candidates to show.")] = 300,
    blind: Annotated[
        bool, typer.Option("--blind", help="No scores, no order; planted lenses among them.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Blind: of the order and the plants.", show_default=str(SEED))
    ] = None,
    planted: Annotated[
        int | None,
        typer.Option(
            help="Blind: lenses to plant; as many galaxies, and rows shown twice.",
            show_default=str(PLANTED),
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep grades on disk, and open the page.")
    ] = False,
) -> None:
    """Write a page to look at the candidates of a finished run and grade them."""
    from lensweep.scanner.inspection.serving import serve_page
    from lensweep.scanner.inspection.writing import write_inspection
    from lensweep.training.evaluation.planted import write_planted

    if not blind and (seed, planted) != (None, None):
        raise InputError("--seed and --planted are of a blind page: give --blind too")
    root, seed = place(run), SEED if seed is None else seed
    if blind:
        page = write_planted(root, top, seed, PLANTED if planted is None else planted)
    else:
        page = write_inspection(root, top)
    say(f"wrote {page}{'' if serve else '; open it in a browser'}")
    if serve:
        serve_page(root, seed if blind else None, say)


@commands.command("sheet")
def sheet_command(
    run: Run,
    top: Annotated[int, typer.Option(help="Candidates to show.")] = 100,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG file; default RUN/sheet.png.")
    ] = None,
) -> None:
    """Draw the first candidates of a finished run onto one picture, on stamps of 10 arcsec."""
    from lensweep.scanner.inspection.sheet import write_sheet

    say(f"wrote {write_sheet(place(run), top, out)}")
