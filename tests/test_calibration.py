"""Populations with known truth: what is expected of them is what they hold."""

import numpy as np
import pytest

from lensweep.scanner.results.calibration import Calibration, Curve, expect
from lensweep.scanner.results.tail import Tail, fit_tail

FALSE_PER_DEG2, LENSES_PER_DEG2 = 20_000.0, 10.0
FALSE_SCALE, FALSE_LOWEST = 1.1, -4.5


def saturated(scores):
    """No network is ever surer than a logit of 8."""
    return scores - np.log1p(np.exp(2.0 * (scores - 8.0))) / 2.0


def draw_false(rng, area):
    """An exponential tail, as of simulated fields without lenses."""
    n = rng.poisson(FALSE_PER_DEG2 * area)
    return saturated(FALSE_LOWEST + rng.exponential(FALSE_SCALE, n))


def draw_lenses(rng, n):
    """Most score high, up to about 8; one in ten shows in no candidate."""
    scores = saturated(9.5 - rng.gamma(1.8, 2.2, n))
    return np.where((rng.random(n) < 0.1) | (scores < FALSE_LOWEST), -np.inf, scores)


def draw_evidence(rng, n_lenses=600, area=0.1):
    return Calibration(draw_lenses(rng, n_lenses), np.ones(n_lenses), draw_false(rng, area), area)


def draw_field(rng, area, density=LENSES_PER_DEG2):
    """Scores of a field's candidates, best first, and which are lenses."""
    lenses, false = draw_lenses(rng, rng.poisson(density * area)), draw_false(rng, area)
    lenses = lenses[np.isfinite(lenses)]
    scores = np.concatenate([lenses, false])
    order = np.argsort(-scores)
    return scores[order], (np.arange(len(scores)) < len(lenses))[order]


@pytest.fixture(scope="module")
def repetitions():
    """Two hundred times: new evidence, a new field of two square degrees, what is expected."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        calibration, (scores, truth) = draw_evidence(rng), draw_field(rng, 2.0)
        scores, truth = scores[:1000], truth[:1000]
        expected = expect(calibration, scores, LENSES_PER_DEG2, seed, resamplings=40)
        p = calibration.probability(scores, LENSES_PER_DEG2)
        found.append((p, truth, expected, calibration.false.above(scores)))
    return found


def test_probabilities_sum_to_the_lenses_that_there_are(repetitions):
    expected = np.mean([p.sum() for p, *_ in repetitions])
    found = np.mean([truth.sum() for _, truth, *_ in repetitions])
    assert expected == pytest.approx(found, rel=0.12)


@pytest.mark.parametrize(
    ("low", "high"), [(0.003, 0.03), (0.03, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)]
)
def test_of_candidates_of_a_probability_that_share_are_lenses(repetitions, low, high):
    p = np.concatenate([one[0] for one in repetitions])
    truth = np.concatenate([one[1] for one in repetitions])
    inside = (p >= low) & (p < high)
    assert inside.sum() > 200
    assert truth[inside].mean() == pytest.approx(p[inside].mean(), rel=0.25)


@pytest.mark.parametrize("top", [10, 20, 50, 200, 1000])
def test_intervals_hold_the_number_as_often_as_they_say(repetitions, top):
    held = [
        expected.low[top - 1] <= truth[:top].sum() <= expected.high[top - 1]
        for _, truth, expected, _ in repetitions
    ]
    # 95 % is promised; of forty resamplings the ends are a little too near.
    assert np.mean(held) >= 0.88
    widths = [expected.high[top - 1] - expected.low[top - 1] for _, _, expected, _ in repetitions]
    assert np.mean(widths) < 0.8 * top


def test_false_candidates_are_as_many_as_a_field_without_lenses_gives(repetitions):
    """At ranks that lenses hardly change: of two square degrees 1,000 are a rate of 500."""
    rates = [false[-1] for *_, false in repetitions]
    assert np.mean(rates) == pytest.approx(500.0, rel=0.06)


def test_a_higher_score_is_never_worth_less():
    calibration = draw_evidence(np.random.default_rng(1))
    p = calibration.probability(np.linspace(-6.0, 12.0, 500), LENSES_PER_DEG2)
    assert (np.diff(p) >= 0.0).all()
    assert 0.0 < p[0] < 1e-3 < 0.2 < p[-1] < 1.0


def test_what_scores_below_every_lens_is_hardly_ever_one():
    """Lenses about 4, others from -5 on: where no lens was seen, p goes on falling."""
    rng = np.random.default_rng(9)
    false = rng.exponential(1.2, 4000) - 5.0
    calibration = Calibration(rng.normal(4.0, 1.5, 200), np.ones(200), false, 0.2)
    p = calibration.probability(false, LENSES_PER_DEG2)
    # Two lenses lie in that piece of sky, nine in ten of them above 2.
    assert p.sum() < 1.2
    assert p[false < -1.0].sum() < 0.05


def test_ten_times_the_lenses_are_ten_times_the_odds():
    calibration = draw_evidence(np.random.default_rng(2))
    scores = np.linspace(-3.0, 7.0, 50)
    few, many = (calibration.probability(scores, density) for density in (1.0, 10.0))
    np.testing.assert_allclose(many / (1.0 - many), 10.0 * few / (1.0 - few), rtol=1e-9)


def test_what_few_false_candidates_reach_is_extrapolated():
    calibration = draw_evidence(np.random.default_rng(3))
    tenth = np.sort(calibration.false_scores)[-10]
    extrapolated = calibration.extrapolated(np.array([tenth - 0.01, tenth, tenth + 0.01]))
    assert extrapolated.tolist() == [False, False, True]


def test_weights_count_as_so_many_lenses():
    """Lenses of half the weight, twice each, are the same evidence."""
    rng = np.random.default_rng(4)
    scores, false = draw_lenses(rng, 400), draw_false(rng, 0.1)
    once = Calibration(scores, np.ones(400), false, 0.1)
    halves = Calibration(scores, np.where(np.arange(400) < 200, 3.0, 1.0), false, 0.1)
    repeated = np.concatenate([np.repeat(scores[:200], 3), scores[200:]])
    again = Calibration(repeated, np.ones(800), false, 0.1)
    at = np.linspace(-2.0, 7.0, 30)
    np.testing.assert_allclose(halves.lenses.above(at), again.lenses.above(at), rtol=0.1)
    assert abs(once.lenses.above(at) - halves.lenses.above(at)).max() > 0.005


def test_a_curve_counts_what_it_was_made_from():
    scores = np.random.default_rng(5).normal(size=5000)
    curve = Curve(scores, np.ones(5000), 1.0, 50)
    at = np.array([-2.0, -1.0, 0.0, 1.0])
    counted = (scores[:, None] >= at).sum(axis=0)
    np.testing.assert_allclose(curve.above(at), counted, rtol=0.02)
    # The density is the derivative, in the tail too.
    for x in (-1.0, 0.5, 3.0, 4.0):
        step = 1e-4
        numeric = (curve.above(np.array(x - step)) - curve.above(np.array(x + step))) / (2 * step)
        assert curve.density(np.array(x)) == pytest.approx(numeric, rel=1e-3)
    assert curve.score_at(float(curve.above(np.array(0.7)))) == pytest.approx(0.7, abs=1e-3)
    assert curve.score_at(float(curve.above(np.array(4.2)))) == pytest.approx(4.2, abs=1e-3)


def test_the_tail_is_the_exponential_that_it_was_drawn_from():
    """50,000 of scale 1.1: one in a thousand beyond what the hundred best tell."""
    scores = np.random.default_rng(6).exponential(FALSE_SCALE, 50_000)
    curve = Curve(scores, np.ones(50_000), 1.0, 100)
    beyond = FALSE_SCALE * np.log(50_000 / 0.5)
    assert float(curve.above(np.array(beyond))) == pytest.approx(0.5, rel=0.8)


def test_a_tail_that_steepens_is_told_from_one_that_does_not():
    """A hundred excesses, two hundred times; of exponential ones one in a hundred is mistaken."""
    draws = {
        "exponential": lambda rng: rng.exponential(1.0, 100),
        "steepening": lambda rng: np.sqrt(1.0 + 2.0 * rng.exponential(1.0, 100)) - 1.0,
    }
    curved = {}
    for name, draw in draws.items():
        tails = [
            fit_tail(draw(np.random.default_rng([11, seed])), np.ones(100)) for seed in range(200)
        ]
        curved[name] = sum(tail.curvature > 0.0 for tail in tails)
    assert curved["exponential"] <= 7
    assert curved["steepening"] > 40


def test_where_a_tail_has_fallen_is_the_inverse_of_how_far_it_has():
    for tail in (Tail(0.9), Tail(0.5, 0.4), Tail(1e-9, 2.0)):
        for excess in (0.0, 0.01, 0.7, 12.0):
            drop = float(tail.drop(np.array(excess)))
            assert tail.excess_at(drop) == pytest.approx(excess, rel=1e-9)
            step = 1e-6
            slope = (tail.drop(np.array(excess + step)) - drop) / step
            assert slope == pytest.approx(float(tail.steepness(np.array(excess))), abs=1e-5)


def test_a_curved_tail_expects_as_few_beyond_as_there_are():
    """Scores that have a ceiling: ten times deeper than what was seen, over forty samples."""
    beyond = []
    for seed in range(40):
        best = np.sqrt(np.random.default_rng([12, seed]).exponential(2.0, 400))
        tail = fit_tail(best, np.ones(400))
        assert tail.curvature > 0.0
        # A steepness that grows from nothing: one in four thousand exceeds this.
        beyond.append(np.exp(-tail.drop(np.array(np.sqrt(2.0 * np.log(4_000.0))))) * 4_000.0)
    assert np.median(beyond) == pytest.approx(1.0, rel=0.5)


def test_nothing_is_expected_of_an_empty_list():
    expected = expect(draw_evidence(np.random.default_rng(8)), np.empty(0), 10.0)
    assert len(expected.lenses) == 0
