"""One file of HTML that holds everything: it asks nobody for anything, and needs no server."""

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from lensweep.ground.files import make_folder, whole_file
from lensweep.scanner.inspection.contents import Card

# Pictures of so many cards are one block of text, which the page takes apart when it is in view.
CARDS_PER_BLOCK = 64
_ASSETS = "assets"
_SCRIPTS = ("start", "pictures", "grades", "cards", "list", "figures", "events")


@dataclass(frozen=True)
class Heading:
    """What a page is.

    Attributes
    ----------
    title : str
        The run's name.
    run_id : str
    page_id : str
        Grades that a browser keeps belong to it.
    blind : bool
        Nothing of scores, names and positions is in it.
    n_all : int
        Candidates of the run, of which the page shows the first.
    """

    title: str
    run_id: str
    page_id: str
    blind: bool
    n_all: int


def write_page(
    path: Path, heading: Heading, overview: dict[str, Any], cards: Sequence[Card]
) -> None:
    """Write a page that is whole or not there.

    Parameters
    ----------
    path : Path
        HTML file; its folder is made.
    heading : Heading
    overview : dict
        As of `lensweep.scanner.inspection.contents.describe_run`, and ``maps``; empty for a blind
        page.
    cards : sequence of Card
        In the order of the page.
    """
    contents = {
        "title": heading.title, "run_id": heading.run_id, "page_id": heading.page_id,
        "blind": heading.blind, "n_all": heading.n_all, "lensweep": version("lensweep"),
        "block": CARDS_PER_BLOCK, "overview": overview, "rows": [_row(card) for card in cards],
    }  # fmt: skip
    make_folder(path.parent)
    with whole_file(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.writelines(_parts(heading, contents, cards))


def _row(card: Card) -> dict[str, Any]:
    picture = card.picture
    return card.row | {"low": picture.low, "high": picture.high, "masked": bool(picture.mask)}


def _parts(heading: Heading, contents: dict[str, Any], cards: Sequence[Card]) -> Iterator[str]:
    style = _asset("page.css")
    script = '"use strict";\n' + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    before, after = _asset("index.html").split("<!-- contents -->")
    values = {
        "title": html.escape(heading.title),
        "policy": _policy(style, script),
        "style": style,
    }
    for name, text in values.items():
        before = before.replace(f"{{{{ {name} }}}}", text)
    yield before
    yield _block("contents", "application/json", _json(contents))
    for first in range(0, len(cards), CARDS_PER_BLOCK):
        pictures = (card.picture for card in cards[first : first + CARDS_PER_BLOCK])
        text = "\n".join(f"{picture.jpeg} {picture.mask}" for picture in pictures)
        yield _block(f"pictures-{first // CARDS_PER_BLOCK}", "text/plain", text)
    yield after.replace("{{ script }}", script)


def _block(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>\n'


def _json(values: dict[str, Any]) -> str:
    """JSON that may stand within HTML: no name in it can end the element that holds it."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """What the page may do: run its own script, and speak to the server that it came from."""
    of_style, of_script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{of_script}'; style-src 'sha256-{of_style}'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("lensweep.scanner.inspection").joinpath(_ASSETS, name).read_text("utf-8")
