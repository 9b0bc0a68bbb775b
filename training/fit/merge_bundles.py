"""Several trained ensembles, each on a trunk of its own, made one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import (
    MANIFEST,
    SCREEN,
    Bundle,
    Heads,
    check_bundle,
    read_heads,
    write_manifest,
)
from lensweep.scanner.network.ensemble import Trunk
from lensweep.scanner.network.networks import load_network
from lensweep.training.fit.bundle import CONFIG, Scores, read_scores, write_bundle
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.screen import Screening

# What two trainings must share, so that no member of one has seen what the other holds out.
SHARED = ("seed", "n_folds", "protocol", "training_set_sha256", "test_set_sha256")


def merge_bundles(workdirs: Sequence[Path], folder: Path, name: str) -> Path:
    """One bundle of several trunks, each trained by `lensweep train` on the same cutouts.

    The screen is that of the first that has one.

    Parameters
    ----------
    workdirs : sequence of Path
        Finished training folders.
    folder : Path
        Receives the bundle.
    name : str

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    InputError
        If a training is not finished, was on other cutouts or folds, or of the same network.
    """
    bundles = [_finished(workdir) for workdir in workdirs]
    _check_alike(workdirs, [bundle.description.training for bundle in bundles])
    trunks: dict[str, keras.Model] = {}
    heads: Heads = {}
    described: list[Trunk] = []
    parts = []
    training: dict[str, Any] = {}
    for workdir, bundle in zip(workdirs, bundles, strict=True):
        backbone = bundle.description.training["backbone"]
        heads |= read_heads(bundle)
        for trunk in bundle.description.trunks:
            trunks[trunk.name] = load_network(Path(bundle.folder), trunk.name)
            described.append(trunk)
        parts.append(read_scores(workdir, {backbone: bundle.description.members}))
        training[backbone] = bundle.description.training
    scores = join_scores(parts)
    of_all = {"merged": training}
    screen = _first_screen(bundles)
    made = write_bundle(folder, name, trunks, heads, described, scores, of_all, screen)
    write_manifest(folder, made.description, made.files)
    return folder


def join_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of several trunks on the same cutouts, in one table each."""
    members = {key: names for part in parts for key, names in part.members.items()}
    out_of_fold, test = parts[0].out_of_fold.copy(), parts[0].test.copy()
    for part in parts[1:]:
        for backbone, names in part.members.items():
            out_of_fold[backbone] = part.out_of_fold[backbone]
            test[list(names)] = part.test[list(names)]
    return Scores(out_of_fold, test, members)


def _first_screen(bundles: Sequence[Bundle]) -> Screening | None:
    for bundle in bundles:
        screen = bundle.description.screen
        if screen is not None:
            network = load_network(Path(bundle.folder), SCREEN)
            return Screening(network, screen.threshold, screen.metrics)
    return None


def _finished(workdir: Path) -> Bundle:
    path = workdir / CONFIG
    if not path.is_file():
        raise InputError(f"training folder {workdir}: no {CONFIG}; run lensweep train there first")
    folder = workdir / json.loads(path.read_text())["name"]
    if not (folder / MANIFEST).is_file():
        raise InputError(f"training folder {workdir}: not finished; repeat its lensweep train")
    return check_bundle(str(folder))


def _check_alike(workdirs: Sequence[Path], trainings: list[dict[str, Any]]) -> None:
    if len(workdirs) < 2:
        raise InputError("merging takes two training folders or more")
    first = trainings[0]
    for workdir, training in zip(workdirs[1:], trainings[1:], strict=True):
        for field in SHARED:
            if training[field] != first[field]:
                raise InputError(
                    f"training folder {workdir}: {field} = {training[field]!r}, but "
                    f"{first[field]!r} in {workdirs[0]}: train both on the same cutouts and folds"
                )
    names = [training["backbone"] for training in trainings]
    if len(set(names)) < len(names):
        raise InputError(f"backbones {', '.join(names)}: each may be there once")
