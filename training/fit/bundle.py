"""From trained members to an ensemble bundle: measured, described."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lensweep.catalogs.tables import write_frame
from lensweep.scanner.network.bundle_store import (
    Bundle,
    Heads,
    without_manifest,
    write_files,
    write_screen_files,
)
from lensweep.scanner.network.ensemble import Description, Screen, Trunk
from lensweep.scanner.network.stretch import Stretch
from lensweep.scanner.sky.scale import CUTOUT_SIZE
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.metrics import FALSE_POSITIVE_RATES, measure, threshold, within_cuts
from lensweep.training.fit.screen import Screening

OUT_OF_FOLD, TEST_SCORES = "out_of_fold.parquet", "test_scores.parquet"
CONFIG = "config.json"


@dataclass(frozen=True)
class Scores:
    """What members make of cutouts that they were not trained on.

    Attributes
    ----------
    out_of_fold : DataFrame
        Truth of the training set, `fold`, and a column of logits per backbone: by the member that
        has not seen the cutout.
    test : DataFrame
        Truth of the test set, and a column of logits per member.
    members : dict of str to tuple of str
        By backbone.
    """

    out_of_fold: pd.DataFrame
    test: pd.DataFrame
    members: dict[str, tuple[str, ...]]

    @property
    def ensemble(self) -> NDArray[np.float64]:
        """Mean logit of all members on the test set."""
        names = [name for names in self.members.values() for name in names]
        return np.asarray(self.test[names].to_numpy(np.float64).mean(axis=1))

    @property
    def mean_out_of_fold(self) -> NDArray[np.float64]:
        """Mean over the backbones of the out-of-fold logits."""
        logits = self.out_of_fold[list(self.members)].to_numpy(np.float64)
        return np.asarray(logits.mean(axis=1))


def write_bundle(
    folder: Path,
    name: str,
    trunks: dict[str, keras.Model],
    heads: Heads,
    described: Sequence[Trunk],
    scores: Scores,
    training: dict[str, Any],
    screen: Screening | None = None,
) -> Bundle:
    """Measure an ensemble on cutouts, and write its bundle but for the manifest.

    What its scores are worth on fields is for `lensweep survey` to tell.

    Parameters
    ----------
    folder : Path
    name : str
    trunks : dict of str to keras.Model
    heads : dict of str to (weights, biases)
        By trunk.
    described : sequence of Trunk
    scores : Scores
    training : dict
        How it was made.
    screen : Screening, optional
    """
    test_labels = scores.test["is_lens"].to_numpy(bool)
    others = scores.ensemble[~test_labels]
    description = Description(
        name=name,
        trunks=tuple(described),
        stretch=Stretch(),
        band="F814W",
        pixel_scale_arcsec=0.05,
        cutout_size=CUTOUT_SIZE,
        thresholds={f"fpr_{rate:g}": threshold(others, rate) for rate in FALSE_POSITIVE_RATES},
        metrics=measure_all(scores),
        training=training,
        screen=None if screen is None else Screen(screen.threshold, False, screen.metrics),
    )
    write_files(folder, trunks, heads)
    if screen is not None:
        write_screen_files(folder, screen.network, np.ones(1, np.float32), 0.0)
    return without_manifest(folder, description)


def measure_all(scores: Scores) -> dict[str, Any]:
    """Performance out of fold, per fold and trunk, and on the test set."""
    rows, test = scores.out_of_fold, scores.test
    metrics = {
        **_with_and_without_cuts("out_of_fold", scores.mean_out_of_fold, rows),
        **_with_and_without_cuts("committee_on_test", scores.ensemble, test),
        "members_on_test": [
            _measured(test[name], test) for names in scores.members.values() for name in names
        ],
        "folds": {
            backbone: [_measured(part[backbone], part) for _, part in rows.groupby("fold")]
            for backbone in scores.members
        },
    }
    return metrics


def _with_and_without_cuts(
    name: str, logits: NDArray[np.float64], truth: pd.DataFrame
) -> dict[str, Any]:
    """`name`, and `name_within_cuts` where any lens is within them."""
    inside = within_cuts(truth)
    found = {name: _measured(logits, truth)}
    if truth["is_lens"].to_numpy(bool)[inside].any():
        found[f"{name}_within_cuts"] = _measured(logits[inside], truth[inside])
    return found


def _measured(logits: Any, truth: pd.DataFrame) -> dict[str, Any]:
    labels = truth["is_lens"].to_numpy(bool)
    return dataclasses.asdict(measure(np.asarray(logits, np.float64), labels))


def read_scores(workdir: Path, members: dict[str, tuple[str, ...]]) -> Scores:
    """The scores that a training kept in its folder."""
    out_of_fold, test = (pd.read_parquet(workdir / name) for name in (OUT_OF_FOLD, TEST_SCORES))
    return Scores(out_of_fold, test, members)


def write_scores(workdir: Path, scores: Scores) -> None:
    """Keep scores beside a training's other work."""
    write_frame(scores.out_of_fold, workdir / OUT_OF_FOLD)
    write_frame(scores.test.assign(logit_mean=scores.ensemble), workdir / TEST_SCORES)
