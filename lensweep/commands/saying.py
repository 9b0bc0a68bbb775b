"""Options that every command has: -q and -v."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from lensweep.ground.errors import InputError
from lensweep.ground.loudness import Loudness, as_loud

Command = Callable[..., Any]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but the result, and errors.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more: every piece of work, and the cluster's.")
]


def with_loudness(command: Command) -> Command:
    """Give a command the options that say how much it says."""

    @wraps(command)
    def run(*, quiet: bool, verbose: bool, **values: Any) -> Any:
        with as_loud(_asked(quiet, verbose)):
            return command(**values)

    own = inspect.signature(command, eval_str=True).parameters.values()
    more = (_flag("quiet", Quiet), _flag("verbose", Verbose))
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *more)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def add_loudness(commands: typer.Typer) -> None:
    """Give all commands of a group, and of the groups in it, these options."""
    for one in commands.registered_commands:
        assert one.callback is not None
        one.callback = with_loudness(one.callback)
    for group in commands.registered_groups:
        assert group.typer_instance is not None
        add_loudness(group.typer_instance)
        own = group.typer_instance.registered_callback
        if own is not None and own.callback is not None:
            # A group that is a command itself.
            own.callback = with_loudness(own.callback)


def _flag(name: str, kind: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)


def _asked(quiet: bool, verbose: bool) -> Loudness:
    if quiet and verbose:
        raise InputError("--quiet and --verbose: give one of them")
    return Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL
