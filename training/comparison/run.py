"""Fit and score every finder on every fold; what is finished is kept, and a stopped run continues.

A folder of results holds one kind of folds, and in it a folder for each finder: `finder.json`, its
parameters, and a file for each fold, which is written last and so says that the fold is done.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.asked import first_change
from lensweep.ground.atomic import sweep, write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.ground.outputs import check_folder
from lensweep.ground.progress import Progress
from lensweep.training.comparison.finders import FINDERS, chosen_finders
from lensweep.training.comparison.real_stamps import RealStamps, read_real_stamps
from lensweep.training.comparison.settings import ComparisonSettings
from lensweep.training.data.folds import assign_folds
from lensweep.training.published.finder_store import save_finder
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.network_finder import NetworkFinder
from lensweep.training.published.stamps import Stamps
from lensweep.training.published.thesis import ThesisNetwork

ASKED, PARAMETERS, FITTED = "comparison.json", "finder.json", "fitted"
# Between the seeds of two folds.
_SEEDS_APART = 1000


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


@dataclass(frozen=True)
class Comparison:
    """Labelled cutouts in folds, real stamps, and what the finders made of both so far.

    Attributes
    ----------
    stamps : Stamps
    folds : ndarray of int, shape (n,)
    real : RealStamps or None
    scores : dict of str to dict of int to FoldScores
        By finder and fold.
    parameters : dict of str to dict
        Those of every finder that has scores.
    """

    stamps: Stamps
    folds: NDArray[np.int64]
    real: RealStamps | None
    scores: dict[str, dict[int, FoldScores]]
    parameters: dict[str, dict[str, Any]]


def open_comparison(
    settings: ComparisonSettings, stamps: Stamps, out: Path
) -> Comparison:
    """Begin a comparison in a folder, or open the one that is there.

    Raises
    ------
    InputError
        If a finder is not known, the folder holds other folds or cannot be written to, or there
        are too few cutouts.
    """
    chosen_finders(settings)
    check_folder(out)
    real = read_real_stamps(Path(settings.stamps)) if settings.stamps is not None else None
    names = [] if real is None else real.truth["object"].tolist()
    asked = settings.folding | {"cutouts_sha256": stamps.fingerprint, "stamps": names}
    claim(out / ASKED, asked)
    folds = assign_folds(
        stamps.labels, stamps.objects, settings.folds, settings.seed, settings.protocol
    )
    return Comparison(stamps, folds, real, *_read(out))


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


def run_comparison(
    settings: ComparisonSettings, comparison: Comparison, out: Path, progress: Progress
) -> Comparison:
    """Fit and score what is missing, finder by finder.

    Returns
    -------
    Comparison
        With all scores.

    Raises
    ------
    InputError
        If a finder was fitted otherwise before, or its weights cannot be had.
    """
    names = chosen_finders(settings)
    missing = [
        (name, fold) for name in names for fold in range(settings.folds)
        if not _fold_file(out, name, fold).is_file()
    ]  # fmt: skip
    done = len(names) * settings.folds - len(missing)
    check_finders(settings, out)
    stage = progress.stage("comparing", len(names) * settings.folds, done, unit="folds")
    for name, fold in missing:
        finder = FINDERS[name].make(settings, settings.seed + _SEEDS_APART * (fold + 1))
        claim(out / name / PARAMETERS, _described(finder))
        scores = fit_fold(finder, comparison, fold)
        if settings.fields and isinstance(finder, NetworkFinder) and fold == 0:
            save_finder(finder, out / name / FITTED)
        _write(_fold_file(out, name, fold), scores)
        progress.note(f"{name}, fold {fold}: fitted in {scores.fit_s:.0f} s")
        progress.advance(stage, 1)
    return Comparison(comparison.stamps, comparison.folds, comparison.real, *_read(out))


def check_finders(settings: ComparisonSettings, out: Path) -> None:
    """Look for all that would stop a comparison, before the first fit.

    Raises
    ------
    InputError
        If a finder is not known or was fitted otherwise before, its weights cannot be had, or a
        network cannot take so few pixels.
    """
    for name in chosen_finders(settings):
        finder = FINDERS[name].make(settings, settings.seed)
        check_claim(out / name / PARAMETERS, _described(finder))
        done = all(_fold_file(out, name, fold).is_file() for fold in range(settings.folds))
        if isinstance(finder, ThesisNetwork) and not done:
            finder.check()


def fit_fold(
    finder: ImageFinder,
    comparison: Comparison,
    fold: int,
    clock: Callable[[], float] = time.monotonic,
) -> FoldScores:
    """Fit a finder without a fold, and score that.

    Parameters
    ----------
    finder : ImageFinder
    comparison : Comparison
    fold : int
    clock : callable
        Seconds that never run backwards.
    """
    stamps, held_out = comparison.stamps, comparison.folds == fold
    begun = clock()
    finder.fit(stamps.flux[~held_out], stamps.labels[~held_out])
    fitted = clock()
    scores = finder.decision_function(stamps.flux[held_out])
    scored = clock()
    real = np.empty(0)
    if comparison.real is not None:
        real = finder.decision_function(comparison.real.flux)
    rate = int(held_out.sum()) / max(scored - fitted, 1e-9)
    return FoldScores(scores, real, fitted - begun, rate, finder.n_parameters_)


def _described(finder: ImageFinder) -> dict[str, Any]:
    """What decides a fit, whatever its fold: parameters without seed and place of weights."""
    parameters = {**finder.get_params(), "finder": type(finder).__name__}
    del parameters["random_state"]
    if "weights" in parameters:
        parameters["weights"] = Path(parameters["weights"]).name
    return parameters


def _fold_file(out: Path, name: str, fold: int) -> Path:
    return out / name / f"fold-{fold}.npz"


def _write(path: Path, scores: FoldScores) -> None:
    sweep(path.parent, ".*.partial")
    with whole_file(path) as aside, aside.open("wb") as file:
        np.savez(file, **vars(scores))


def _read(out: Path) -> tuple[dict[str, dict[int, FoldScores]], dict[str, dict[str, Any]]]:
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
