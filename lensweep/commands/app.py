"""All commands under one name."""

from importlib.metadata import version
from typing import Annotated

import typer

from lensweep.commands import (
    archives,
    comparison,
    data_sets,
    ensembles,
    exports,
    inspection,
    learning,
    lenses,
    scans,
)
from lensweep.commands.saying import add_loudness
from lensweep.ground.terminal import say

app = typer.Typer(
    help="Find strong gravitational lenses in Hubble I-band (F814W) mosaics.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    scans, archives, inspection, learning, exports, data_sets, ensembles, comparison, lenses,
):  # fmt: skip
    add_loudness(group.commands)
    app.add_typer(group.commands)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"lensweep {version('lensweep')}")
        raise typer.Exit


@app.callback()
def lensweep_command(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it, and stop."),
    ] = False,
) -> None:
    """Find strong gravitational lenses in Hubble I-band (F814W) mosaics."""
