"""The isotonic fit against brute force, and intervals by likelihood ratios."""

import numpy as np
import pytest
from scipy.special import expit, xlogy

from demonstrably.decisions.isotonic import (
    LEVELS,
    QUANTILES,
    critical_value,
    fit_isotonic,
    isotonic_crossing,
    isotonic_interval,
)


def loglik(outcomes, p):
    return float((xlogy(outcomes, p) + xlogy(1 - outcomes, 1 - p)).sum())


def test_the_rule_of_least_risk_in_a_chain_decides_1_where_the_isotonic_fit_is_at_least_the_cost():
    generator = np.random.default_rng(0)
    for _ in range(6000):
        mass, rates = generator.dirichlet(np.ones(7)), generator.random(7)
        cost = generator.random()
        below = np.concatenate([[0.0], np.cumsum(mass * rates)])  # outcomes of 1 below each of 8 thresholds
        above = np.concatenate([np.cumsum((mass * (1 - rates))[::-1])[::-1], [0.0]])
        best = np.argmin(cost * above + (1 - cost) * below)
        fit = fit_isotonic(np.arange(7), rates, mass)
        np.testing.assert_array_equal(fit.values >= cost, np.arange(7) >= best)


def test_the_fit_pools_neighbors_and_leaves_unseen_outcomes_out():
    fit = fit_isotonic([3, 1, 2, 2, 4], [0, 0, 1, 1, np.nan])
    np.testing.assert_allclose(fit.scores, [1, 2, 3])
    np.testing.assert_allclose(fit.values, [0, 2 / 3, 2 / 3])
    np.testing.assert_allclose(fit.at([0, 1.5, 9]), [0, 1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="no outcome was seen"):
        fit_isotonic([1, 2], [np.nan, np.nan])


def test_the_interval_is_where_the_likelihood_ratio_is_at_its_quantile():
    generator = np.random.default_rng(1)
    score = generator.normal(size=200)
    outcomes = (generator.random(200) < expit(score)).astype(float)
    at, order = 0.3, np.argsort(score)
    s, y = score[order], outcomes[order]
    left, right = (fit_isotonic(part, y[keep]).values for part, keep in ((s[s < at], s < at), (s[s > at], s > at)))
    free = loglik(y, fit_isotonic(s, y).values)
    few = min(y[s < at].sum(), (1 - y[s > at]).sum())
    for end in isotonic_interval(score, outcomes, at):
        fit = np.concatenate([np.minimum(left, end), np.maximum(right, end)])
        assert 2 * (free - loglik(y, fit)) == pytest.approx(critical_value(0.95) * (1 + 1 / (few + 1)), abs=1e-5)


def test_a_side_without_outcomes_bounds_nothing():
    score, outcomes = np.arange(100.0), np.full(100, np.nan)
    outcomes[50:] = np.tile([0.0, 1.0], 25)
    low, high = isotonic_interval(score, outcomes, 49.5)
    assert low == 0.0 and 0.4 < high < 0.8
    low, high = isotonic_interval(score, outcomes, 200.0)
    assert 0.3 < low < 0.6 and high == 1.0


def test_the_crossing_is_that_of_all_places_tried_one_by_one():
    generator = np.random.default_rng(2)
    score = np.round(generator.normal(size=120), 1)
    decisions = (generator.random(120) < expit(3 * (score - 0.2))).astype(float)
    places = np.unique(score)
    free = fit_isotonic(score, decisions)
    best = loglik(decisions, free.at(score))
    kept = []
    for place in range(len(places) + 1):
        below = score < places[place] if place < len(places) else np.full(len(score), True)
        fit = np.empty(len(score))
        for part, cut in ((below, np.minimum), (~below, np.maximum)):
            if part.any():
                fit[part] = cut(fit_isotonic(score[part], decisions[part]).at(score[part]), 0.5)
        if 2 * (best - loglik(decisions, fit)) <= critical_value(0.95):
            kept.append(place)
    low, high = isotonic_crossing(score, decisions)
    assert (low, high) == (places[kept[0] - 1], places[kept[-1]])
    assert low < 0.2 < high


def test_a_crossing_beyond_all_scores_is_open():
    assert isotonic_crossing(np.arange(50.0), np.ones(50)) == (-np.inf, 1.0)  # 2 log 2 for a score is within 2.27
    assert isotonic_crossing(np.arange(50.0), np.zeros(50))[1] == np.inf


def test_quantiles_rise_and_levels_out_of_the_table_are_refused():
    assert [critical_value(level) for level in LEVELS] == pytest.approx(QUANTILES)
    assert critical_value(0.9) < critical_value(0.92) < critical_value(0.95)
    with pytest.raises(ValueError, match="levels from 0.8 to 0.99"):
        critical_value(0.999)
