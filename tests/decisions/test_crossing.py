"""Groups' costs where their decisions cross one half."""

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.crossing import (
    GroupCosts,
    equality_test,
    group_costs,
    log_odds,
    welch_p_value,
)
from demonstrably.decisions.curves import Rows, compressed, fit_near, fit_whole, influences, joint_covariance, pairs_of
from demonstrably.decisions.posterior import Posterior


def exact(probability):
    return Posterior(probability, probability, np.zeros(len(probability)), None, "given")


def made(seed, number=3000, costs=(0.3, 0.3), slope=3.0, lapse=0.05):
    draw = np.random.default_rng(seed)
    group = draw.integers(0, len(costs), number)
    risk = draw.beta(2.0 + group, 8.0 - 3.0 * group)
    rising = expit(slope * (logit(risk) - logit(np.array(costs))[group]))
    return (draw.random(number) < lapse / 2 + (1 - lapse) * rising).astype(float), risk, group


def test_different_costs_are_told_and_equal_ones_are_not():
    decisions, risk, group = made(0, 6000, (0.3, 0.45))
    costs = group_costs(decisions, exact(risk), group)
    low, high = costs.intervals().T
    assert np.all((low < [0.3, 0.45]) & ([0.3, 0.45] < high)) and np.all(high - low < 0.06)
    assert equality_test(costs) < 1e-6
    decisions, risk, group = made(1, 6000)
    assert equality_test(group_costs(decisions, exact(risk), group)) > 0.05


def test_all_ones_and_zeros_swapped_is_the_complement():
    decisions, risk, group = made(2)
    one, other = group_costs(decisions, exact(risk), group), group_costs(1 - decisions, exact(1 - risk), group)
    np.testing.assert_allclose(one.logit, -other.logit, atol=1e-5)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-4, atol=1e-12)


def test_groups_renamed_are_the_same_groups():
    decisions, risk, group = made(3)
    one, other = group_costs(decisions, exact(risk), group), group_costs(decisions, exact(risk), 1 - group)
    np.testing.assert_allclose(one.logit, other.logit[::-1], atol=1e-7)


def test_duplicates_are_no_new_evidence_where_they_are_clustered():
    decisions, risk, group = made(4)
    row = np.arange(len(group))
    once = group_costs(decisions, exact(risk), group, (row,))
    twice = [np.concatenate([column, column]) for column in (decisions, risk, group, row)]
    again = group_costs(twice[0], exact(twice[1]), twice[2], (twice[3],))
    np.testing.assert_allclose(once.logit, again.logit, atol=1e-6)
    np.testing.assert_allclose(once.error, again.error, rtol=1e-3)


def test_two_ways_of_clustering_are_one_where_they_are_the_same():
    decisions, risk, group = made(5)
    person = np.random.default_rng(0).integers(0, 50, len(group))
    one, two = (group_costs(decisions, exact(risk), group, ways) for ways in ((person,), (person, person)))
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-6, atol=1e-12)


def test_outcomes_turn_a_score_into_the_cost():
    decisions, risk, group = made(6, 20000)
    outcomes = (np.random.default_rng(0).random(len(risk)) < risk).astype(float)
    score = expit((logit(risk) - 0.5 + group) / (1.0 + 0.3 * group))
    costs = group_costs(decisions, Posterior(score, score, np.zeros(len(score)), outcomes, "score"), group)
    low, high = costs.intervals().T
    assert np.all((low < 0.3) & (0.3 < high)) and np.all(high - low < 0.08)
    assert np.all(costs.error > group_costs(decisions, exact(risk), group).error)


def test_curves_are_fitted_on_a_scale_without_the_steps_of_isotonic_regression():
    _, risk, _ = made(6, 2000)
    outcomes = (np.random.default_rng(0).random(2000) < risk).astype(float)
    odds = log_odds(Posterior.from_score(risk, outcomes))
    assert len(np.unique(odds)) == 2000 and np.all(np.diff(odds[np.argsort(risk)]) > 0)
    assert np.median(np.abs(odds - logit(risk))) < 0.2
    np.testing.assert_allclose(log_odds(exact(risk)), logit(risk))


def test_optimal_decisions_have_a_cost_too():
    decisions, risk, group = made(7, 1000, slope=1e6, lapse=0.0)
    costs = group_costs(decisions, exact(risk), group)
    low, high = costs.intervals().T
    assert np.all((low < 0.3) & (0.3 < high)) and np.all(high - low < 0.02)
    decisions, risk, group = made(7, 1000, (0.3, 0.33), slope=1e6, lapse=0.0)
    assert equality_test(group_costs(decisions, exact(risk), group)) < 0.01


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda decisions, risk: np.ones_like(decisions), "every decision is 1"),
        (lambda decisions, risk: np.zeros_like(decisions), "every decision is 0"),
        (lambda decisions, risk: (np.arange(len(risk)) % 2).astype(float), "hardly rise"),
        (lambda decisions, risk: (risk < 0.3).astype(float), "hardly rise"),
    ],
)
def test_a_group_that_shows_no_cost_is_left_out_with_the_reason(spoil, reason):
    decisions, risk, group = made(8)
    decisions[group == 1] = spoil(decisions, risk)[group == 1]
    costs = group_costs(decisions, exact(risk), group)
    assert np.isnan(costs.logit[1]) and reason in costs.reasons[1] and costs.noise[1] is None
    assert abs(costs.cost[0] - 0.3) < 0.05 and costs.reasons[0] == ""
    assert np.isnan(equality_test(costs))


def test_three_rows_are_too_few():
    decisions, risk, group = made(9)
    group[:3] = 2
    costs = group_costs(decisions, exact(risk), group)
    assert "only 3 decisions" in costs.reasons[2] and 0.0 < equality_test(costs) < 1.0


def test_one_person_tells_nothing_of_people():
    decisions, risk, group = made(10)
    person = np.where(group == 1, 0, np.arange(len(group)) % 30)
    assert "fewer than 3 people" in group_costs(decisions, exact(risk), group, (person,)).reasons[1]


def test_bad_input_is_refused():
    decisions, risk, group = made(11)
    with pytest.raises(ValueError, match="lengths"):
        group_costs(decisions, exact(risk[1:]), group)
    with pytest.raises(ValueError, match="at most two"):
        group_costs(decisions, exact(risk), group, (group, group, group))


def test_influences_are_what_leaving_a_cluster_out_does():
    decisions, risk, _ = made(12, 400)
    person, group = np.arange(400) % 20, np.zeros(400, int)
    rows = Rows(decisions, logit(risk), group, np.ones(400), 1)
    live = np.array([True])
    whole = fit_whole(rows, live)
    shift, _ = influences(rows, whole, pairs_of(person, group))
    for one in (0, 7, 13):
        kept = person != one
        left = Rows(decisions[kept], logit(risk)[kept], group[kept], np.ones(kept.sum()), 1)
        moved = fit_whole(left, live).center[0] - whole.center[0]
        np.testing.assert_allclose(shift[one] / whole.slope[0], moved, rtol=0.2, atol=2e-3)


def test_means_of_neighbors_have_the_same_curve():
    decisions, risk, group = made(13, 20000)
    rows = Rows(decisions, logit(risk), group, np.ones(len(group)), 2)
    live = np.ones(2, bool)
    curves = [fit_near(one, fit_whole(one, live), live) for one in (rows, compressed(rows, 500))]
    np.testing.assert_allclose(curves[0].center, curves[1].center, atol=1e-3)


def test_covariance_by_hand():
    pairs = pairs_of(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    found = joint_covariance([pairs], [np.array([1.0, 2.0, 3.0, -1.0])], 2)
    np.testing.assert_allclose(found, 0.5 * np.array([[10.0, -1.0], [-1.0, 5.0]]))


def test_equality_of_two_is_welch_s_t_test():
    covariance = np.diag([0.04, 0.09])
    costs = GroupCosts(
        np.array([0.0, 0.8]), covariance, np.array([12.0, 20.0]), (None, None), np.array([100, 100]), ("", "")
    )
    p_value = equality_test(costs)
    assert p_value == pytest.approx(welch_p_value(0.64 / 0.13, np.diag(covariance), costs.degrees))
