"""Finders as members and screens of ensembles: the same scores, and a scan with them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import scan_here, write_field
from toy_stamps import draw_toy

from lensweep.ground.errors import InputError
from lensweep.scanner.network.bundle_store import check_bundle
from lensweep.scanner.network.ensemble import EnsembleError
from lensweep.scanner.network.inference import Ensemble
from lensweep.training.published.deeplens import DeepLens
from lensweep.training.published.gaussian_mixture import MixtureFinder
from lensweep.training.published.lensflow import LensFlow
from lensweep.training.published.members import write_finder_bundle

# So low that all is above every threshold.
OTHERS = np.array([-1e6])


@pytest.fixture(scope="module")
def toy():
    return draw_toy(32)


@pytest.fixture(scope="module")
def lensflow(toy):
    finder = LensFlow(epochs=1, fine_epochs=1, batch_size=16, random_state=0)
    return finder.fit(*toy)


@pytest.fixture(scope="module")
def mixture(toy):
    return MixtureFinder(2, 1, random_state=0).fit(*toy)


@pytest.fixture(scope="module")
def deeplens():
    """As it begins, with one unit of three in each stage: to be trained would take it a minute."""
    finder = DeepLens()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lensweep.training.published.deeplens.UNITS", 1)
        finder.networks_ = {"network": finder.build((100, 100, 1))}
    finder.classes_ = np.array([False, True])
    return finder


def test_members_score_as_their_finders(toy, lensflow, mixture, deeplens, tmp_path):
    flux, _ = toy
    finders = {"lensflow": lensflow, "mixture": mixture, "deeplens": deeplens}
    bundle = write_finder_bundle(
        tmp_path / "three", finders, OTHERS, {"how": "toy"}, screen=lensflow
    )
    assert bundle.description.members == tuple(finders)
    loaded = Ensemble(bundle, precision="full", screen="on")
    logits = loaded.logits(flux[:6])
    fine = lensflow._ask(lensflow.networks_["fine"], flux[:6])
    # A bundle keeps kernels in half precision.
    assert logits[:, 0] == pytest.approx(fine, abs=0.02)
    assert logits[:, 1] == pytest.approx(mixture.decision_function(flux[:6]), rel=1e-4, abs=1e-3)
    assert logits[:, 2] == pytest.approx(deeplens.decision_function(flux[:6]), rel=0.03)
    # Of a LensFlow as the screen the coarse network is it, at its own cut.
    coarse = lensflow._ask(lensflow.networks_["coarse"], flux[:6])
    assert loaded.screen_logits(flux[:6]) == pytest.approx(coarse, abs=1e-3)
    assert loaded.screen_threshold == lensflow.numbers_["cut"]


def test_any_finder_can_be_the_screen(toy, lensflow, mixture, tmp_path):
    flux, _ = toy
    scores = mixture.decision_function(flux)
    cut = float(np.median(scores))
    bundle = write_finder_bundle(
        tmp_path / "screened", {"lensflow": lensflow}, OTHERS, {}, screen=mixture, screen_cut=cut
    )
    judged = Ensemble(bundle, precision="full").judge(flux)
    assert np.array_equal(judged.scored, judged.screen_logit >= cut)
    assert judged.screen_logit == pytest.approx(scores, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("others", [[], [1.0, np.nan]])
def test_thresholds_need_scores_that_are_numbers(mixture, others, tmp_path):
    with pytest.raises(InputError, match=r"log-odds of non-lenses, of which [01] are no number"):
        write_finder_bundle(tmp_path / "new", {"mixture": mixture}, np.array(others), {})
    with pytest.raises(InputError, match="no finders"):
        write_finder_bundle(tmp_path / "new", {}, OTHERS, {})
    assert not (tmp_path / "new").exists()


def test_lensflow_alone_brings_its_screen_and_beside_others_is_asked_for_one(
    toy, lensflow, mixture, tmp_path
):
    bundle = write_finder_bundle(tmp_path / "alone", {"lensflow": lensflow}, OTHERS, {})
    assert Ensemble(bundle, precision="full").screen_threshold == lensflow.numbers_["cut"]
    # In whichever order.
    finders = {"mixture": mixture, "lensflow": lensflow}
    with pytest.raises(InputError, match="name a screen"):
        write_finder_bundle(tmp_path / "both", finders, OTHERS, {})
    assert not (tmp_path / "both").exists()


def test_a_scan_takes_lensflow_and_a_mixture(client, lensflow, mixture, tmp_path):
    field = write_field(tmp_path / "field_f814w_drz.fits", seed=3)
    bundle = write_finder_bundle(
        tmp_path / "lensflow-and-mixture", {"lensflow": lensflow, "mixture": mixture}, OTHERS, {},
        screen=lensflow,
    )  # fmt: skip
    outcome = scan_here(client, tmp_path / bundle.description.name, [field], tmp_path / "run",
                        screen="off")  # fmt: skip
    assert outcome.exit_status == 0
    assert pq.read_metadata(outcome.paths.candidates).num_rows > 0


def test_a_bundle_with_a_strange_estimator_is_refused(toy, mixture, tmp_path, monkeypatch):
    class Strange(MixtureFinder):
        pass

    strange = Strange(2, 1, random_state=0).fit(*toy)
    bundle = write_finder_bundle(tmp_path / "strange", {"strange": strange}, OTHERS, {})
    assert check_bundle(bundle.folder).sha256 == bundle.sha256
    with pytest.raises(EnsembleError, match="Strange, which no finder is made of"):
        Ensemble(bundle)
