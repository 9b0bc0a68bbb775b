"""Learn from the grades of a run's candidates: better heads, a bundle, the run ranked again."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensweep.catalogs.schemas import with_provenance
from lensweep.catalogs.tables import write_parquet
from lensweep.ground.errors import InputError
from lensweep.ground.files import is_remote
from lensweep.ground.outputs import check_folder
from lensweep.ground.progress import Progress
from lensweep.ground.settings import at_least, check_seed
from lensweep.scanner.network.bundle_store import (
    Bundle,
    Heads,
    read_heads,
    sha256_of,
    with_other_heads,
)
from lensweep.scanner.network.ensemble import summarise
from lensweep.scanner.network.second_look import TURNS, after_looks
from lensweep.scanner.results.finished_run import bundle_of, read_facts
from lensweep.scanner.results.worth import (
    as_candidates,
    asked_of,
    find_field_scores,
    with_worth,
)
from lensweep.scanner.run.lock import sole_writer
from lensweep.scanner.run.opening import ranking_in
from lensweep.scanner.run.paths import RunPaths
from lensweep.training.learning.graded import Graded, read_graded_candidates
from lensweep.training.learning.kept_features import Looks, features_of
from lensweep.training.learning.step import (
    Axes,
    HeldOut,
    Step,
    choose_strength,
    fit_step,
    hold_out,
)

# As many candidates are ranked again, beside those that are graded: a minute on two cores.
TOP = 500
RANKING = "learned"


@dataclass(frozen=True)
class Learned:
    """What came of grades.

    Attributes
    ----------
    bundle : Bundle
    ranking : Path
        The run's catalogue, ranked again.
    held_out : HeldOut
    said : tuple of str
        What was made of the grades.
    """

    bundle: Bundle
    ranking: Path
    held_out: HeldOut
    said: tuple[str, ...]


def learn(
    root: Path,
    labels: Sequence[Path],
    out: Path | None,
    progress: Progress,
    ensemble: str | None = None,
    min_grade: str | None = None,
    top: int = TOP,
    seed: int = 2018,
) -> Learned:
    """Fit a run's ensemble to grades of its candidates, and rank the run again.

    Parameters
    ----------
    root : Path
        The run's folder.
    labels : sequence of Path
        Files of grades or labels; see `lensweep.training.learning.graded`.
    out : Path or None
        The new bundle's folder, not there yet; by default in the run's folder ``learned``.
    progress : Progress
    ensemble : str or None
        Where the run's ensemble lies, if it is not a shipped one.
    min_grade : str or None
    top : int
        First candidates that are ranked again.
    seed : int
        Of the folds in which labels are held out.

    Raises
    ------
    InputError
        If the run, its ensemble or the labels cannot be used, the folder is there, or labels that
        are held out are met no better: then no ensemble is written and no ranking.
    lensweep.scanner.run.lock.HeldError
        If another command is at work in the run.
    """
    at_least("top", top, 1)
    check_seed(seed)
    facts = read_facts(root)
    bundle = bundle_of(facts, ensemble)
    check_folder(_new_folder(root, out).parent)
    with RunPaths(root).candidates.open("rb") as file:
        candidates = pq.read_table(file).to_pandas().sort_values("rank", ignore_index=True)
    graded = read_graded_candidates(labels, candidates, facts, min_grade)
    chosen = np.union1d(np.arange(min(top, len(candidates))), graded.rows)
    windows = pd.MultiIndex.from_frame(candidates[["mosaic", "window"]].iloc[chosen])
    looks = features_of(root, bundle, windows, progress)
    heads = read_heads(bundle)
    seen, logits = mean_view(bundle, heads, looks)
    axes, of_graded = Axes.of(seen), np.searchsorted(chosen, graded.rows)
    fitted_to = seen[of_graded], logits[of_graded], graded.is_lens
    held_out = hold_out(axes, *fitted_to, seed)
    if not held_out.better:
        raise InputError(_no_better(held_out, graded))
    strength = choose_strength(axes, *fitted_to, seed)
    heads = stepped(bundle, heads, fit_step(axes, *fitted_to, strength))
    with sole_writer(RunPaths(root)):
        # Asked again, for another command may have taken that place meanwhile.
        folder = _new_folder(root, out)
        described = _described(bundle, folder.name, root, labels, graded, held_out, strength)
        new = with_other_heads(bundle, folder, described, heads)
        ranking = _rank_again(root, facts, candidates, chosen, new, heads, looks)
    return Learned(new, ranking, held_out, graded.said)


def mean_view(
    bundle: Bundle, heads: Heads, looks: Looks
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the mean member sees of candidates, and its logits.

    Parameters
    ----------
    bundle : Bundle
    heads : dict of str to (weights, biases)
    looks : list of ndarray, shape (turns, n, features), float32
        By trunk.

    Returns
    -------
    seen : ndarray, shape (n, features of all trunks), float64
        The mean over the members of the features that each looks at, zero where it reads another
        trunk: a step of the weights along them changes the mean logit so.
    logits : ndarray, shape (n,), float64
    """
    n_members = len(bundle.description.members)
    seen, logits = [], []
    for trunk, look in zip(bundle.description.trunks, looks, strict=True):
        weights, biases = heads[trunk.name]
        logits.append(after_looks(look, weights, biases, trunk.second_look))
        mean = look[0].astype(np.float64)
        if trunk.second_look is not None:
            first = look[0] @ weights + biases
            again = first.mean(axis=1) >= trunk.second_look
            turns = np.arange(len(trunk.members)) % TURNS
            mean[again] = look[turns][:, again].mean(axis=0, dtype=np.float64)
        seen.append(mean * (len(trunk.members) / n_members))
    return np.concatenate(seen, axis=1), np.concatenate(logits, axis=1).mean(axis=1)


def stepped(bundle: Bundle, heads: Heads, step: Step) -> Heads:
    """Heads after a step; those of one trunk all move alike."""
    moved: Heads = {}
    first = 0
    for trunk in bundle.description.trunks:
        weights, biases = heads[trunk.name]
        part = step.weights[first : first + len(weights)]
        moved[trunk.name] = (
            (weights + part[:, None]).astype(np.float32), (biases + step.bias).astype(np.float32)
        )  # fmt: skip
        first += len(weights)
    return moved


def _new_folder(root: Path, out: Path | None) -> Path:
    if out is None:
        if is_remote(root):
            raise InputError(f"run {root}: is in an object store; name a folder with --out")
        learned = RunPaths(root).learned
        rounds = (path.name.removeprefix("round-") for path in learned.glob("round-*"))
        last = max((int(number) for number in rounds if number.isdecimal()), default=0)
        return learned / f"round-{last + 1}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"bundle folder {out}: is there already; name a new one with --out")
    return out


def _no_better(held_out: HeldOut, graded: Graded) -> str:
    lenses = int(graded.is_lens.sum())
    return (
        f"{lenses} lenses and {len(graded.rows) - lenses} others were graded, and teach nothing: "
        f"held out of the fit, they are met with a log loss of {held_out.log_loss:.4f} (before: "
        f"{held_out.log_loss_before:.4f}) and a ROC AUC of {held_out.roc_auc:.4f} (before: "
        f"{held_out.roc_auc_before:.4f}); no ensemble was written, and no ranking: "
        "keep the ensemble, or grade more"
    )


def _described(
    bundle: Bundle, name: str, root: Path, labels: Sequence[Path], graded: Graded,
    held_out: HeldOut, strength: float,
) -> Any:  # fmt: skip
    """The new bundle: what it was, but for its name, its measured performance and its history."""
    before = bundle.description
    learned = {
        "parent": before.name, "parent_sha256": bundle.sha256, "run": root.name,
        "labels_sha256": [sha256_of(path) for path in labels],
        "lenses": int(graded.is_lens.sum()), "others": int((~graded.is_lens).sum()),
        "strength": strength, "held_out": dataclasses.asdict(held_out),
        "carried_over": ["fields", "thresholds", "screen", "precision"],
        "metrics_of_parent": before.metrics,
    }  # fmt: skip
    history = [*before.training.get("learned", []), learned]
    return dataclasses.replace(
        before, name=name, metrics={"held_out_grades": learned["held_out"]},
        training=before.training | {"learned": history},
    )  # fmt: skip


def _rank_again(
    root: Path, facts: dict[str, str], candidates: pd.DataFrame, chosen: NDArray[np.int64],
    bundle: Bundle, heads: Heads, looks: Looks,
) -> Path:  # fmt: skip
    """Order the candidates by what the new heads make of the chosen ones; write the catalogue."""
    description = bundle.description
    logits = np.concatenate(
        [after_looks(look, *heads[trunk.name], trunk.second_look)
         for trunk, look in zip(description.trunks, looks, strict=True)], axis=1,
    ).astype(np.float32)  # fmt: skip
    table, columns = candidates.copy(), ["p_mean", "p_std", "logit_mean"]
    for name, values in zip(columns, summarise(logits), strict=True):
        table.loc[table.index[chosen], name] = values
    table = table.sort_values("logit_mean", ascending=False, kind="stable", ignore_index=True)
    table["rank"] = np.arange(1, len(table) + 1)
    centres = asked_of(facts)["centres"]
    scores = find_field_scores(bundle, RunPaths(root), centres)
    ranked = with_worth(table, scores, centres, ranking_in(facts)["lens_density"])
    rows = as_candidates(ranked)
    path = RunPaths(root).reranked(RANKING)
    more = {
        "ensemble": description.name, "ensemble_sha256": bundle.sha256,
        "learned": json.dumps(description.training["learned"][-1]),
        "ranked_again": str(len(chosen)),
    }  # fmt: skip
    write_parquet(with_provenance(rows.replace_schema_metadata(), facts | more), path)
    return path
