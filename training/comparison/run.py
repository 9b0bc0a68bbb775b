"""Fit and score every finder on every fold; what is finished is kept, and a stopped run continues.

What is kept where: `lensweep.training.comparison.kept`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder, refuse_strangers
from lensweep.ground.progress import Progress
from lensweep.training.comparison.finders import FINDERS, chosen_finders
from lensweep.training.comparison.kept import (
    ASKED,
    FITTED,
    PARAMETERS,
    FoldScores,
    check_claim,
    claim,
    fold_file,
    read_folds,
    write_fold,
)
from lensweep.training.comparison.real_stamps import RealStamps, read_real_stamps
from lensweep.training.comparison.settings import ComparisonSettings
from lensweep.training.data.folds import assign_folds
from lensweep.training.published.finder_store import save_finder
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.network_finder import NetworkFinder
from lensweep.training.published.stamps import Stamps
from lensweep.training.published.thesis import ThesisNetwork

# Between the seeds of two folds.
_SEEDS_APART = 1000
LEAST_OF_CLASS = 5
# Cutouts that were augmented beforehand, in the folder of the results.
AUGMENTED = "augmented"


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


def open_comparison(settings: ComparisonSettings, stamps: Stamps, out: Path) -> Comparison:
    """Begin a comparison in a folder, or open the one that is there.

    Raises
    ------
    InputError
        If a finder cannot be fitted as asked (`check_finders`), the folder holds other folds or
        cannot be written to, or there are too few cutouts.
    """
    check_folder(out)
    refuse_strangers(out, ASKED, (AUGMENTED,))
    check_finders(settings, out)
    real = read_real_stamps(Path(settings.stamps)) if settings.stamps is not None else None
    folds = assign_folds(
        stamps.labels, stamps.objects, settings.folds, settings.seed, settings.protocol
    )
    _refuse_few(stamps.labels, folds)
    asked = settings.folding | {
        "cutouts_sha256": stamps.fingerprint,
        "stamps_sha256": None if real is None else real.fingerprint,
    }
    claim(out / ASKED, asked)
    return Comparison(stamps, folds, real, *read_folds(out))


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
        if not fold_file(out, name, fold).is_file()
    ]  # fmt: skip
    done = len(names) * settings.folds - len(missing)
    stage = progress.stage("comparing", len(names) * settings.folds, done, unit="folds")
    for name, fold in missing:
        finder = FINDERS[name].make(settings, settings.seed + _SEEDS_APART * (fold + 1))
        claim(out / name / PARAMETERS, _described(finder))
        scores = fit_fold(finder, comparison, fold)
        if settings.fields and isinstance(finder, NetworkFinder) and fold == 0:
            save_finder(finder, out / name / FITTED)
        write_fold(fold_file(out, name, fold), scores)
        progress.note(f"{name}, fold {fold}: fitted in {scores.fit_s:.0f} s")
        progress.advance(stage, 1)
    return Comparison(comparison.stamps, comparison.folds, comparison.real, *read_folds(out))


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
        done = all(fold_file(out, name, fold).is_file() for fold in range(settings.folds))
        if isinstance(finder, ThesisNetwork) and not done:
            finder.check()
            finder.find_weights()


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


def _refuse_few(labels: NDArray[np.bool_], folds: NDArray[np.int64]) -> None:
    """Some finders fit several distributions to each class, or hold a third of it out."""
    for fold in range(int(folds.max()) + 1):
        seen = labels[folds != fold]
        lenses = int(seen.sum())
        if min(lenses, len(seen) - lenses) < LEAST_OF_CLASS:
            raise InputError(
                f"{lenses} lenses and {len(seen) - lenses} others to learn from without fold "
                f"{fold}, but {LEAST_OF_CLASS} of each are needed; give a larger set"
            )


def _described(finder: ImageFinder) -> dict[str, Any]:
    """What decides a fit, whatever its fold: parameters without seed and place of weights."""
    parameters = {**finder.get_params(), "finder": type(finder).__name__}
    del parameters["random_state"]
    if "weights" in parameters:
        parameters["weights"] = Path(parameters["weights"]).name
    return parameters
