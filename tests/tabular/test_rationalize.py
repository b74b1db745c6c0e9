"""Whether some reward explains behavior: exact verdicts, degrees of freedom, and what sampling does to the test."""

import json

import numpy as np
import pytest

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.rationalize import rationalize
from demonstrably.tabular.soft import soft_optimal

STATES, ACTIONS = 4, 3
TRANSITIONS = np.random.default_rng(0).dirichlet(np.ones(STATES), (STATES, ACTIONS))
ENDLESS, NEARER = MDP(TRANSITIONS, discount=0.9), MDP(TRANSITIONS, discount=0.5)
SHORT = MDP(TRANSITIONS, horizon=3, initial=0)
REWARD = np.random.default_rng(1).normal(size=(STATES, ACTIONS))
RANDOM = np.random.default_rng(2).dirichlet(np.ones(ACTIONS), (3, STATES))


def test_every_policy_of_one_endless_problem_is_explained():
    found = rationalize(ENDLESS, RANDOM[0])
    assert found.rationalizable and found.restrictions == 0 and found.p_value is None
    assert "nothing to test" in str(found)
    counted = rationalize(ENDLESS, np.full((STATES, ACTIONS), 7))
    assert counted.rationalizable and counted.restrictions == 0


def test_several_problems_horizons_and_rewards_of_states_restrict_policies():
    good = [soft_optimal(mdp, REWARD).policy for mdp in (ENDLESS, NEARER, SHORT)]
    by_state = soft_optimal(ENDLESS, REWARD[:, 0]).policy
    # Free probabilities less free rewards: two problems 2 * 8 - (12 - 1), and so on.
    for mdps, seen, features, restrictions in (
        ([ENDLESS, NEARER], good[:2], "state_action", 5),
        (SHORT, good[2], "state_action", 2 * 9 - 11),
        (ENDLESS, by_state, "state", 8 - 3),
        ([ENDLESS, NEARER, SHORT], good, "state_action", 2 * 17 - 11),
    ):
        found = rationalize(mdps, seen, features=features)
        assert found.rationalizable and found.restrictions == restrictions and found.misfit < 1e-10
        assert f"{restrictions} independent ways" in str(found)
    for mdps, seen, features in (
        ([ENDLESS, NEARER], list(RANDOM[:2]), "state_action"),
        (SHORT, RANDOM, "state_action"),
        (ENDLESS, RANDOM[0], "state"),
    ):
        found = rationalize(mdps, seen, features=features)
        assert not found.rationalizable and found.misfit > 0.01
        assert "no reward explains" in str(found)


def test_a_policy_that_never_changes_is_its_own_reward():
    assert rationalize(SHORT, RANDOM[0]).rationalizable
    assert rationalize([ENDLESS, NEARER, SHORT], [RANDOM[0]] * 3).rationalizable


def test_a_policy_with_zeros_is_not_soft_optimal_for_any_reward():
    found = rationalize(ENDLESS, np.eye(ACTIONS)[np.arange(STATES) % ACTIONS])
    assert not found.rationalizable
    assert "never takes an action (state 0, action 1)" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["misfit"] is None


def test_behavior_that_no_reward_explains_is_found_in_samples():
    generator = np.random.default_rng(3)
    found = rationalize([ENDLESS, NEARER], [generator.multinomial(2000, policy) for policy in RANDOM[:2]])
    assert not found.rationalizable and found.p_value < 1e-6
    assert "chi-square" in str(found) and "<p>" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict()))["restrictions"] == 5


ALIKE = MDP(TRANSITIONS[:, :1].repeat(ACTIONS, 1), discount=0.9)


def test_where_rewards_matter_to_no_choice_every_choice_is_tested():
    even = np.full((STATES, ACTIONS), 300)
    found = rationalize(ALIKE, even, features="state")
    assert found.rationalizable and found.restrictions == STATES * (ACTIONS - 1)
    assert found.p_value == pytest.approx(1)
    assert not rationalize(ALIKE, even + np.arange(ACTIONS) * 40, features="state").rationalizable


def test_no_test_is_made_without_degrees_of_freedom():
    for discount in (0.9, 0.9999):
        mdp = MDP(TRANSITIONS[:, :1], discount=discount)
        for evidence in (np.array([[3], [2], [10], [1]]), np.ones((STATES, 1))):
            found = rationalize(mdp, evidence)
            assert found.rationalizable and found.restrictions == 0 and found.p_value is None


def test_zeros_where_nobody_comes_refute_nothing():
    away = MDP(np.eye(2)[[[0, 0], [0, 1]]], discount=0.9, initial=0)
    assert rationalize(away, np.array([[0.5, 0.5], [1.0, 0.0]])).rationalizable
    assert not rationalize(away.replace(initial=1), np.array([[0.5, 0.5], [1.0, 0.0]])).rationalizable


def test_few_decisions_are_pointed_out():
    generator = np.random.default_rng(4)
    counts = [generator.multinomial(6, soft_optimal(mdp, REWARD).policy) for mdp in (ENDLESS, NEARER)]
    assert "a rough guide" in str(rationalize([ENDLESS, NEARER], counts))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="level 1.5"):
        rationalize(ENDLESS, RANDOM[0], level=1.5)
    with pytest.raises(ValueError, match="unknown weights and values"):
        rationalize(SHORT.replace(horizon=400), np.tile(RANDOM[0], (400, 1, 1)))
