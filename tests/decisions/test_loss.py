"""Loss matrices and the one number that decisions depend on."""

import numpy as np
import pytest

from demonstrably.decisions.loss import bayes_rule, loss_matrix, relative_cost, risk

LOSSES = np.array([[1.0, 7.0], [4.0, 2.0]])


def test_the_relative_cost_of_a_loss_matrix():
    assert relative_cost(LOSSES) == 0.375
    assert relative_cost(2.5 * LOSSES + [[3.0, -1.0]]) == pytest.approx(0.375)  # columns are free up to a constant
    assert relative_cost(loss_matrix(0.2)) == pytest.approx(0.2)


def test_the_rule_is_that_of_least_expected_loss():
    q = np.linspace(0, 1, 1001)
    expected = np.stack([1 - q, q]).T @ LOSSES.T
    different = (expected.argmin(axis=1) != bayes_rule(q, 0.375)) & (np.abs(q - 0.375) > 1e-12)
    assert not different.any()
    assert bayes_rule([0.375], 0.375) == 1.0  # a tie is decided 1


def test_no_rule_has_less_risk_than_the_rule_of_its_cost():
    q = np.random.default_rng(0).random(200)
    best = risk(bayes_rule(q, 0.3), q, 0.3)
    assert all(risk(bayes_rule(q, other), q, 0.3) >= best for other in np.linspace(0.01, 0.99, 99))
    assert risk([1.0, 0.0], [0.25, 0.25], 0.4) == pytest.approx((0.4 * 0.75 + 0.6 * 0.25) / 2)


@pytest.mark.parametrize("losses", [[[1, 7], [1, 2]], [[0, 1], [1, 1]], [[1, 2, 3]], [[0, np.inf], [1, 0]]])
def test_losses_for_which_the_right_decision_is_not_cheaper_are_refused(losses):
    with pytest.raises(ValueError, match="losses"):
        relative_cost(losses)


@pytest.mark.parametrize("cost", [0.0, 1.0, -0.1, np.nan])
def test_costs_outside_the_unit_interval_are_refused(cost):
    with pytest.raises(ValueError, match="give a number in"):
        loss_matrix(cost)
