"""Keywords of a function, read off the fields of settings: stated once, where they belong."""

import dataclasses
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar, get_type_hints

from lensweep.ground.settings import HELP

P = ParamSpec("P")
R = TypeVar("R")
_OPTIONS = "    **options\n"


def keywords_of(kind: type[Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a function a keyword for every field of some settings, in its signature and its help.

    Parameters
    ----------
    kind : type
        A dataclass of `lensweep.ground.settings.setting`. Fields that the function has parameters
        for already stay as they are.

    Returns
    -------
    callable
        Decorator of a function that takes them as ``**options``. A keyword that is no field is
        refused with a `TypeError` that names the nearest.
    """
    hints = get_type_hints(kind)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values()
               if one.kind is not inspect.Parameter.VAR_KEYWORD]  # fmt: skip
        names = [one.name for one in own]
        fields = [one for one in dataclasses.fields(kind) if one.name not in names]
        known = [*names, *(one.name for one in fields)]

        @wraps(function)
        def call(*values: P.args, **named: P.kwargs) -> R:
            for name in named:
                if name not in known:
                    raise TypeError(_unknown(function.__name__, name, known))
            return function(*values, **named)

        more = [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default,
                annotation=hints[one.name],
            )
            for one in fields
        ]  # fmt: skip
        call.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *more]
        )
        call.__doc__ = (function.__doc__ or "").replace(
            _OPTIONS, "".join(_described(one, hints[one.name]) for one in fields)
        )
        return call

    return decorate


def _described(field: dataclasses.Field[Any], hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return f"    {field.name} : {name}, default {field.default!r}\n        {field.metadata[HELP]}\n"


def _unknown(function: str, name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    instead = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{function}() has no keyword {name}; {instead}"
