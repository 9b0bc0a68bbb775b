"""What an ensemble is most wrong about, of a set of forty cutouts."""

import io
import time

import numpy as np
import pandas as pd
import pytest

from lensweep.ground.errors import InputError
from lensweep.ground.progress import PlainProgress
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.inference import Ensemble
from lensweep.scanner.run import cutout_store
from lensweep.training.data.examples import open_examples
from lensweep.training.data.simulated_set import make_dataset
from lensweep.training.evaluation.hard_examples import loss_of, sift

N, N_HARD = 40, 10


def progress():
    return PlainProgress(io.StringIO(), time.monotonic)


@pytest.fixture(scope="module")
def data(client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "set"
    make_dataset(folder, N, 3, client, progress())
    return folder


def sift_here(bundle, data, out, client, seed=4):
    bundle = check_bundle(str(bundle))
    return sift(open_examples(data), N_HARD, bundle, seed, out, client, progress())


@pytest.fixture(scope="module")
def sifted(second_look_bundle, data, client, tmp_path_factory):
    out = tmp_path_factory.mktemp("sifted") / "hard"
    return sift_here(second_look_bundle, data, out, client)


def test_the_hardest_are_kept_and_some_of_the_rest(sifted, data, second_look_bundle):
    examples, plan = open_examples(data), sifted.truth
    flux = cutout_store.read_column(data / "cutouts.zarr", "flux").astype(np.float32)
    ensemble = Ensemble(check_bundle(str(second_look_bundle)), "full", "off")
    logits = ensemble.first_look(flux).mean(axis=1)
    hardest = np.argsort(-loss_of(logits, examples.labels))[:N_HARD]
    assert set(hardest) <= set(plan["row"])
    assert plan["row"].nunique() == len(plan) == N_HARD + N_HARD // 2
    np.testing.assert_allclose(plan["logit_mean"], logits[plan["row"]], rtol=1e-4)
    # Lenses and others alike.
    assert 0 < plan["is_lens"].sum() < len(plan)


def test_cutouts_and_their_truth_are_those_of_the_set(sifted, data):
    truth = open_examples(data).truth
    before = cutout_store.read_column(data / "cutouts.zarr", "flux")
    after = cutout_store.read_column(sifted.store, "flux")
    for number, row in enumerate(sifted.truth["row"]):
        np.testing.assert_array_equal(after[number], before[row])
        assert sifted.truth["kind"][number] == truth["kind"][row]


def test_a_finished_one_is_not_repeated_and_another_is_refused(
    sifted, second_look_bundle, data, client
):
    out = sifted.folder
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    again = sift_here(second_look_bundle, data, out, client)
    pd.testing.assert_frame_equal(again.truth, sifted.truth)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    with pytest.raises(InputError, match=r"holds another data set \(seed was 4, now 5"):
        sift_here(second_look_bundle, data, out, client, seed=5)


@pytest.mark.parametrize(
    ("logit", "is_lens", "loss"),
    [
        (0.0, True, np.log(2.0)),  # undecided
        (20.0, True, 0.0),  # sure, and right
        (-20.0, True, 20.0),  # sure, and wrong
        (20.0, False, 20.0),
    ],
)
def test_how_wrong_a_logit_is(logit, is_lens, loss):
    found = loss_of(np.array([logit]), np.array([is_lens]))
    assert found == pytest.approx([loss], abs=1e-6)
