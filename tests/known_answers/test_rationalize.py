"""How often the test of rationalizability refutes what is true, and finds what is not, on simulated decisions.

Seeds are fixed: results do not vary. Bounds are the level with three standard errors of the simulation.
"""

import math

import numpy as np
import pytest

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.rationalize import rationalize
from demonstrably.tabular.soft import soft_optimal

STATES, ACTIONS, REPEATS, LEVEL = 4, 3, 400, 0.05
TRANSITIONS = np.random.default_rng(0).dirichlet(np.ones(STATES), (STATES, ACTIONS))
ENDLESS, NEARER = MDP(TRANSITIONS, discount=0.9), MDP(TRANSITIONS, discount=0.5)
SHORT = MDP(TRANSITIONS, horizon=3, initial=0)
ALIKE = MDP(TRANSITIONS[:, :1].repeat(ACTIONS, 1), discount=0.9)  # what is done does not matter to what follows
REWARD = 0.7 * np.random.default_rng(1).normal(size=(STATES, ACTIONS))


def counts_of_episodes(policy: np.ndarray, episodes: int, generator: np.random.Generator) -> np.ndarray:
    """Counts of decisions (T, S, A) in episodes of a policy (T, S, A) that begin in state 0."""
    counts, states = np.zeros(policy.shape, dtype=np.int64), np.zeros(episodes, dtype=np.int64)
    for step, now in enumerate(policy):
        actions = _drawn(now[states], generator)
        np.add.at(counts[step], (states, actions), 1)
        states = _drawn(TRANSITIONS[states, actions], generator)
    return counts


def _drawn(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return (generator.random(len(rows))[:, None] > rows.cumsum(1)[:, :-1]).sum(1)


def outcome(kind: str, number: int, seed: int):
    """One test of behavior that a reward explains."""
    generator = np.random.default_rng([seed, number])
    if kind == "discounts":
        policies = [soft_optimal(mdp, REWARD).policy for mdp in (ENDLESS, NEARER)]
        return rationalize([ENDLESS, NEARER], [generator.multinomial(number, policy) for policy in policies])
    if kind == "states":
        policy = soft_optimal(ENDLESS, REWARD[:, 0]).policy
        return rationalize(ENDLESS, generator.multinomial(number, policy), features="state")
    if kind == "indifferent":
        return rationalize(ALIKE, generator.multinomial(number, [1 / ACTIONS] * ACTIONS, STATES), features="state")
    return rationalize(SHORT, counts_of_episodes(soft_optimal(SHORT, REWARD).policy, number, generator))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number"),
    [("discounts", 100), ("discounts", 1000), ("states", 100), ("horizon", 1000), ("indifferent", 900)],
)
def test_a_true_assumption_is_refuted_no_more_often_than_the_level(kind, number):
    found = [outcome(kind, number, seed) for seed in range(REPEATS)]
    wrong = float(np.mean([one.p_value < LEVEL for one in found]))
    assert wrong < LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / REPEATS)
    statistics = np.array([one.statistic for one in found])
    freedom = found[0].restrictions
    assert statistics.mean() == pytest.approx(freedom, abs=0.1 * freedom + 3 * math.sqrt(2 * freedom / REPEATS))
    if number == 1000 and kind == "discounts":
        assert wrong > 0.02  # it is a test of that level, not of a lower one


@pytest.mark.slow
def test_a_person_whose_wishes_change_is_found_out():
    moods = np.random.default_rng(2).normal(size=(3, STATES, ACTIONS))
    policy = soft_optimal(SHORT, REWARD + 0.5 * moods).policy
    found = [
        rationalize(SHORT, counts_of_episodes(policy, 3000, np.random.default_rng(seed))).rationalizable
        for seed in range(100)
    ]
    assert np.mean(found) < 0.2


def test_the_discounts_of_two_endless_problems_cannot_be_refuted():
    # What two discounts have in common restricts policies in the same way whatever the discounts are.
    policies = [soft_optimal(NEARER.replace(discount=discount), REWARD).policy for discount in (0.1, 0.3)]
    assert rationalize([ENDLESS, NEARER], policies).rationalizable
