"""Options of a command, read off the fields of settings: each is stated once, where it belongs."""

import dataclasses
import inspect
from collections.abc import Callable, Collection
from functools import wraps
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from lensweep.ground.settings import FLAGS, GROUP, HELP

Command = Callable[..., None]


def takes(*kinds: type[Any], but: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command an option for every field of some settings.

    Parameters
    ----------
    *kinds : type
        Dataclasses whose fields are `lensweep.ground.settings.setting`. Fields of one name are one
        option.
    but : collection of str
        Fields that get none.

    Returns
    -------
    callable
        Decorator of a command, whose first argument gets what was given: values by field name.
    """
    fields = {
        one.name: (one, get_type_hints(kind)[one.name])
        for kind in kinds
        for one in dataclasses.fields(kind)
        if one.name not in but
    }

    def decorate(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        options = [_parameter(one, hint) for one, hint in fields.values()]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in fields}
            command(
                {
                    name: tuple(value) if isinstance(value, list) else value
                    for name, value in given.items()
                    if value not in (None, [])
                },
                **values,
            )

        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *options)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    """What typer makes an option of; None if it is not given, so that a file may say it."""
    kind = next(one for one in _kinds(hint) if one is not NoneType)
    kind = list[get_args(kind)[0]] if get_origin(kind) is tuple else kind  # type: ignore[misc]
    flags = field.metadata.get(FLAGS, ())
    if kind is bool and not flags:
        # Off is the default: nobody has to say it.
        flags = ("--" + field.name.replace("_", "-"),)
    option = typer.Option(
        *flags, help=_help(field), rich_help_panel=field.metadata.get(GROUP), show_default=False
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is UnionType else (hint,)


def _help(field: dataclasses.Field[Any]) -> str:
    text = str(field.metadata[HELP])
    has_default = field.default not in (dataclasses.MISSING, None, False, ())
    shown = f"{field.default:g}" if isinstance(field.default, float) else field.default
    return f"{text} Default: {shown}." if has_default else text
