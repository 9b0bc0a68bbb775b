"""Blind pages: no scores, names or places, shuffled; what the rows are lies in a file beside them.

Planted lenses, galaxies that are none and rows shown twice measure who grades: what they find,
what they take for a lens, and how far they agree with themselves.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.ground.files import make_folder, whole_file
from lensweep.ground.settings import at_least, check_seed
from lensweep.scanner.inspection.contents import Card, cards, read_finished, run_id
from lensweep.scanner.inspection.page import Heading, write_page
from lensweep.scanner.inspection.pictures import draw_picture
from lensweep.scanner.run.paths import RunPaths

# What a row of a blind page is.
CANDIDATE, REPEAT, LENS, DUD = "candidate", "repeat", "lens", "dud"
KEY_COLUMNS = ("key", "what", "candidate_id", "ra_deg", "dec_deg", "mosaic", "rank", "kind",
               "theta_e_arcsec", "signal_to_noise")  # fmt: skip
PREFIX = "blind-"


@dataclass(frozen=True)
class Planted:
    """A stamp that is not of the run: a painted lens, or a galaxy that is none.

    Attributes
    ----------
    flux : ndarray, shape (200, 200), float32, e-/s
    what : str
        `LENS` or `DUD`.
    truth : dict
        Of the `KEY_COLUMNS` what is known: ``kind``, ``theta_e_arcsec``, ``signal_to_noise``.
    """

    flux: NDArray[np.float32]
    what: str
    truth: dict[str, Any]


def write_blind(root: Path, top: int, seed: int, repeats: int, planted: Sequence[Planted]) -> Path:
    """Write a blind page of a run's first candidates, and what its rows are.

    Parameters
    ----------
    root : Path
        The run's folder.
    top : int
        Candidates to show.
    seed : int
        Of the order, and of which candidates are shown twice.
    repeats : int
        Candidates that are shown twice, as far as there are so many.
    planted : sequence of Planted

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If there is no finished run, or a number cannot be.
    """
    at_least("top", top, 1)
    at_least("repeats", repeats, 0)
    check_seed(seed)
    candidates, facts = read_finished(root)
    first, rng = candidates.head(top), np.random.default_rng([seed, len(candidates)])
    shown = [(card.picture, CANDIDATE, _what_is_known(first.iloc[row]))
             for row, card in cards(root, first)]  # fmt: skip
    for number in rng.permutation(len(shown))[:repeats].tolist():
        shown.append((shown[number][0], REPEAT, shown[number][2]))
    names = [known["candidate_id"] for _, _, known in shown]
    shown += [(draw_picture(one.flux), one.what, one.truth) for one in planted]
    names += [str(number) for number in range(len(planted))]
    identity = run_id(facts)
    keys = [_opaque(identity, seed, what, name)
            for name, (_, what, _) in zip(names, shown, strict=True)]  # fmt: skip
    order = rng.permutation(len(shown)).tolist()
    paths = RunPaths(root)
    _write_key(paths.blind_key(seed), [{"key": keys[n], "what": shown[n][1], **shown[n][2]}
                                       for n in order])  # fmt: skip
    heading = Heading(root.absolute().name, identity, blind_id(identity, seed), True, len(shown))
    page = [Card({"key": keys[n]}, shown[n][0]) for n in order]
    write_page(paths.blind_page(seed), heading, {}, page)
    return paths.blind_page(seed)


def blind_id(identity: str, seed: int) -> str:
    """The page's own name, under which its grades are kept."""
    return f"{identity}-{PREFIX}{seed}"


def read_keys(root: Path) -> pd.DataFrame:
    """What the rows of all blind pages of a run are: `KEY_COLUMNS`; empty without one."""
    tables = []
    for path in RunPaths(root).blind_keys:
        with path.open("rb") as file:
            tables.append(pd.read_parquet(file))
    if not tables:
        return pd.DataFrame(columns=list(KEY_COLUMNS))
    return pd.concat(tables, ignore_index=True)


def _what_is_known(row: "pd.Series[Any]") -> dict[str, Any]:
    return {name: row[name] for name in ("candidate_id", "ra_deg", "dec_deg", "mosaic", "rank")}


def _opaque(identity: str, seed: int, what: str, name: str) -> str:
    """A name for a row that tells nothing, and is the same when the page is written again."""
    secret = hashlib.sha256(f"{identity}/{seed}/{what}/{name}".encode())
    return f"{PREFIX}{secret.hexdigest()[:12]}"


def _write_key(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows, columns=list(KEY_COLUMNS))
    texts = ["key", "what", "candidate_id", "mosaic", "kind"]
    table[texts] = table[texts].astype("str").where(table[texts].notna(), None)
    table["rank"] = table["rank"].astype("Int32")
    numbers = ["ra_deg", "dec_deg", "theta_e_arcsec", "signal_to_noise"]
    table[numbers] = table[numbers].astype("float64")
    make_folder(path.parent)
    with whole_file(path) as aside:
        table.to_parquet(aside)
