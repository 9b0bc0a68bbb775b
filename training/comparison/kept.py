"""What a comparison keeps: scores of every finder on every fold, and what decided them.

A folder of results holds one kind of folds, and in it a folder for each finder: `parameters.json`
and a file for each fold, which is written last and so says that the fold is done.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.asked import first_change
from lensweep.ground.atomic import sweep, write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.training.comparison.finders import FINDERS

ASKED, PARAMETERS, FITTED = "comparison.json", "parameters.json", "fitted"


@dataclass(frozen=True)
class FoldScores:
    """What one finder, fitted without a fold, makes of that and of the real stamps.

    Attributes
    ----------
    held_out : ndarray, shape (n,), float64
        Log-odds of the fold's cutouts.
    real : ndarray, shape (stamps,), float64
    fit_s : float
        Wall-clock seconds of the fit.
    scored_per_s : float
        Cutouts, when the fold was scored.
    n_parameters : int
    """

    held_out: NDArray[np.float64]
    real: NDArray[np.float64]
    fit_s: float
    scored_per_s: float
    n_parameters: int


def claim(path: Path, asked: dict[str, Any]) -> None:
    """Keep what decides some results beside them, or refuse to mix them with others.

    Raises
    ------
    InputError
        If they were made otherwise.
    """
    check_claim(path, asked)
    if not path.is_file():
        write_json(path, asked)


def check_claim(path: Path, asked: dict[str, Any]) -> None:
    """Refuse to mix results with others, if there are any yet.

    Raises
    ------
    InputError
        If they were made otherwise.
    """
    if not path.is_file():
        return
    change = first_change(json.loads(path.read_text()), json.loads(json.dumps(asked)))
    if change is not None:
        raise InputError(
            f"results in {path.parent}: were made with {change.key} = {change.was!r}, now "
            f"{change.now!r}; give that again, or another --out"
        )


def fold_file(out: Path, name: str, fold: int) -> Path:
    """Where the scores of a finder on a fold are."""
    return out / name / f"fold-{fold}.npz"


def write_fold(path: Path, scores: FoldScores) -> None:
    """Write scores; the file under its name says that the fold is done."""
    sweep(path.parent, ".*.partial")
    with whole_file(path) as aside, aside.open("wb") as file:
        np.savez(file, **vars(scores))


def read_folds(out: Path) -> tuple[dict[str, dict[int, FoldScores]], dict[str, dict[str, Any]]]:
    """Scores and parameters by finder, in the order of the table."""
    scores: dict[str, dict[int, FoldScores]] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for name in FINDERS:
        for path in sorted((out / name).glob("fold-*.npz")):
            with np.load(path, allow_pickle=False) as kept:
                numbers = {key: kept[key].item() for key in ("fit_s", "scored_per_s",
                                                             "n_parameters")}  # fmt: skip
                found = FoldScores(kept["held_out"], kept["real"], **numbers)
            scores.setdefault(name, {})[int(path.stem.removeprefix("fold-"))] = found
        if name in scores:
            parameters[name] = json.loads((out / name / PARAMETERS).read_text())
    return scores, parameters
