"""The commands that hand a finished run to other tools: export, send."""

from pathlib import Path
from typing import Annotated

import typer

from lensweep.commands.options import Run
from lensweep.ground.files import place
from lensweep.ground.terminal import say

# What takes long to import is imported where it is used: `--help` answers at once.

commands = typer.Typer()

Top = Annotated[int | None, typer.Option(help="As many of the first candidates.")]
Where = Annotated[
    str | None,
    typer.Option(help='Choose candidates: "p_lens > 0.5 and castles_name is null".'),
]


@commands.command("export")
def export_command(
    run: Run,
    to: Annotated[
        str,
        typer.Option(
            help="votable, fits, csv, ecsv, ds9, latex; hats, stamps, coolest: folders; moc: the "
            "searched sky."
        ),
    ],
    top: Top = None,
    where: Where = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File or folder; default in RUN/export.")
    ] = None,
) -> None:
    """Write a run's candidates in the formats of other tools."""
    from lensweep.scanner.exports.export import export

    say(f"wrote {export(place(run), to, top, where, out)}")


@commands.command("send")
def send_command(run: Run, top: Top = None, where: Where = None) -> None:
    """Send a run's candidates and footprint to a running Aladin, TOPCAT or DS9 (SAMP)."""
    from lensweep.scanner.exports.samp import send

    for told in send(place(run), top, where):
        say(f"sent to {told}")
