"""What one training run is asked to do."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import InputError

# Less does not fill one batch.
MIN_ADAPT = 64
PRESETS = Path(__file__).parent / "presets"


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
    weights : str
        File of the trunk's pretrained weights; a relative path starts at the working directory.
    adapted_blocks : int
        Last blocks of the trunk that are adapted once; 0 leaves it as it was pretrained.
    n_adapt : int
        Simulated cutouts on which they are.
    adapt_epochs : int
    adapt_learning_rate : float
    n_train : int
        Simulated cutouts on which the folds' heads are trained and calibrated.
    n_test : int
        Simulated cutouts on which the committee is measured.
    n_folds : int
    dropout : float
    head_epochs : int
    head_learning_rate : float
    """

    name: str
    seed: int
    backbone: str
    weights: str
    adapted_blocks: int
    n_adapt: int
    adapt_epochs: int
    adapt_learning_rate: float
    n_train: int
    n_test: int
    n_folds: int
    dropout: float
    head_epochs: int
    head_learning_rate: float

    def __post_init__(self) -> None:
        for field in ("n_train", "n_test", "n_folds", "head_epochs"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} = {getattr(self, field)}: must be at least 1")
        if self.n_folds < 2 or self.n_train < 2 * self.n_folds:
            raise InputError(
                f"n_folds = {self.n_folds} with n_train = {self.n_train}: "
                "need two folds or more, and two cutouts or more in each"
            )
        if self.adapted_blocks and (self.n_adapt < MIN_ADAPT or self.adapt_epochs < 1):
            raise InputError(
                f"adapted_blocks = {self.adapted_blocks} with n_adapt = {self.n_adapt} and "
                f"adapt_epochs = {self.adapt_epochs}: needs {MIN_ADAPT} cutouts and an epoch"
            )


def read_config(path: Path) -> TrainConfig:
    """Read a training config from TOML.

    Raises
    ------
    InputError
        If the file is not there, is not TOML, or has unknown, missing or unfit keys.
    """
    try:
        values = tomllib.loads(path.read_text())
        return TrainConfig(**values)
    except FileNotFoundError as error:
        raise InputError(f"training config {path}: no such file") from error
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise InputError(f"training config {path}: {error}") from error


def choose_config(preset: str | None, path: Path | None, weights: Path | None) -> TrainConfig:
    """The config that a command line asks for: a shipped preset or a file, one of them.

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
    config = read_config(path)
    return config if weights is None else dataclasses.replace(config, weights=str(weights))
