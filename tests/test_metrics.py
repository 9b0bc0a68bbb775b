import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from lensweep.training.fit.metrics import (
    measure,
    passed_by,
    rate_intervals,
    threshold,
    within_cuts,
)


def test_perfect_scores():
    labels = np.arange(200) < 100
    metrics = measure(np.where(labels, 5.0, -5.0), labels)
    assert (metrics.roc_auc, metrics.f1, metrics.tpr_before_first) == (1.0, 1.0, 1.0)
    assert metrics.tpr_at_fpr == {"0.3": 1.0, "0.1": 1.0, "0.01": 1.0, "0.001": 1.0}


def test_useless_scores():
    rng = np.random.default_rng(0)
    labels = rng.random(20_000) < 0.5
    metrics = measure(rng.normal(size=20_000), labels)
    assert metrics.roc_auc == pytest.approx(0.5, abs=0.02)
    assert metrics.tpr_at_fpr["0.1"] == pytest.approx(0.1, abs=0.02)


def test_true_positives_before_false_ones_by_hand():
    # Scores of non-lenses 0..9; lenses at 9.5 (beats all), 8.5 (beats all but one), -1.
    others, lenses = np.arange(10.0), np.array([9.5, 8.5, -1.0])
    logits = np.concatenate([lenses, others])
    labels = np.arange(13) < 3
    metrics = measure(logits, labels)
    assert metrics.tpr_before_first == pytest.approx(1 / 3)
    assert metrics.tpr_before_tenth == pytest.approx(2 / 3)
    assert (metrics.n_lenses, metrics.n_others) == (3, 10)


def test_threshold_passes_the_rate_that_it_promises():
    others = np.random.default_rng(1).normal(size=10_000)
    for rate in (0.1, 0.01, 0.001):
        assert (others > threshold(others, rate)).mean() == pytest.approx(rate, rel=1e-9)


TRUTH = pd.DataFrame(
    {
        "is_lens": [True, True, True, True, False],
        "kind": ["lensed_galaxy"] * 3 + ["lensed_quasar", "merger"],
        "theta_e_arcsec": [0.4, 1.0, 1.0, 1.0, np.nan],
        "source_magnitude": [24.0, 24.0, 25.6, 25.4, np.nan],
    }
)


def test_cuts_leave_out_small_and_faint_lenses_and_no_other_cutout():
    assert within_cuts(TRUTH).tolist() == [False, True, False, True, True]


def test_lenses_of_unknown_size_are_outside_the_cuts():
    assert within_cuts(TRUTH[["is_lens", "kind"]]).tolist() == [False] * 4 + [True]


def test_shares_by_kind_and_parameter():
    logits = np.array([-1.0, 3.0, 1.0, 2.0, 0.5])
    # Rows may be numbered anyhow.
    truth = TRUTH.set_axis([7, 3, 9, 1, 5])
    table = passed_by(logits, truth, {"above": 0.0}).set_index(["by", "value"])
    assert table.loc[("kind", "lensed_galaxy"), "above"] == pytest.approx(2 / 3)
    assert table.loc[("theta_e_arcsec", "0.3 to 0.5"), ["n", "above"]].tolist() == [1, 0.0]
    assert table.loc[("theta_e_arcsec", "0.8 to 1.2"), ["n", "above"]].tolist() == [3, 1.0]
    assert table.loc[("source_magnitude", "24.5 to 25.5"), "n"] == 1
    low, high = table.loc[("kind", "lensed_galaxy"), ["above_low", "above_high"]]
    assert 0.2 < low < 2 / 3 < high < 0.95


def test_intervals_are_those_of_drawing_both_classes_anew():
    """Against scipy's bootstrap, which draws them all."""
    rng = np.random.default_rng(4)
    lenses, others = rng.normal(2.5, 1.0, 400), np.sort(rng.normal(0.0, 1.0, 2000))[::-1]
    fast = rate_intervals(lenses, others)

    def before_tenth(some, rest, axis):
        cut = -np.partition(-rest, 9, axis=axis)[..., 9:10]
        return (some > cut).mean(axis=axis)

    slow = bootstrap(
        (lenses, others), before_tenth, n_resamples=999, vectorized=True, method="percentile",
        batch=100, rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert fast["tenth"] == pytest.approx((slow.low, slow.high), abs=0.03)


def test_few_false_positives_leave_a_rate_uncertain_however_many_lenses_there_are():
    rng = np.random.default_rng(6)
    lenses, others = rng.normal(3.0, 1.5, 100_000), rng.normal(0.0, 1.0, 2000)
    metrics = measure(np.concatenate([lenses, others]), np.arange(102_000) < 100_000)
    low, high = metrics.intervals["0.001"]
    assert low < metrics.tpr_at_fpr["0.001"] < high
    assert high - low > 0.05


def test_what_is_perfect_has_no_width():
    labels = np.arange(200) < 100
    metrics = measure(np.where(labels, 5.0, -5.0), labels)
    assert metrics.intervals["0.01"] == (1.0, 1.0)
