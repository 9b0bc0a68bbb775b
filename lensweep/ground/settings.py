"""Settings: flat frozen dataclasses, a line per field, which a TOML file may fill.

Whatever a file or a caller gives is checked by name, by type and, where `within` is asked, by
range, before anything starts.
"""

import dataclasses
import math
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lensweep.ground.errors import InputError

T = TypeVar("T")

# NumPy's old generators, which scikit-learn uses, take seeds of 32 bits; some take the sign's bit.
MOST_SEED = 2**31 - 1

# What a field says of itself: to the command line, and to whoever continues a run.
HELP, FLAGS, GROUP = "help", "flags", "group"
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def setting(default: Any, help: str, *flags: str, group: str | None = None, **facts: Any) -> Any:
    """A field of settings that says what it is, once for the file and for the command line.

    Parameters
    ----------
    default
        `dataclasses.MISSING` if there is none.
    help : str
        A sentence or two.
    *flags : str
        The option's names; by default the field's name.
    group : str, optional
        Under which heading the option stands.
    **facts
        More of its metadata.
    """
    metadata = {HELP: help, FLAGS: flags, GROUP: group, **facts}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option_of(kind: type[Any], name: str) -> str:
    """The option of the command line that sets a field of settings."""
    (field,) = (one for one in dataclasses.fields(kind) if one.name == name)
    flags = field.metadata.get(FLAGS) or ("--" + name.replace("_", "-"),)
    return str(flags[0])


def read_toml(path: Path, kind: type[Any], what: str) -> dict[str, Any]:
    """Read a TOML file whose keys are fields of a dataclass; its lists become tuples.

    Parameters
    ----------
    path : Path
    kind : type
        The dataclass.
    what : str
        What the file is, for the message: ``config``, ``training config``.

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or has keys that are no fields.
    """
    values = parse_toml(path, what)
    refuse_unknown(values, kind, f"{what} {path}")
    return values


def parse_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file, whatever its keys; its lists become tuples.

    Raises
    ------
    InputError
        If the file cannot be read, or is not TOML.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # TOML's grammar, or bytes that are no text
        raise InputError(f"{what} {path}: not TOML ({error})") from error
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def refuse_unknown(values: dict[str, Any], kind: type[Any], what: str) -> None:
    """Refuse keys that are no fields of a dataclass.

    Raises
    ------
    InputError
    """
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(
            f"{what}: unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def fill(kind: type[T], values: dict[str, Any], what: str) -> T:
    """A dataclass of values that come from outside.

    Parameters
    ----------
    kind : type
        A dataclass.
    values : dict
        Fields of it, no others.
    what : str
        Where they are from, for the message.

    Raises
    ------
    InputError
        If a field without a default is missing, or the dataclass refuses a value.
    """
    needed = [
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.default is field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(f"{what}: lacks {', '.join(missing)}; needed are {', '.join(needed)}")
    return kind(**values)


def check_types(settings: Any) -> None:
    """Refuse values that are not of their field's type; numbers must be finite.

    Parameters
    ----------
    settings : dataclass
        With fields of `str`, `int`, `float`, `bool`, tuples of one of them, or one of these or
        None. A whole number is a `float` too; a `bool` is no number, though Python has it so.

    Raises
    ------
    InputError
        Naming the field, the value and what it must be.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _fits(value, hint):
            raise InputError(f"{name} = {value!r}: must be {_words(hint)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} = {value}: must be a finite number")


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside of [low, high].

    Raises
    ------
    InputError
    """
    if not low <= value <= high:
        raise InputError(f"{name} = {value}: must lie within {low:.12g} and {high:.12g}")


def at_least(name: str, value: float, low: float) -> None:
    """Refuse a number below another.

    Raises
    ------
    InputError
    """
    if not value >= low:
        raise InputError(f"{name} = {value}: must be at least {low:.12g}")


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy, scikit-learn and Keras do not all take.

    Raises
    ------
    InputError
    """
    within("seed", seed, 0, MOST_SEED)


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of those that are known.

    Raises
    ------
    InputError
    """
    if value not in known:
        raise InputError(f"{name} = {value}: must be one of {', '.join(known)}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, arguments[0]) for one in value)
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (float, int) if hint is float else hint)


def _words(hint: Any) -> str:
    if get_origin(hint) is UnionType:
        return " or ".join(_words(one) for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is tuple:
        return "a list of names" if get_args(hint)[0] is str else "a list of numbers"
    return _WORDS[hint]
