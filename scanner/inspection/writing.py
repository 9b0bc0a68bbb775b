"""From a finished run to its page."""

from pathlib import Path

from lensweep.ground.settings import at_least
from lensweep.scanner.inspection.contents import (
    Card,
    cards,
    describe_run,
    place_on_maps,
    read_finished,
    run_id,
)
from lensweep.scanner.inspection.page import Heading, write_page
from lensweep.scanner.run.paths import RunPaths


def write_inspection(root: Path, top: int) -> Path:
    """Write the page of a run's first candidates.

    Parameters
    ----------
    root : Path
        The run's folder.
    top : int
        Candidates to show, at least 1.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If there is no run, it is not finished, or ``top`` is not a number of candidates.
    """
    at_least("top", top, 1)
    candidates, facts = read_finished(root)
    first = candidates.head(top)
    maps, placed = place_on_maps(root, first)
    shown: list[Card | None] = [None] * len(first)
    for number, card in cards(root, first):
        shown[number] = Card(card.row | placed[number], card.picture)
    identity = run_id(facts)
    heading = Heading(root.absolute().name, identity, identity, False, len(candidates))
    overview = describe_run(root, candidates, facts) | {"maps": maps}
    path = RunPaths(root).page
    write_page(path, heading, overview, [card for card in shown if card is not None])
    return path
