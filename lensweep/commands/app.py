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
    modelling,
    outlook,
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
GROUPS = {
    "Scan": (scans,),
    "Archives": (archives,),
    "Look at a run, hand it on, learn from its grades": (inspection, exports, learning),
    "Known lenses, other rankings": (lenses,),
    "What a lens is": (modelling,),
    "Labelled cutouts": (data_sets,),
    "Ensembles, and what their scores are worth": (ensembles, comparison, outlook),
}
for panel, modules in GROUPS.items():
    for module in modules:
        add_loudness(module.commands)
        for one in (*module.commands.registered_commands, *module.commands.registered_groups):
            one.rich_help_panel = panel
        app.add_typer(module.commands)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"lensweep {version('lensweep')}")
        raise typer.Exit


@app.callback()
def lensweep_command(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which this is, and stop."
        ),
    ] = False,
) -> None:
    """Find strong gravitational lenses in Hubble I-band (F814W) mosaics."""
