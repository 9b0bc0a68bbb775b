"""Measure a bundle on labelled cutouts, on a cluster."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from lensweep.ground.errors import InputError
from lensweep.ground.outputs import check_folder, refuse_strangers
from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle, check_bundle
from lensweep.scanner.network.ensemble import Scoring
from lensweep.scanner.work.tasks import load_ensemble
from lensweep.training.data.examples import Examples, open_examples, read_flux
from lensweep.training.data.rows import fill_rows
from lensweep.training.evaluation.report import read_curves, write_report
from lensweep.training.evaluation.result_tables import Evaluation
from lensweep.training.fit.bundle import CONFIG

LOGITS = "logits.zarr"


@dataclass(frozen=True)
class Asked:
    """An ensemble and labelled cutouts that have been looked at, and where the results go."""

    workdir: Path | None
    bundle: Bundle
    examples: Examples
    out: Path


def open_evaluation(target: str, data: Path | None, out: Path | None) -> Asked:
    """Check a request; needs no cluster.

    Parameters
    ----------
    target : str
        A shipped ensemble, a bundle's folder, or the folder of `lensweep train`.
    data : Path or None
        Folder of a labelled set; of a training folder its own test set by default.
    out : Path or None
        Folder for the results; `evaluation` in a training folder by default.

    Raises
    ------
    InputError
        If there is no bundle or no usable data set, or it is not said where to, or that folder
        cannot be written to.
    """
    workdir = Path(target) if (Path(target) / CONFIG).is_file() else None
    bundle = check_bundle(str(_bundle_of(workdir)) if workdir else target)
    data = data or (_test_set(workdir) if workdir else None)
    named, out = out, out or (workdir / "evaluation" if workdir else None)
    if data is None or out is None:
        raise InputError(f"ensemble {target}: give --data, labelled cutouts, and --out, a folder")
    examples = open_examples(data)
    check_folder(out)
    if named is not None:
        refuse_strangers(out, LOGITS)
    return Asked(workdir, bundle, examples, out)


def evaluate(asked: Asked, client: Client, progress: Progress) -> Path:
    """Score a labelled data set with a bundle and write what comes of it; its `results.md`."""
    bundle, examples, workdir = asked.bundle, asked.examples, asked.workdir
    logits = score_examples(bundle, examples, asked.out / LOGITS, client, progress)
    evaluation = Evaluation(bundle.description, str(examples.folder), examples.truth, logits)
    return write_report(evaluation, asked.out, read_curves(workdir) if workdir else None)


def score_examples(
    bundle: Bundle, examples: Examples, kept: Path, client: Client, progress: Progress,
    second_looks: bool = True,
) -> NDArray[np.float32]:  # fmt: skip
    """Score labelled cutouts with every member; what an earlier run has scored is kept.

    Parameters
    ----------
    bundle : Bundle
    examples : Examples
    kept : Path
        Zarr array.
    client : distributed.Client
    progress : Progress
    second_looks : bool
        Look again at what looks like a lens, where the ensemble does: more than twice the time.

    Returns
    -------
    ndarray, shape (n, members), float32
    """
    store = examples.store.absolute()
    shape = (len(examples), len(bundle.description.members))
    made_from = {
        "ensemble_sha256": bundle.sha256, "cutouts": str(store),
        "cutouts_sha256": examples.fingerprint,
    } | ({} if second_looks else {"second_looks": False})  # fmt: skip
    return fill_rows(
        kept, shape, made_from, _logits, client, progress, "scoring", store=store,
        scoring=Scoring(bundle.folder, bundle.sha256, "full", "off"), second_looks=second_looks,
    )  # fmt: skip


def _logits(
    start: int, stop: int, store: Path, scoring: Scoring, second_looks: bool
) -> NDArray[np.float32]:
    ensemble, flux = load_ensemble(scoring), read_flux(store, np.arange(start, stop))
    return ensemble.logits(flux) if second_looks else ensemble.first_look(flux)


def _config(workdir: Path) -> dict[str, str]:
    config: dict[str, str] = json.loads((workdir / CONFIG).read_text())
    return config


def _bundle_of(workdir: Path) -> Path:
    return workdir / _config(workdir)["name"]


def _test_set(workdir: Path) -> Path:
    data = _config(workdir).get("data")
    return (Path(data) if data else workdir) / "test"
