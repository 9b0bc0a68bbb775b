"""From a config to an ensemble bundle: cutouts, folds, trunk, heads, bundle, results."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.ground.asked import first_change
from lensweep.ground.atomic import write_json
from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import (
    MANIFEST,
    Bundle,
    Heads,
    check_bundle,
    sha256_of,
    write_manifest,
)
from lensweep.scanner.network.ensemble import (
    LEAST_WINDOWS,
    Description,
    PrecisionCheck,
    Trunk,
)
from lensweep.scanner.network.networks import on_gpu
from lensweep.scanner.network.reference import write_reference
from lensweep.training.data.augment import materialise
from lensweep.training.data.examples import OBJECT, Examples, check_classes, open_examples
from lensweep.training.data.folds import assign_folds, leaked_fraction
from lensweep.training.data.labelled_set import read_truth
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.evaluation.hard_examples import sift
from lensweep.training.evaluation.report import RESULTS, read_curves, write_report
from lensweep.training.evaluation.result_tables import Evaluation
from lensweep.training.fit.bundle import CONFIG, Scores, write_bundle, write_scores
from lensweep.training.fit.config import TrainConfig
from lensweep.training.fit.cross_validation import Members, cross_validate, grouped_instead
from lensweep.training.fit.keras_on_tensorflow import keras
from lensweep.training.fit.metrics import measure
from lensweep.training.fit.precision import check_precision, make_reference
from lensweep.training.fit.pretrained import find_weights
from lensweep.training.fit.screen import Screening, judge_screen, kept_screen, train_screen
from lensweep.training.simulation.simulate import VERSION


class Rounds(Sequence[list[Examples]]):
    """The sets of every round of adapting; who asks for one that is still simulated waits for it.

    Parameters
    ----------
    rounds : sequence of callable
        Each waits for the sets of a round and returns them.
    """

    def __init__(self, rounds: Sequence[Callable[[], list[Examples]]]) -> None:
        self._rounds = rounds

    @overload
    def __getitem__(self, number: int) -> list[Examples]: ...
    @overload
    def __getitem__(self, number: slice) -> "Rounds": ...

    def __getitem__(self, number: int | slice) -> "list[Examples] | Rounds":
        if isinstance(number, slice):
            return Rounds(self._rounds[number])
        return self._rounds[number]()

    def __len__(self) -> int:
        return len(self._rounds)


@dataclass(frozen=True)
class Sets:
    """Labelled cutouts, apart by object: to adapt on, to cross-validate on, to measure on.

    Those to adapt on are several sets for every round; the screen learns from all of the first.
    """

    adapt: Sequence[list[Examples]]
    screen: list[Examples]
    train: Examples
    test: Examples


def train(config: TrainConfig, workdir: Path, client: Client, progress: Progress) -> Path:
    """Train an ensemble; a stopped run continues.

    Parameters
    ----------
    config : TrainConfig
    workdir : Path
        Keeps all intermediate results; receives the bundle, and its results in `evaluation`.
    client : distributed.Client
        Where cutouts are simulated and features computed.
    progress : Progress

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    InputError
        If the folder holds the work of another config, or weights or cutouts cannot be used.
    """
    weights = check_training(config, workdir)
    folder = workdir / config.name
    page = workdir / "evaluation" / RESULTS
    if (folder / MANIFEST).is_file() and page.is_file():
        return folder
    sets = prepare_sets(config, workdir, client, progress)
    folds = assign_folds(
        sets.train.labels, sets.train.objects, config.n_folds, config.seed, config.protocol
    )
    members = cross_validate(
        config, sets.adapt, sets.train, sets.test, folds, workdir, client, progress
    )
    scores = gather_scores(config, sets, folds, members)
    write_scores(workdir, scores)
    training = describe_training(config, weights, sets)
    if config.protocol == "thesis":
        training["leak"] = measure_leak(config, sets.train, folds, members, workdir, progress)
    screen, network = None, None
    if config.screen_epochs:
        network = train_screen(config, sets.screen, workdir / "screen", progress)
    elif config.init == "bundle":
        network = kept_screen(config.weights)
    if network is not None:
        screen = judge_screen(network, sets.train, members.out_of_fold)
        progress.note(f"screen: {json.dumps(screen.metrics)}")
    made = _write(folder, config, members, scores, training, screen)
    precision = _compare_precision(made, sets, progress)
    write_reference(folder, *make_reference(made, sets.test.store))
    described = dataclasses.replace(made.description, precision=precision)
    write_manifest(folder, described, made.files)
    write_report(_evaluation(described, scores), page.parent, read_curves(workdir))
    progress.note(f"wrote {folder}\nwrote {page}")
    return folder


def check_training(config: TrainConfig, workdir: Path) -> Path | None:
    """Look for all that a training reads, and begin or continue its folder; needs no cluster.

    Returns
    -------
    Path or None
        The trunk's initial weights.

    Raises
    ------
    InputError
        If weights or a folder of cutouts are not there, or the folder holds the work of another
        config or cannot be written to.
    """
    weights = find_weights(config.backbone, config.init, config.weights, config.weights_sha256)
    data = Path(config.data)
    needed = [data / name for name in ("train", "test")] if config.data else []
    for folder in (*needed, *map(Path, config.adapt_also)):
        if not folder.is_dir():
            raise InputError(f"data set {folder}: no such folder; simulate, collect or mine it")
    check_folder(workdir, "training folder")
    claim(workdir, config)
    return weights


def claim(workdir: Path, config: TrainConfig) -> None:
    """Begin a training in a folder, or continue the one that is there.

    Raises
    ------
    InputError
        If the folder holds the work of another config.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / CONFIG
    asked = json.loads(json.dumps(dataclasses.asdict(config)))
    # Where the weights lie does not matter: they are known by their hash.
    asked["weights"] = Path(config.weights).name
    if not config.data:
        asked["simulation"] = VERSION
    if not path.is_file():
        write_json(path, asked)
        return
    found = json.loads(path.read_text())
    change = first_change(found | {"weights": asked["weights"]}, asked)
    if change is not None:
        raise InputError(
            f"training folder {workdir}: holds the work of another config ({change.key} was "
            f"{change.was!r}, now {change.now!r}); name a new folder, or give the "
            f"config in {path.name} to continue it"
        )


def prepare_sets(config: TrainConfig, workdir: Path, client: Client, progress: Progress) -> Sets:
    """Simulate the cutouts, or open those that are given; augment first where that is asked.

    Where a GPU adapts the trunk, the rounds after the first are simulated meanwhile.
    """

    def ready(name: str, n_cutouts: int, seed: int, hard_weight: int = 1) -> Examples:
        folder = (Path(config.data) if config.data else workdir) / name
        if not config.data:
            make_dataset(folder, n_cutouts, seed, client, progress, hard_weight)
        return open_examples(folder, n_cutouts, both_classes=not name.startswith("adapt"))

    def drawn_for(number: int) -> list[Examples]:
        name = f"adapt-{number + 1}" if number else "adapt"
        seed = config.of_round(number).seed
        return [ready(name, config.n_adapt, seed, config.hard_weight)] if config.n_adapt else []

    def taken_of(drawn: list[Examples], number: int) -> list[Examples]:
        if config.adapt_hardest:
            judge, out = check_bundle(config.weights), workdir / f"hard-{number + 1}"
            drawn = [sift(one, config.adapt_hardest, judge, config.of_round(number).seed, out,
                          client, progress) for one in drawn]  # fmt: skip
        check_classes(drawn + also)
        return drawn + also

    def ready_round(number: int) -> list[Examples]:
        return taken_of(drawn_for(number), number)

    also = [open_examples(Path(folder), both_classes=False) for folder in config.adapt_also]
    rounds = range(config.rounds if config.n_adapt or also else 0)
    first = drawn_for(0) if rounds else []
    adapt = [_made(taken_of(first, number)) for number in rounds[:1]]
    train = ready("train", config.n_train, config.seed + 1)
    test = ready("test", config.n_test, config.seed + 2)
    if on_gpu():
        ahead = ThreadPoolExecutor(1, "simulating")
        adapt += [ahead.submit(ready_round, number).result for number in rounds[1:]]
        ahead.shutdown(wait=False)
    else:
        adapt += [_made(ready_round(number)) for number in rounds[1:]]
    if not config.augmented_lenses:
        return Sets(Rounds(adapt), first + also, train, test)
    folder = workdir / "augmented"
    materialise(
        train, folder, config.augmented_lenses, config.augmented_others, config.seed,
        client, progress,
    )  # fmt: skip
    return Sets(Rounds(adapt), first + also, open_examples(folder), test)


def _made(sets: list[Examples]) -> Callable[[], list[Examples]]:
    return lambda: sets


def gather_scores(
    config: TrainConfig, sets: Sets, folds: NDArray[np.int64], members: Members
) -> Scores:
    """Out-of-fold and test logits as tables."""
    names = tuple(f"{config.backbone}-fold{fold}" for fold in range(config.n_folds))
    held_out = sets.train.truth.assign(
        **{OBJECT: sets.train.objects, "fold": folds, config.backbone: members.out_of_fold}
    )
    logits = pd.DataFrame(members.test_logits, sets.test.truth.index, names)
    return Scores(held_out, sets.test.truth.join(logits), {config.backbone: names})


def measure_leak(
    config: TrainConfig,
    train: Examples,
    folds: NDArray[np.int64],
    members: Members,
    workdir: Path,
    progress: Progress,
) -> dict[str, Any]:
    """What splitting after augmenting flatters: shared objects, and the same heads without."""
    leak: dict[str, Any] = {"held_out_with_a_copy_in_training": leaked_fraction(
        train.objects, folds)}  # fmt: skip
    if config.shares_trunk:
        honest = grouped_instead(config, train, members, workdir)
        for name, logits in (("leaking", members.out_of_fold), ("grouped", honest)):
            leak[name] = dataclasses.asdict(measure(logits, train.labels))
    progress.note(f"protocol thesis leaks: {json.dumps(leak)}")
    return leak


def describe_training(config: TrainConfig, weights: Path | None, sets: Sets) -> dict[str, Any]:
    """How a bundle was made, for its manifest."""
    asked: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    also = sets.adapt[0][-len(config.adapt_also) :] if sets.adapt and config.adapt_also else []
    return asked | {
        "weights": weights.name if weights else "",
        "weights_sha256": sha256_of(weights) if weights else "",
        "cutouts": config.data
        or "lensweep simulate; seed, seed + 1, seed + 2: adapt, train, test; seed + 10 (n - 1): "
        "adapt-n",
        "adapt_also_sha256": [one.fingerprint for one in also],
        "training_set_sha256": sets.train.fingerprint,
        "test_set_sha256": sets.test.fingerprint,
    }


def _compare_precision(bundle: Bundle, sets: Sets, progress: Progress) -> dict[str, PrecisionCheck]:
    """Whether this machine's reduced precision may be the default; nothing where it has none."""
    # What no head was trained on, as long as it is enough.
    compared = [sets.test] if len(sets.test) >= LEAST_WINDOWS else [sets.train, sets.test]
    if sum(map(len, compared)) < LEAST_WINDOWS:
        return {}
    labels = np.concatenate([read_truth(one.folder)["is_lens"] for one in compared])
    found = check_precision(bundle, [one.store for one in compared], labels)
    if found is None:
        return {}
    progress.note(f"{found[0]}: {found[1]}")
    return dict([found])


def _evaluation(described: Description, scores: Scores) -> Evaluation:
    members = [name for names in scores.members.values() for name in names]
    logits = scores.test[members].to_numpy(np.float64)
    truth = scores.test.drop(columns=members)
    return Evaluation(described, "its own test set", truth, logits)


def _write(
    folder: Path,
    config: TrainConfig,
    members: Members,
    scores: Scores,
    training: dict[str, Any],
    screen: Screening | None,
) -> Bundle:
    names = scores.members[config.backbone]
    weights = np.stack([head.weights for head in members.heads], axis=1).astype(np.float32)
    biases = np.array([head.bias for head in members.heads], np.float32)
    trunks = {
        name: keras.models.load_model(path, compile=False) for name, path in members.trunks.items()
    }
    heads: Heads = {config.backbone: (weights, biases)}
    described = [Trunk(config.backbone, names, config.second_look)]
    if not config.shares_trunk:
        heads = {name: (weights[:, [fold]], biases[[fold]]) for fold, name in enumerate(trunks)}
        described = [Trunk(name, (name,)) for name in trunks]
    return write_bundle(folder, config.name, trunks, heads, described, scores, training, screen)
