"""Members of an ensemble that are no networks: any estimator of cutouts, kept by skops.

It takes the place of a trunk whose one feature is its log-odds. No pickle: skops builds nothing
but scikit-learn's models and the finders of this package.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.network.looks import Looks
from lensweep.scanner.network.networks import Network, network_files
from lensweep.scanner.network.second_look import turned

# What a file may hold beside what skops trusts by itself: the finders of this package, trees, and
# what a network was trained with.
_FINDERS = "lensweep.training.published."
_SCIKIT_LEARN = {
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
}


def estimator_file(name: str) -> str:
    """The name of an estimator's file."""
    return f"{name}.skops"


def member_files(folder: Path, name: str) -> tuple[str, ...]:
    """The names of the files of a trunk or screen, of whichever kind it is."""
    own = estimator_file(name)
    return (own,) if (folder / own).is_file() else network_files(name)


def save_estimator(path: Path, estimator: Any) -> None:
    """Write a fitted estimator.

    Raises
    ------
    InputError
        If skops is not installed.
    """
    _skops().dump(estimator, path)


def read_estimator(path: Path) -> Any:
    """Read a fitted estimator.

    Raises
    ------
    EnsembleError
        If it is made of anything but scikit-learn's models and the finders of this package.
    InputError
        If skops is not installed.
    """
    io = _skops()
    unknown = io.get_untrusted_types(file=path)
    strange = [name for name in unknown
               if name not in _SCIKIT_LEARN and not name.startswith(_FINDERS)]  # fmt: skip
    if strange:
        raise EnsembleError(
            f"{path}: holds {', '.join(strange)}, which no finder is made of; get it from whoever "
            "made it, or fit it again"
        )
    return io.load(path, trusted=unknown)


def load_estimator(folder: Path, name: str) -> Network:
    """An estimator of a bundle, to be run as a network is: one feature, its log-odds."""
    estimator = read_estimator(folder / estimator_file(name))

    def run(looks: Looks) -> NDArray[np.float32]:
        flux = looks.flux.copy()
        for turn in set(looks.turn.tolist()) - {0}:
            rows = looks.turn == turn
            flux[rows] = turned(flux[rows], turn)
        return np.asarray(estimator.decision_function(flux), np.float32)[:, None]

    return run


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise InputError(
            "finders of scikit-learn are kept by skops: pip install 'lensweep[published]'"
        ) from error
    return skops.io
