"""What one training run is asked to do."""

import dataclasses
import re
from collections.abc import Collection
from dataclasses import MISSING, dataclass
from pathlib import Path

from lensweep.ground.errors import InputError
from lensweep.ground.settings import MOST_SEED, check_types, fill, read_toml, setting, within
from lensweep.training.data.protocols import PROTOCOLS, check_augmented
from lensweep.training.fit.backbones import BACKBONES

# Less does not fill one batch.
MIN_ADAPT = 64
# Between rounds, so that no set of cutouts takes the seed of another.
_SEEDS_APART = 10
PRESETS = Path(__file__).parent.parent / "presets"
CHOICES: dict[str, Collection[str]] = {
    "backbone": BACKBONES,
    "init": ("imagenet", "random", "file", "bundle"),
    "stem": ("fixed", "learned"),
    "protocol": PROTOCOLS,
    "augmentation": ("turns", "thesis"),
}
# A hundred million cutouts are 4 TB; passes and learning rates beyond these were never meant.
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, MOST_SEED), "input_size": (0, 4096), "n_adapt": (0, 1e8), "adapt_epochs": (0, 1e4),
    "adapt_learning_rate": (1e-9, 1.0), "adapt_rounds": (1, 100),
    "adapt_hardest": (0, 1e8), "n_train": (4, 1e8),
    "n_test": (1, 1e8), "n_folds": (2, 100), "dropout": (0.0, 0.99), "head_epochs": (1, 1e5),
    "head_learning_rate": (1e-9, 1.0), "hard_weight": (1, 1e4), "augmented_lenses": (0, 1e8),
    "augmented_others": (0, 1e8), "screen_epochs": (0, 1e4),
}  # fmt: skip
# It becomes a folder's name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a bundle, so that the same config makes it again.

    Attributes
    ----------
    name : str
        Of the ensemble.
    seed : int
        The three simulated sets take seed, seed + 1 and seed + 2: apart by object.
    backbone : str
        One of `lensweep.training.fit.backbones.BACKBONES`.
    init : str
        ``imagenet``, ``random``, ``file`` (weights of the network that somebody else trained) or
        ``bundle`` (a trunk of an ensemble).
    weights : str
        File of the weights; with ``imagenet`` empty for Keras' download. A relative path starts
        at the working directory.
    weights_sha256 : str
        What that file's SHA-256 must be; may be empty for files that are known.
    input_size : int
        Pixels a side that the network sees, to which the stem brings cutouts; 0 for what it was
        pretrained on.
    stem : str
        ``fixed``, bilinear and frozen, or ``learned``, trained through the network.
    trainable : str
        Beside the heads: ``head`` nothing, ``last-N`` the last N blocks, ``all`` the whole trunk.
    n_adapt : int
        Cutouts, apart from the folds', on which whatever is not frozen is trained once for all
        folds. With 0 every fold trains its own network, as the thesis did.
    adapt_epochs : int
    adapt_learning_rate : float
    adapt_rounds : int
        How often: every further round goes on with the trunk of the one before, warms up again,
        and takes `n_adapt` cutouts that are drawn anew, with a seed 10 higher.
    adapt_hardest : int
        Of the cutouts of a round only so many are taken, of which the ensemble that the training
        begins with is most wrong, and half as many others at random; 0: all of them. The screen
        learns from all.
    adapt_also : tuple of str
        Folders of more labelled sets (injected, collected, hard negatives) to adapt on.
    augmentation : str
        What is done to every cutout anew in every pass: ``turns``, flips and quarter turns, or
        ``thesis``, its rotations, zooms, shears and flips, and shifts.
    hard_weight : int
        How much more frequent hard confusers are among the simulated cutouts to adapt on.
    data : str
        Folder with `train`, `test` and, where asked for, `adapt` (and `adapt-2`, `adapt-3` for
        further rounds): labelled sets to take instead of simulating them.
    n_train : int
        Cutouts on which the folds' heads are trained and calibrated.
    n_test : int
        Cutouts on which the ensemble is measured.
    n_folds : int
    protocol : str
        ``grouped``: the copies of one object share a fold. ``thesis``: augmented first, split
        after, which leaks.
    augmented_lenses, augmented_others : int
        To how many cutouts the training set's lenses and others are augmented before the folds are
        trained; 0 and 0 leave it as it is. The thesis made 15,000 and 13,239.
    dropout : float
    head_epochs : int
    head_learning_rate : float
    second_look : float, optional
        Mean logit from which the members look at a cutout again, each turned its own way
        (`lensweep.scanner.network.second_look`); never without.
    screen_epochs : int
        Passes over the first round's cutouts to adapt on that train the screen; 0 for a bundle
        without one, or, with ``init = "bundle"``, with that ensemble's: its threshold alone is
        chosen anew.
    """

    name: str
    seed: int
    backbone: str
    input_size: int
    stem: str
    n_adapt: int
    adapt_epochs: int
    adapt_learning_rate: float
    n_train: int
    n_test: int
    n_folds: int
    dropout: float
    head_epochs: int
    head_learning_rate: float
    init: str = setting(MISSING, "imagenet, random, file, or bundle: an ensemble's trunk.")
    trainable: str = setting(MISSING, "head (the trunk stays frozen), last-N blocks, or all.")
    weights: str = setting("", "The trunk's pretrained weights, if elsewhere.")
    weights_sha256: str = ""
    adapt_rounds: int = 1
    adapt_hardest: int = 0
    adapt_also: tuple[str, ...] = ()
    augmentation: str = "turns"
    hard_weight: int = 1
    data: str = setting("", "Folder with labelled train, test, adapt sets of your own.")
    protocol: str = setting("grouped", "grouped, or thesis: augment first, split after.")
    augmented_lenses: int = 0
    augmented_others: int = 0
    second_look: float | None = None
    screen_epochs: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"name = {self.name!r}: must be letters, digits, '.', '_', '+' or '-'; the "
                "ensemble's folder is called that"
            )
        for field, (low, high) in _RANGES.items():
            within(field, getattr(self, field), low, high)
        self._check_choices()
        self._check_numbers()
        self._check_agreement()

    @property
    def last_blocks(self) -> int | None:
        """How many blocks are adapted: 0 for none, None for the whole trunk."""
        if self.trainable == "all":
            return None
        return 0 if self.trainable == "head" else int(self.trainable.removeprefix("last-"))

    @property
    def size_px(self) -> int:
        """Pixels a side that the network sees."""
        return self.input_size or BACKBONES[self.backbone].native_size

    @property
    def adapts(self) -> bool:
        """Whether more than the heads is trained."""
        return self.trainable != "head" or self.stem == "learned"

    @property
    def shares_trunk(self) -> bool:
        """Whether the folds share one trunk, and differ in their heads only."""
        return not self.adapts or self.n_adapt > 0

    @property
    def rounds(self) -> int:
        """How many sets to adapt on are drawn; only the screen needs one where no trunk does."""
        return self.adapt_rounds if self.adapts else 1

    def of_round(self, number: int) -> "TrainConfig":
        """The config with the seed of one round of adapting, counted from 0."""
        return dataclasses.replace(self, seed=self.seed + _SEEDS_APART * number)

    def _check_choices(self) -> None:
        for field, choices in CHOICES.items():
            if getattr(self, field) not in choices:
                raise InputError(
                    f"{field} = {getattr(self, field)!r}: not one of {', '.join(choices)}"
                )
        if not re.fullmatch(r"head|all|last-[1-9]\d*", self.trainable):
            raise InputError(f"trainable = {self.trainable!r}: not head, all or last-N")
        cuts = BACKBONES[self.backbone].cuts
        if self.last_blocks and self.last_blocks not in cuts:
            known = ", ".join(f"last-{n}" for n in sorted(cuts)) or "head and all only"
            raise InputError(
                f"trainable = {self.trainable!r}: {self.backbone} can be cut at {known}"
            )

    def _check_numbers(self) -> None:
        smallest = BACKBONES[self.backbone].smallest_size
        if self.size_px < smallest:
            raise InputError(
                f"input_size = {self.input_size}: {self.backbone} needs {smallest} pixels or more"
            )
        if self.n_train < 2 * self.n_folds:
            raise InputError(
                f"n_folds = {self.n_folds} with n_train = {self.n_train}: "
                "need two cutouts or more in each fold"
            )

    def _check_agreement(self) -> None:
        if self.adapts and self.adapt_epochs < 1:
            raise InputError(f"adapt_epochs = {self.adapt_epochs}: {self.trainable} needs a pass")
        if (self.adapts or self.screen_epochs) and 0 < self.n_adapt < MIN_ADAPT:
            raise InputError(f"n_adapt = {self.n_adapt}: needs {MIN_ADAPT} cutouts, or none")
        if self.adapt_rounds > 1 and not self.n_adapt:
            raise InputError(f"adapt_rounds = {self.adapt_rounds}: needs n_adapt, to draw anew")
        if self.adapt_hardest and self.init != "bundle":
            raise InputError(
                f"adapt_hardest = {self.adapt_hardest}: an ensemble tells what is hard; give init"
                " = 'bundle', or leave it out"
            )
        if self.adapt_hardest > self.n_adapt:
            raise InputError(
                f"adapt_hardest = {self.adapt_hardest}: n_adapt = {self.n_adapt} is less"
            )
        if self.screen_epochs and not self.n_adapt:
            raise InputError("screen_epochs without n_adapt: a screen is trained on cutouts apart")
        if self.second_look is not None and not self.shares_trunk:
            raise InputError(
                f"second_look = {self.second_look}: is for folds that share a trunk; give n_adapt, "
                "or leave it out"
            )
        if self.second_look is not None and self.protocol == "thesis":
            raise InputError(
                f"second_look = {self.second_look}: not with protocol thesis, whose leak "
                "is measured at the first look; leave it out"
            )
        check_augmented(self.protocol, self.augmented_lenses, self.augmented_others)
        if self.init == "file" and not (self.weights and self.weights_sha256):
            raise InputError("init = 'file': needs weights, a path, and weights_sha256")
        if self.init == "random" and self.weights:
            raise InputError(f"init = 'random' with weights = {self.weights!r}: drop one of them")
        if self.init == "bundle" and not self.weights:
            raise InputError("init = 'bundle': needs weights, an ensemble's name or folder")


def read_config(path: Path) -> TrainConfig:
    """Read a training config from TOML.

    Raises
    ------
    InputError
        If the file is not there, is not TOML, or has unknown, missing or unfit keys.
    """
    what = "training config"
    return fill(TrainConfig, read_toml(path, TrainConfig, what), f"{what} {path}")


def choose_config(
    preset: str | None, path: Path | None, **changes: str | int | None
) -> TrainConfig:
    """The config that a command line asks for: a shipped preset or a file, and what flags change.

    Parameters
    ----------
    preset, path : optional
        One of them.
    **changes
        Fields of `TrainConfig` to replace, where they are not None.

    Raises
    ------
    InputError
        If neither or both are given, or there is no such preset.
    """
    if (preset is None) == (path is None):
        raise InputError("give either --preset or --config")
    if preset is not None:
        path = PRESETS / f"{preset}.toml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in PRESETS.glob("*.toml")))
            raise InputError(f"preset {preset}: not one of {known}")
    assert path is not None
    given = {field: value for field, value in changes.items() if value is not None}
    if given.get("init") == "random":
        # The preset's weights have no part in it; weights that are asked for are refused.
        for field in ("weights", "weights_sha256"):
            given.setdefault(field, "")
    return dataclasses.replace(read_config(path), **given)  # type: ignore[arg-type]
