"""Costs that agree with every decision: the certain interval, the one at a level, and how many decisions it takes."""

import math

import numpy as np
import pytest

from demonstrably.decisions.consistent import (
    consistent_interval,
    decisions_needed,
    density_at,
    lower_bound_decisions,
    precision,
    smooth_gap,
    trimmed,
    uniform_error,
    uniform_failure,
)


def test_the_interval_lies_between_the_decisions():
    assert consistent_interval([0, 1, 0, 1], [0.1, 0.6, 0.4, 0.9]) == (0.4, 0.6)
    assert consistent_interval([1, 1], [0.3, 0.6]) == (0.0, 0.3)
    assert consistent_interval([0, 0], [0.3, 0.6]) == (0.6, 1.0)
    assert consistent_interval([0, 1], [0.0, 1.0]) == (0.0, 1.0)
    low, high = consistent_interval([1, 0], [0.4, 0.6])
    assert low > high  # no cost agrees


def test_errors_of_the_posterior_widen_it():
    assert consistent_interval([0, 1, 0, 1], [0.1, 0.6, 0.4, 0.9], 0.1) == pytest.approx((0.3, 0.7))
    assert consistent_interval([1, 0], [0.4, 0.6], [0.25, 0.05]) == pytest.approx((0.55, 0.65))


def test_every_cost_inside_agrees_and_none_outside():
    q = np.random.default_rng(0).random(50)
    decisions = q >= 0.3
    low, high = consistent_interval(decisions, q)
    for cost in np.linspace(0.01, 0.99, 981):
        assert ((q >= cost) == decisions).all() == (low < cost <= high)


def test_swapping_what_is_called_positive_mirrors_the_cost_and_repeating_changes_nothing():
    q = np.random.default_rng(1).random(50)
    low, high = consistent_interval(q >= 0.3, q)
    assert consistent_interval(q < 0.3, 1 - q) == pytest.approx((1 - high, 1 - low))
    assert consistent_interval(np.tile(q >= 0.3, 3), np.tile(q, 3)) == (low, high)


def test_a_quarter_less_of_the_gap_at_level_three_quarters():
    assert trimmed(0.2, 0.6, 0.75) == pytest.approx((0.25, 0.55))


def test_only_gaps_between_draws_of_a_smooth_density_are_trimmed():
    q = np.sort(np.random.default_rng(2).random(100))
    assert smooth_gap(q, q[30], q[31])
    assert not smooth_gap(q, 0.0, q[0])  # no decision bounds it from below
    assert not smooth_gap(np.append(q, q[30]), q[30], q[31])  # repeated
    assert not smooth_gap(np.round(q, 1), 0.3, 0.4)
    certain = np.where(q < 0.5, 0.01 * q, 1 - 0.01 * q)
    assert not smooth_gap(certain, certain[q < 0.5].max(), certain[q >= 0.5].min())


def test_how_many_decisions_it_takes():
    assert decisions_needed(0.01, 0.05, 1.0) == math.ceil(math.log(40) / 0.01) == 369
    assert precision(369, 0.05, 1.0) == pytest.approx(0.01, rel=1e-3)
    assert precision(100, 0.05, 0.0) == math.inf
    assert lower_bound_decisions(0.01, 0.05, 1.0) == pytest.approx(math.log(0.1) / math.log(0.98))
    assert 0 < lower_bound_decisions(0.01, 0.05, 1.0) < 369
    assert lower_bound_decisions(0.01, 0.5, 1.0) == 0.0
    assert lower_bound_decisions(0.5, 0.05, 1.0) == 0.0
    assert uniform_failure(0.01, 369) == pytest.approx(2 * 0.99**369 - 0.98**369)
    assert uniform_error(99) == 0.005


def test_the_density_of_posteriors_at_a_cost():
    q = np.random.default_rng(3).beta(2, 5, 100_000)
    assert density_at(q, 0.3) == pytest.approx(30 * 0.3 * 0.7**4, rel=0.15)
    assert density_at(np.array([0.0, 1.0] * 50), 0.5) == pytest.approx(0.1 / 0.5)
    assert density_at(np.full(100, 0.2), 0.5) == 0.0


@pytest.mark.parametrize(
    ("arguments", "word"), [((0, 0.1, 1), "epsilon"), ((0.1, 1, 1), "delta"), ((0.1, 0.1, -1), "density")]
)
def test_what_makes_no_sense_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        decisions_needed(*map(float, arguments))
