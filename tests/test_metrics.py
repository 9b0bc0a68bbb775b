import numpy as np
import pandas as pd
import pytest

from training.metrics import by_kind, measure, threshold


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


def test_by_kind_counts_each_kind():
    table = by_kind(np.array([1.0, -1.0, 3.0]), pd.Series(["a", "a", "b"]), (0.0, 2.0))
    assert table.loc["a", ["above_0.00", "above_2.00", "n"]].tolist() == [0.5, 0.0, 2]
    assert table.loc["b", ["above_0.00", "above_2.00", "n"]].tolist() == [1.0, 1.0, 1]
