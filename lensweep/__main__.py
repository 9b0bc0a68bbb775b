"""Run the command line: `lensweep`, or `python -m lensweep`."""

import sys

import typer

from lensweep.commands.app import app
from lensweep.ground.errors import InputError, TryAgainError

CANNOT, LATER = 2, 75


def main() -> None:
    """Run a command: what the user can mend is one message and status 2, or 75 for later."""
    try:
        app()
    except InputError as error:
        typer.echo(f"lensweep: {error}", err=True)
        sys.exit(LATER if isinstance(error, TryAgainError) else CANNOT)


if __name__ == "__main__":
    main()
