"""What an ensemble is: trunks, the members that read them, how far its numbers are trusted.

On disk it is a bundle; `bundle_store` beside this module knows the format. A trunk runs once for
all members that share it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.network.stretch import Stretch

# Reduced precision is used where it keeps the ranks this well.
LEAST_WINDOWS, LEAST_SPEARMAN, LEAST_SHARED, LARGEST_AUC_CHANGE = 10_000, 0.999, 98, 0.0005


class EnsembleError(InputError):
    """A bundle that cannot be used."""


@dataclass(frozen=True)
class Trunk:
    """One pretrained network of a bundle, and the members that read it.

    Attributes
    ----------
    name : str
        Also the stem of its files.
    members : tuple of str
        One per fold, in the order of the columns of its heads.
    second_look : float or None
        Mean logit of its members from which they look again (`second_look` says how).
    """

    name: str
    members: tuple[str, ...]
    second_look: float | None = None


@dataclass(frozen=True)
class FieldFacts:
    """The fields that tell what a score is worth; the scores are in a table of the bundle.

    Attributes
    ----------
    area_deg2 : float
        Searched for false candidates.
    n_fields : int
    n_lenses : int
        Planted, those that no candidate shows included.
    made_from : dict
        Which fields, which lenses, and how they were scanned.
    """

    area_deg2: float
    n_fields: int
    n_lenses: int
    made_from: dict[str, Any]


@dataclass(frozen=True)
class Screen:
    """A cheap first network, and how far it is trusted.

    Attributes
    ----------
    threshold : float
        Cutouts below this logit are not scored; from out-of-fold scores.
    on_by_default : bool
    metrics : dict
        What it loses and saves.
    """

    threshold: float
    on_by_default: bool
    metrics: dict[str, Any]


@dataclass(frozen=True)
class PrecisionCheck:
    """How well mean logits in a reduced precision agree with those in float32.

    Attributes
    ----------
    n_windows : int
        Cutouts compared.
    spearman : float
        Rank correlation.
    shared_top_100 : int
        Of the first hundred of both rankings.
    roc_auc_change : float
        Absolute.
    """

    n_windows: int
    spearman: float
    shared_top_100: int
    roc_auc_change: float

    @property
    def passed(self) -> bool:
        """Whether the reduced precision is the default."""
        return (
            self.n_windows >= LEAST_WINDOWS
            and self.spearman >= LEAST_SPEARMAN
            and self.shared_top_100 >= LEAST_SHARED
            and self.roc_auc_change < LARGEST_AUC_CHANGE
        )


@dataclass(frozen=True)
class Description:
    """Everything about a bundle but its numbers; `ensemble.json` without the file hashes.

    Attributes
    ----------
    name : str
    trunks : tuple of Trunk
    stretch : Stretch
    band : str
    pixel_scale_arcsec : float
    cutout_size : int
    thresholds : dict of str to float
        Mean logit at which simulated non-lenses pass at a rate: keys like `fpr_0.01`.
    metrics : dict
        As printed by `lensweep train`.
    training : dict
        The config, and what the training set was.
    screen : Screen or None
    precision : dict of str to PrecisionCheck
        By reduced precision: `bfloat16`, `float16`.
    fields : FieldFacts or None
        None where it has not been measured on fields: nothing tells then what a score is worth.
    second_band : str or None
        The filter that its networks need beside `band`; `two_bands` says what they are shown.
    """

    name: str
    trunks: tuple[Trunk, ...]
    stretch: Stretch
    band: str
    pixel_scale_arcsec: float
    cutout_size: int
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    training: dict[str, Any]
    screen: Screen | None = None
    precision: dict[str, PrecisionCheck] = field(default_factory=dict)
    fields: FieldFacts | None = None
    second_band: str | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """All members, in the order of the columns of the logits."""
        return tuple(member for trunk in self.trunks for member in trunk.members)


@dataclass(frozen=True)
class Scoring:
    """What a worker is told of an ensemble, and of how to score with it.

    Attributes
    ----------
    folder, sha256 : str
        Of a `Bundle`.
    precision, screen : str
        As `lensweep.scanner.network.inference.Ensemble` takes them.
    """

    folder: str
    sha256: str
    precision: str = "auto"
    screen: str = "auto"


def summarise(
    logits: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mean probability, its spread over the members, and mean logit of every cutout.

    Parameters
    ----------
    logits : ndarray, shape (n, members), float32

    Returns
    -------
    p_mean, p_std, logit_mean : ndarray, shape (n,), float32
        `p_std` is the sample standard deviation: it measures what training and, after a second
        look, turning the cutout change.
    """
    probability = sigmoid(logits.astype(np.float64))
    spread = probability.std(axis=1, ddof=min(1, logits.shape[1] - 1))
    return (
        probability.mean(axis=1).astype(np.float32),
        spread.astype(np.float32),
        logits.mean(axis=1).astype(np.float32),
    )


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))
