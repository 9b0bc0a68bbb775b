"""From a run and its page to a server that keeps what people say of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.scanner.inspection.blind import blind_id, read_keys
from lensweep.scanner.inspection.contents import read_finished, run_id
from lensweep.scanner.inspection.grade_shelf import GradeShelf
from lensweep.scanner.inspection.server import serve
from lensweep.scanner.run.paths import RunPaths

_PLACE = ("ra_deg", "dec_deg", "mosaic", "rank")


def serve_page(root: Path, seed: int | None, said: Callable[[str], None]) -> None:
    """Serve a run's page, or its blind page of a seed, until somebody stops it.

    Parameters
    ----------
    root : Path
        The run's folder.
    seed : int or None
        Of a blind page; None serves the open one.
    said : callable
        Is told where it is.

    Raises
    ------
    InputError
        If the run is in an object store, or the page is being served already.
    """
    if is_remote(root):
        raise InputError(f"run {root}: in an object store; grades are kept on this machine's disk")
    page_id, shelf = open_shelf(root, seed)
    paths = RunPaths(root)
    page = paths.page if seed is None else paths.blind_page(seed)
    kept = page.with_suffix(".server.json")
    serve(page, page_id, shelf, kept, lambda url: said(
        f"{url}\ngrades go to {paths.grades / page_id}; stop with Ctrl-C"
    ))  # fmt: skip


def open_shelf(root: Path, seed: int | None) -> tuple[str, GradeShelf]:
    """The name of a run's page, and where its grades lie."""
    candidates, facts = read_finished(root)
    identity = run_id(facts)
    page_id = identity if seed is None else blind_id(identity, seed)
    blind: dict[str, dict[str, Any]] = {key: {} for key in read_keys(root)["key"]}
    rows = _open_rows(candidates) if seed is None else blind
    return page_id, GradeShelf(RunPaths(root).grades / page_id, rows, identity)


def _open_rows(candidates: pd.DataFrame) -> dict[str, dict[str, Any]]:
    places = candidates[list(_PLACE)].round({"ra_deg": 7, "dec_deg": 7}).to_dict("records")
    return {
        name: {str(key): value for key, value in place.items()}
        for name, place in zip(candidates["candidate_id"], places, strict=True)
    }
