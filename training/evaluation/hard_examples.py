"""Hard examples: of a labelled set, what an ensemble is most wrong about, and some of the rest.

A network learns little from what it knows, and looking at a cutout takes a third of the time of
learning from it: of a set that is drawn large and sifted, more is learned in the same time.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client
from numpy.typing import NDArray

from lensweep.ground.progress import Progress
from lensweep.scanner.network.bundle_store import Bundle
from lensweep.scanner.run import cutout_store
from lensweep.scanner.run.cutout_store import Cutouts
from lensweep.training.data import labelled_set
from lensweep.training.data.examples import OBJECT, Examples, open_examples
from lensweep.training.evaluation.evaluate import score_examples

PLAN = "plan.parquet"
# Of the rest, so that what is known is not forgotten: half as many as hard ones.
OTHERS_SHARE = 0.5


def sift(
    examples: Examples, n_hard: int, bundle: Bundle, seed: int, out: Path, client: Client,
    progress: Progress,
) -> Examples:  # fmt: skip
    """Make a labelled set of what an ensemble is most wrong about; a stopped one continues.

    Parameters
    ----------
    examples : Examples
    n_hard : int
        Cutouts of which its mean logit, of first looks, has the largest cross-entropy; half as many
        of the rest are drawn at random, as far as there are.
    bundle : Bundle
    seed : int
    out : Path
        Receives `cutouts.zarr`, `truth/` and `plan.parquet`; `logits.zarr` is for restarts.
    client : distributed.Client
    progress : Progress

    Returns
    -------
    Examples
        With ``row``, the number in the set that each is from, and ``logit_mean``; in an order of no
        meaning.

    Raises
    ------
    InputError
        If the folder holds another set.
    """
    asked = {"kind": "hard", "n_hard": n_hard, "ensemble": bundle.sha256, "seed": seed,
             "data": examples.fingerprint}  # fmt: skip
    labelled_set.claim(out, asked)
    path = out / PLAN
    if not path.is_file():
        logits = score_examples(
            bundle, examples, out / "logits.zarr", client, progress, second_looks=False
        ).mean(axis=1, dtype=np.float64)
        labelled_set.write_rows(_chosen(examples, n_hard, logits, seed), path)
    labelled_set.fill(out, f"hard-{seed}", len(pd.read_parquet(path)), make_shard, client,
                      progress, plan=path, store=examples.store.absolute())  # fmt: skip
    return open_examples(out, both_classes=False)


def make_shard(start: int, stop: int, plan: Path, store: Path) -> tuple[Cutouts, pd.DataFrame]:
    """The cutouts of some rows of a plan, from the set that they are from; their truth."""
    rows = pd.read_parquet(plan).iloc[start:stop].reset_index(drop=True)
    return cutout_store.gather([(store, int(row)) for row in rows["row"]]), rows


def loss_of(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cross-entropy: how wrong a logit is about a label."""
    return np.asarray(np.logaddexp(0.0, np.where(labels, -logits, logits)))


def _chosen(
    examples: Examples, n_hard: int, logits: NDArray[np.float64], seed: int
) -> pd.DataFrame:
    rng = np.random.default_rng([seed, 91])
    hardest_first = np.argsort(-loss_of(logits, examples.labels), kind="stable")
    hard, rest = hardest_first[:n_hard], hardest_first[n_hard:]
    others = rng.choice(rest, min(round(OTHERS_SHARE * n_hard), len(rest)), replace=False)
    rows = rng.permutation(np.concatenate([hard, others]))
    chosen = examples.truth.iloc[rows].reset_index(drop=True)
    return chosen.assign(row=rows, logit_mean=logits[rows], **{OBJECT: examples.objects[rows]})
