import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lensweep.training.learning.step import Axes, choose_strength, fit_step, hold_out


def world(seed, n, wrong=0.1, blind=False):
    """Candidates whose logits miss a part of what their features say; and grades, some wrong."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3.0, 2.0, (n, 40))
    known, missed = features[:, 0] - 3.0, features[:, 1] - 3.0
    is_lens = known + (0.0 if blind else 1.0) * missed + rng.normal(0, 0.5, n) > 0.0
    graded = is_lens ^ (rng.random(n) < wrong)
    return features, 2.0 * known, is_lens, graded


def learned(seed, n_graded):
    """ROC AUC on other candidates, before and after what some grades teach, if they do."""
    features, logits, is_lens, graded = world(seed, 600)
    axes, here, there = Axes.of(features), slice(0, n_graded), slice(n_graded, None)
    fitted_to = features[here], logits[here], graded[here]
    held_out = hold_out(axes, *fitted_to, seed)
    before = roc_auc_score(is_lens[there], logits[there])
    if not held_out.better:
        return before, before
    step = fit_step(axes, *fitted_to, choose_strength(axes, *fitted_to, seed))
    after = logits + features @ step.weights + step.bias
    # The candidates' mean logit stays.
    assert after.mean() == pytest.approx(logits.mean(), abs=1e-6)
    return before, roc_auc_score(is_lens[there], after[there])


def test_grades_with_errors_teach_what_the_heads_do_not_know():
    before, after = learned(1, 300)
    assert after > before + 0.02


def test_thirty_grades_help_and_never_ruin():
    gains = np.array([np.subtract(*learned(seed, 30)[::-1]) for seed in range(5)])
    assert gains.mean() > 0.005
    assert gains.min() > -0.02


def test_labels_at_random_are_not_learned():
    taught = 0
    for seed in range(2):
        features, logits, _, graded = world(seed, 60, wrong=0.5, blind=True)
        taught += hold_out(Axes.of(features), features, logits, graded, seed).roc_auc > 0.75
    assert taught == 0


def test_a_strong_prior_hardly_moves():
    features, logits, _, graded = world(3, 100)
    axes = Axes.of(features)
    weak, strong = (fit_step(axes, features, logits, graded, s) for s in (0.01, 100.0))
    assert np.linalg.norm(strong.weights) < 0.02 * np.linalg.norm(weak.weights)


def test_what_never_varies_is_left_alone():
    features, logits, _, graded = world(4, 100)
    features[:, 7] = 5.0
    step = fit_step(Axes.of(features), features, logits, graded, 0.01)
    assert step.weights[7] == 0.0
    assert np.isfinite(step.weights).all()


def test_how_many_of_either_label_were_graded_does_not_matter():
    features, logits, _, graded = world(5, 400, wrong=0.0)
    few = np.flatnonzero(graded)[:20]
    chosen = np.concatenate([few, np.flatnonzero(~graded)])
    axes = Axes.of(features)
    step = fit_step(axes, features[chosen], logits[chosen], graded[chosen], 0.1)
    # Nine others for each lens, and yet lenses on average do not sink.
    moved = features @ step.weights + step.bias
    assert moved[graded].mean() > 0.0 > moved[~graded].mean()
