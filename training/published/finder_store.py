"""Finders on disk: `finder.json`, and networks as bundles keep them, or scikit-learn's by skops.

No pickle anywhere.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError
from lensweep.ground.files import remove_folder
from lensweep.ground.outputs import check_folder, refuse_strangers
from lensweep.scanner.network.estimators import read_estimator, save_estimator
from lensweep.scanner.network.networks import load_network, save_network
from lensweep.training.published.deeplens import DeepLens
from lensweep.training.published.image_finder import ImageFinder
from lensweep.training.published.lensflow import LensFlow
from lensweep.training.published.network_finder import NetworkFinder
from lensweep.training.published.thesis import ThesisNetwork

FORMAT, VERSION = "lensweep-finder", 1
MANIFEST, MODEL = "finder.json", "finder.skops"
NETWORKS: tuple[type[NetworkFinder], ...] = (LensFlow, DeepLens, ThesisNetwork)


def save_finder(finder: ImageFinder, where: str | Path) -> None:
    """Write a fitted finder into a folder that is whole or not there.

    Parameters
    ----------
    finder : ImageFinder
    where : str or Path
        Folder. A finder in it is replaced.

    Raises
    ------
    InputError
        If it needs skops, which is not installed, or the folder holds something else.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    check_is_fitted(finder, "classes_")
    folder = Path(where)
    check_folder(folder)
    refuse_strangers(folder, MANIFEST)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        aside = Path(scratch) / folder.name
        aside.mkdir()
        _write(finder, aside)
        remove_folder(folder)
        aside.rename(folder)


def _write(finder: ImageFinder, folder: Path) -> None:
    described: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "finder": type(finder).__name__,
    }  # fmt: skip
    if isinstance(finder, NetworkFinder):
        for name, network in finder.networks_.items():
            save_network(folder, name, network, half=False)
        described |= {
            "parameters": finder.get_params(), "classes": finder.classes_.tolist(),
            "networks": list(finder.networks_), "numbers": finder.numbers_,
        }  # fmt: skip
    else:
        save_estimator(folder / MODEL, finder)
    write_json(folder / MANIFEST, described)


def load_finder(where: str | Path) -> ImageFinder:
    """Read a fitted finder from its folder.

    Raises
    ------
    InputError
        If the folder holds none, or one of another version or of types that no finder is made of.
    """
    folder = Path(where)
    described = _described(folder)
    known = {kind.__name__: kind for kind in NETWORKS}
    if described["finder"] not in known:
        other: ImageFinder = read_estimator(folder / MODEL)
        return other
    finder = known[described["finder"]](**described["parameters"])
    finder.classes_ = np.array(described["classes"])
    finder.networks_ = {name: load_network(folder, name) for name in described["networks"]}
    finder.numbers_ = described["numbers"]
    return finder


def _described(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"finder {folder}: no {MANIFEST} in it; give the folder of a saved finder")
    described: dict[str, Any] = json.loads(path.read_text())
    found = described.get("format"), described.get("version")
    if found != (FORMAT, VERSION):
        raise InputError(
            f"finder {folder}: format {found[0]} version {found[1]}, but this lensweep reads "
            f"{FORMAT} version {VERSION}; fit it again"
        )
    return described
