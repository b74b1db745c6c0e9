"""Soft-optimal values where numbers are hard: discounts close to one, small and large rewards, long ways."""

import numpy as np
import pytest

from demonstrably.tabular import soft
from demonstrably.tabular.likelihood import counted
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import soft_optimal

TRANSITIONS = np.random.default_rng(0).dirichlet(np.ones(6), (6, 2))
REWARD = np.random.default_rng(1).normal(size=(6, 2))


def steps_of(monkeypatch) -> list[int]:
    """A list that grows by one for every system that is solved."""
    made, solve = [], soft._solve

    def counting(*arguments):
        made.append(1)
        return solve(*arguments)

    monkeypatch.setattr(soft, "_solve", counting)
    return made


def left_of(mdp: MDP, reward: np.ndarray, temperature: float = 1.0) -> float:
    """What Eq. 1 and 2 leave of the values, relative to the largest."""
    values = soft_optimal(mdp, reward, temperature).values
    q = soft.backup(mdp, reward, values)
    top = q.max(1)
    again = top + temperature * np.log(np.exp((q - top[:, None]) / temperature).sum(1))
    return float(np.abs(again - values).max() / np.abs(values).max())


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 1e-8, 1e-10, 1e-12])
def test_discounts_close_to_one_take_a_few_steps(distance, monkeypatch):
    made, mdp = steps_of(monkeypatch), MDP(TRANSITIONS, discount=1 - distance)
    assert left_of(mdp, REWARD) < 1e-14
    assert len(made) < 30


def test_policies_of_discounts_close_to_one_are_those_of_the_limit():
    near, nearer = (soft_optimal(MDP(TRANSITIONS, discount=1 - gap), REWARD).policy for gap in (1e-7, 1e-8))
    assert near == pytest.approx(nearer, abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 0.1])
def test_a_long_way_to_a_reward_is_found(temperature):
    states = 200
    moves = np.zeros((states, 2, states))
    moves[range(states), 0, np.minimum(np.arange(states) + 1, states - 1)] = moves[:, 1, 0] = 1
    reward = np.zeros((states, 2))
    reward[-1, 0], reward[0, 1] = 100.0, 0.01
    assert left_of(MDP(moves, discount=0.99), reward, temperature) < 1e-13
    assert soft_optimal(MDP(moves, discount=0.99), reward, temperature).policy[0, 0] > 0.99


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e9])
@pytest.mark.parametrize("direct", [0, 20_000])
def test_the_unit_of_reward_does_not_count(scale, direct, monkeypatch):
    monkeypatch.setattr(soft, "DIRECT", direct)
    mdp = MDP(TRANSITIONS, discount=0.9)
    one, other = soft_optimal(mdp, REWARD), soft_optimal(mdp, scale * REWARD, scale)
    assert other.policy == pytest.approx(one.policy, abs=1e-12)
    assert other.values / scale == pytest.approx(one.values, rel=1e-12)


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.999, 0.999999])
def test_iteration_and_newtons_method_agree(discount, monkeypatch):
    mdp, counts = MDP(TRANSITIONS, discount=discount), np.arange(12.0).reshape(6, 2)
    direct = soft_optimal(mdp, REWARD)
    gradient = counted(mdp, counts, REWARD, 1.0)[1]
    monkeypatch.setattr(soft, "DIRECT", 0)
    monkeypatch.setattr("demonstrably.tabular.likelihood.DIRECT", 0)
    monkeypatch.setattr(soft, "SWEEPS", 500)  # the dynamics mix: no need of as many as a discount near 1 would take
    monkeypatch.setattr("demonstrably.tabular.likelihood.SWEEPS", 500)
    swept = soft_optimal(mdp, REWARD)
    precision = 1e-13 + 1e-15 / (1 - discount)
    assert swept.values == pytest.approx(direct.values, rel=10 * precision)
    assert swept.policy == pytest.approx(direct.policy, abs=10 * precision)
    assert counted(mdp, counts, REWARD, 1.0)[1] == pytest.approx(gradient, abs=1e-8)


def test_values_that_do_not_settle_are_refused(monkeypatch):
    monkeypatch.setattr(soft, "DIRECT", 0)
    monkeypatch.setattr(soft, "SWEEPS", 50)
    ring = MDP(np.eye(4)[[[1, 2], [2, 3], [3, 0], [0, 1]]], discount=0.999)
    with pytest.raises(ValueError, match="did not settle in 50 sweeps: give a discount further from 1"):
        soft_optimal(ring, np.arange(8.0).reshape(4, 2))
