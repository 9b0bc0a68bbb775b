"""The outlook's experiments: each idea beside the small network, trained and tested on the same."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from lensweep.ground.asked import first_change
from lensweep.ground.errors import InputError
from lensweep.ground.files import whole_file
from lensweep.ground.outputs import check_folder
from lensweep.ground.progress import Progress
from lensweep.training.fit.metrics import measure
from lensweep.training.outlook.adversarial import (
    AdversarialNetwork,
    BinnedNetwork,
    GeneratedTraining,
)
from lensweep.training.outlook.capsules import CapsuleNetwork
from lensweep.training.outlook.colour_pictures import draw_colours
from lensweep.training.outlook.phase_stretch import PhaseStretchNetwork
from lensweep.training.outlook.pictures import draw_generated
from lensweep.training.outlook.settings import (
    ADDED_BANDS,
    IDEAS,
    OF_TWO_BANDS,
    TWO_BANDS,
    OutlookSettings,
)
from lensweep.training.outlook.small_network import SmallNetwork
from lensweep.training.outlook.spatial_transformer import SpatialTransformerNetwork
from lensweep.training.outlook.two_bands import (
    AddedBandsNetwork,
    TwoBandNetwork,
    with_second_band,
    write_two_band_bundle,
)
from lensweep.training.published.stamps import Stamps, read_stamps

# By name of `IDEAS`: what is trained, and beside which other it stands.
FINDERS: dict[str, tuple[Callable[..., SmallNetwork], str]] = {
    "small": (SmallNetwork, "small"),
    "phase-stretch": (PhaseStretchNetwork, "small"),
    "spatial-transformer": (SpatialTransformerNetwork, "small"),
    "capsules": (CapsuleNetwork, "small"),
    TWO_BANDS: (TwoBandNetwork, "small"),
    ADDED_BANDS: (AddedBandsNetwork, "small"),
    "binned": (BinnedNetwork, "binned"),
    "adversarial": (AdversarialNetwork, "binned"),
    "generated": (GeneratedTraining, "binned"),
}
TESTED, RESAMPLINGS = 0.25, 1000


@dataclass(frozen=True)
class Result:
    """What came of one idea.

    Attributes
    ----------
    name, beside : str
        Of `IDEAS`.
    trained, tested : int
        Cutouts.
    epochs, seed : int
    parameters : int
    roc_auc, roc_auc_low, roc_auc_high : float
        With its 95 % interval: lenses and others are both resampled.
    tpr_at_fpr_1e2, tpr_low, tpr_high : float
        Likewise.
    seconds : float
        Of the training.
    cutouts_sha256 : str
    """

    name: str
    beside: str
    trained: int
    tested: int
    epochs: int
    seed: int
    parameters: int
    roc_auc: float
    roc_auc_low: float
    roc_auc_high: float
    tpr_at_fpr_1e2: float
    tpr_low: float
    tpr_high: float
    seconds: float
    cutouts_sha256: str


def run_outlook(
    settings: OutlookSettings, data: Path, out: Path, progress: Progress, second: Path | None = None
) -> pd.DataFrame:
    """Train and test ideas; those that are finished are kept.

    Parameters
    ----------
    settings : OutlookSettings
    data : Path
        A labelled set.
    out : Path
        Folder of the results, a file for each, of ``generated.png`` and ``two-bands.png``, and of
        the ensemble ``two-bands``.
    progress : Progress
    second : Path, optional
        A set of the same scenes in another band.

    Returns
    -------
    DataFrame
        A row of `Result` for every idea.

    Raises
    ------
    InputError
        If a set cannot be used, or the folder holds results of another set.
    """
    check_folder(out)
    wanted = settings.ideas or tuple(name for name in IDEAS if second or name not in OF_TWO_BANDS)
    of_two = [name for name in wanted if name in OF_TWO_BANDS]
    if of_two and second is None:
        raise InputError(f"idea {of_two[0]}: needs a set in a second band; give --second-band")
    stamps = read_stamps(data)
    if second is not None and not of_two:
        raise InputError(f"--second-band {second}: no idea that was asked for looks at it; leave "
                         f"it out, or ask for {' or '.join(OF_TWO_BANDS)}")  # fmt: skip
    sets = dict.fromkeys(wanted, stamps)
    if of_two and second is not None:
        sets |= dict.fromkeys(of_two, with_second_band(stamps, second))
    is_test = held_out_part(stamps.objects, settings.seed)
    for part, members in (("test", is_test), ("training", ~is_test)):
        lenses, n = int(stamps.labels[members].sum()), int(members.sum())
        if lenses in (0, n):
            raise InputError(
                f"data set {data}: {lenses} of {n} cutouts of the {part} part are lenses, but both "
                "classes are needed; give more cutouts, or another --seed"
            )
    # Before anything is trained: what is there may be of another request.
    results = {name: _kept(out / f"{name}.json", sets[name], settings) for name in wanted}
    missing = [name for name, result in results.items() if result is None]
    stage = progress.stage("outlook", len(results), len(results) - len(missing), unit="ideas")
    for name in missing:
        result = results[name] = _measured(name, sets[name], is_test, settings, out)
        with whole_file(out / f"{name}.json") as aside:
            aside.write_text(json.dumps(asdict(result), indent=1) + "\n")
        progress.advance(stage, 1)
    return pd.DataFrame([asdict(result) for result in results.values() if result is not None])


def held_out_part(objects: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which cutouts test: those of a quarter of the objects."""
    numbers = np.unique(objects)
    chosen = np.random.default_rng([seed, 70]).permutation(numbers)[: round(TESTED * len(numbers))]
    return np.isin(objects, chosen)


def auc_interval(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """The 95 % interval of the area under the curve, with both classes resampled."""
    rng, classes = np.random.default_rng(2018), (scores[labels], scores[~labels])
    drawn = [_area(*(rng.choice(one, len(one)) for one in classes)) for _ in range(RESAMPLINGS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _area(lenses: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """The area under the curve: how often a lens scores higher; ties count half."""
    pairs = mannwhitneyu(lenses, others, method="asymptotic").statistic
    return float(pairs / (len(lenses) * len(others)))


def _kept(path: Path, stamps: Stamps, settings: OutlookSettings) -> Result | None:
    if not path.is_file():
        return None
    result = Result(**json.loads(path.read_text()))
    asked = {"cutouts_sha256": stamps.fingerprint, "epochs": settings.epochs, "seed": settings.seed}
    change = first_change({key: getattr(result, key) for key in asked}, asked)
    if change is not None:
        raise InputError(
            f"{path}: of another set, or of other epochs or seed ({change.key} was {change.was}, "
            f"now {change.now}); name a new folder"
        )
    return result


def _measured(
    name: str, stamps: Stamps, is_test: NDArray[np.bool_], settings: OutlookSettings, out: Path
) -> Result:
    make, beside = FINDERS[name]
    finder = make(epochs=settings.epochs, random_state=settings.seed)
    began = time.monotonic()
    finder.fit(stamps.flux[~is_test], stamps.labels[~is_test])
    seconds = time.monotonic() - began
    if isinstance(finder, AdversarialNetwork):
        draw_generated(finder, stamps.flux[is_test], stamps.labels[is_test], settings.seed,
                       out / "generated.png")  # fmt: skip
    scores, labels = finder.decision_function(stamps.flux[is_test]), stamps.labels[is_test]
    found = measure(scores, labels)
    if isinstance(finder, TwoBandNetwork):
        tested = stamps.flux[is_test]
        draw_colours({"lenses": tested[labels], "others": tested[~labels]}, out / f"{name}.png")
        made = {"cutouts_sha256": stamps.fingerprint, "epochs": settings.epochs,
                "seed": settings.seed, "roc_auc": found.roc_auc}  # fmt: skip
        write_two_band_bundle(out / name, finder, scores[~labels], made)
    return Result(
        name, beside, int((~is_test).sum()), int(is_test.sum()), settings.epochs, settings.seed,
        finder.n_parameters_, found.roc_auc, *auc_interval(scores, labels),
        found.tpr_at_fpr["0.01"], *found.intervals["0.01"], seconds, stamps.fingerprint,
    )  # fmt: skip
