"""What is printed: names, paths and messages as they are, whatever they hold."""

import unicodedata
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

# As wide as the widest table; a terminal that is narrower breaks lines, and cuts nothing off.
WIDE = 160
# Control characters, halves of pairs, what turns the reading direction, separators of lines.
_HIDDEN = ("Cc", "Cs", "Cf", "Zl", "Zp")


class PlainConsole(Console):
    """A console without a language of its own.

    To rich `[red]`, `:star:` and numbers mean something; here a file may be called that. Wherever
    text is handed over, be it to `print`, a cell or a title, it is shown as it is; colour is asked
    for with `style`.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as rich shows it: see the class."""
        return super().render_str(visible(text), **(options | {"markup": False, "emoji": False}))


def plain_console(**options: Any) -> PlainConsole:
    """A console on stdout that breaks no line; options are those of `rich.console.Console`."""
    return PlainConsole(soft_wrap=True, highlight=False, **options)


def wide_console(**options: Any) -> PlainConsole:
    """A console that no table of ours is cut off on: of `WIDE` columns at least."""
    return plain_console(width=max(WIDE, Console().width), **options)


def in_notebook() -> bool:
    """Whether this is a notebook's process."""
    return Console().is_jupyter


def say(text: str, err: bool = False) -> None:
    """Print a line on stdout or stderr, as it is."""
    typer.echo(visible(text), err=err)


def visible(text: str) -> str:
    r"""Text that cannot move the cursor or end the program.

    Control characters and halves of Unicode pairs (bytes of a file name that are no UTF-8) become
    `\x1b`, `\udce9`; line ends and tabs stay.
    """
    return "".join(
        one.encode("unicode_escape").decode()
        if unicodedata.category(one) in _HIDDEN and one not in "\n\t"
        else one
        for one in text
    )
