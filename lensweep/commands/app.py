"""All commands under one name."""

import typer

from lensweep.commands import (
    archives,
    data_sets,
    ensembles,
    exports,
    inspection,
    learning,
    lenses,
    scans,
)

app = typer.Typer(
    help="Find strong gravitational lenses in Hubble I-band (F814W) mosaics.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (scans, archives, inspection, learning, exports, data_sets, ensembles, lenses):
    app.add_typer(group.commands)
