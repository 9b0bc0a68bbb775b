"""The commands to look at what a run has found, and to grade it."""

from typing import Annotated

import typer

from lensweep.commands.options import Run
from lensweep.ground.files import place

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()


@commands.command("inspect")
def inspect_command(
    run: Run,
    top: Annotated[int, typer.Option(help="Candidates to show.")] = 300,
) -> None:
    """Write a page to look at the candidates of a finished run and grade them."""
    from lensweep.scanner.inspection.writing import write_inspection

    typer.echo(f"wrote {write_inspection(place(run), top)}; open it in a browser")
