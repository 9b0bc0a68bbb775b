"""Options of a command, read off the fields of settings: each is stated once, where it belongs."""

import dataclasses
import inspect
from collections.abc import Callable, Collection
from functools import wraps
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from lensweep.ground.settings import FLAGS, GROUP, HELP

Command = Callable[..., None]
T = TypeVar("T")


def takes(
    *kinds: type[Any], but: Collection[str] = (), from_file: bool = False
) -> Callable[[Command], Command]:
    """Give a command an option for every `lensweep.ground.settings.setting` of some dataclasses.

    Parameters
    ----------
    *kinds : type
        Dataclasses. Fields of one name are one option.
    but : collection of str
        Fields that get none.
    from_file : bool
        A file may say what the command line does not: no option is needed.

    Returns
    -------
    callable
        Decorator of a command, whose first argument gets what was given: values by field name.
    """
    fields = {
        one.name: (one, get_type_hints(kind)[one.name])
        for kind in kinds
        for one in dataclasses.fields(kind)
        if HELP in one.metadata and one.name not in but
    }

    def decorate(command: Command) -> Command:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        options = [_parameter(one, hint, from_file) for one, hint in fields.values()]

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


def chosen(kind: type[T], given: dict[str, Any], **more: Any) -> T:
    """Settings of one kind, out of what was given to a command that `takes` several.

    Parameters
    ----------
    kind : type
        A dataclass.
    given : dict
        Values by field name.
    **more
        Fields that are no options.
    """
    names = {one.name for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in given.items() if name in names}, **more)


def _parameter(field: dataclasses.Field[Any], hint: Any, from_file: bool) -> inspect.Parameter:
    """What typer makes an option of; None if it is not given, so that a default may hold."""
    kind = next(one for one in _kinds(hint) if one is not NoneType)
    kind = list[get_args(kind)[0]] if get_origin(kind) is tuple else kind  # type: ignore[misc]
    flags = field.metadata.get(FLAGS, ())
    if kind is bool and not flags:
        # Off is the default: nobody has to say it.
        flags = ("--" + field.name.replace("_", "-"),)
    option = typer.Option(
        *flags, help=_help(field), rich_help_panel=field.metadata.get(GROUP), show_default=False
    )
    needed = field.default is dataclasses.MISSING and not from_file
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if needed else None,
        annotation=Annotated[kind if needed else kind | None, option],
    )


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is UnionType else (hint,)


def _help(field: dataclasses.Field[Any]) -> str:
    text = str(field.metadata[HELP])
    has_default = field.default not in (dataclasses.MISSING, None, False, (), "")
    return f"{text} Default: {_shown(field.default)}." if has_default else text


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
