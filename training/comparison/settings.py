"""What one comparison is asked to do."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lensweep.ground.errors import InputError
from lensweep.ground.settings import check_seed, check_types, one_of, setting, within
from lensweep.training.data.protocols import PROTOCOLS, check_augmented

OPTIMIZERS = ("sgd", "rmsprop", "adam", "nadam")


@dataclass(frozen=True)
class ComparisonSettings:
    """Which finders, on what, and how long they are trained.

    Attributes
    ----------
    finders : tuple of str
        Names of `lensweep.training.comparison.finders.FINDERS`; none: all.
    cutouts : int
        How many of the set, from the first; 0: all.
    epochs : int
        Passes of the networks; 0: each as its authors trained it, or we where they do not say.
    learning_rate : float
        At which the networks begin; 0: likewise.
    folds, seed : int
    protocol : str
        ``grouped`` by object, or ``thesis``: augmented first, split after, which leaks.
    augmented_lenses, augmented_others : int
        To how many cutouts each class is augmented beforehand; 0 and 0: it is not.
    input_px : int
        What the thesis' networks see; 0: what each was pretrained on.
    optimizer : str
        With which the thesis' networks are trained: one of `OPTIMIZERS`.
    weights : tuple of str
        ``BACKBONE=FILE``: ImageNet weights that Keras need not download.
    stamps : str, optional
        Folder of real images with a ``MANIFEST.csv``.
    fields : int
        Simulated fields without lenses on which the candidates of networks are counted.
    field_px : int
        Side of each.
    """

    finders: tuple[str, ...] = setting(
        (),
        "gaussian-mixture, kernel-pca-trees, kernel-pca-network, lensflow, deeplens, or "
        "BACKBONE-frozen, BACKBONE-trained, BACKBONE-xavier; repeatable; all by default.",
        "--finders",
    )
    cutouts: int = setting(0, "Cutouts of the set, from the first; 0: all.")
    epochs: int = setting(0, "Passes of the networks; 0: each by its own recipe.")
    learning_rate: float = setting(0.0, "Of the networks; 0: each by its own recipe.")
    folds: int = setting(7, "Folds.")
    seed: int = setting(2018, "Of folds and trainings.")
    protocol: str = setting("grouped", "grouped, or thesis: augment first, split after.")
    augmented_lenses: int = setting(0, "Augment the lenses to so many first (thesis: 15000).")
    augmented_others: int = setting(0, "And the others (thesis: 13239).")
    input_px: int = setting(0, "Pixels a side for the thesis' networks; 0: as pretrained.")
    optimizer: str = setting("adam", "Of the thesis' networks: sgd, rmsprop, adam or nadam.")
    weights: tuple[str, ...] = setting(
        (), "BACKBONE=FILE, ImageNet weights without the top; repeatable.", "--weights"
    )
    stamps: str | None = setting(None, "Folder of real images with a MANIFEST.csv to score.")
    fields: int = setting(0, "Simulated fields without lenses to scan with each network.")
    field_px: int = setting(3000, "Pixels a side of each field.")

    def __post_init__(self) -> None:
        check_types(self)
        one_of("protocol", self.protocol, PROTOCOLS)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name, high in (("cutouts", 1e8), ("epochs", 1e4), ("input_px", 4096), ("fields", 1e4),
                           ("augmented_lenses", 1e8), ("augmented_others", 1e8)):  # fmt: skip
            within(name, getattr(self, name), 0, high)
        check_seed(self.seed)
        within("learning_rate", self.learning_rate, 0.0, 1.0)
        within("folds", self.folds, 2, 100)
        within("field_px", self.field_px, 600, 30000)
        check_augmented(self.protocol, self.augmented_lenses, self.augmented_others)
        if self.stamps is not None and not (Path(self.stamps) / "MANIFEST.csv").is_file():
            raise InputError(f"stamps {self.stamps}: no MANIFEST.csv in it")
        for one in self.weights:
            if not one.partition("=")[2]:
                raise InputError(f"weights = {one!r}: must be BACKBONE=FILE")

    @property
    def weight_files(self) -> dict[str, str]:
        """Files of weights by backbone."""
        return {
            backbone: path for backbone, _, path in (one.partition("=") for one in self.weights)
        }

    @property
    def folding(self) -> dict[str, int | str]:
        """What decides the folds: a folder of results holds one kind of them."""
        names = ("cutouts", "folds", "seed", "protocol", "augmented_lenses", "augmented_others")
        return {name: value for name, value in dataclasses.asdict(self).items() if name in names}
