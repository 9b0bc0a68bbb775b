"""Run the command line: `lensweep`, or `python -m lensweep`."""

import io
import sys

from lensweep.commands.app import app
from lensweep.ground.errors import InputError, TryAgainError
from lensweep.ground.terminal import say

CANNOT, LATER = 2, 75


def main() -> None:
    """Run a command: what the user can mend is one message and status 2, or 75 for later."""
    # A terminal or a log without UTF-8 shows what it lacks as \u2033, instead of ending a command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except InputError as error:
        say(f"lensweep: {error}", err=True)
        sys.exit(LATER if isinstance(error, TryAgainError) else CANNOT)


if __name__ == "__main__":
    main()
