"""Soft Q-learning against values by hand and against soft value iteration on a chain."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch
from demonstrably.learners.contract import State
from demonstrably.learners.soft_q import SoftQ, critic_loss, soft_value, values_of
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete, Field, Spec

SPEC = Spec({"place": Field((3,))}, Discrete(2))
LEARNER = SoftQ(body=MLP((16,)), learning_rate=1e-2, temperature=0.5, discount=0.5, target_rate=0.2)
PLACES = torch.eye(3)


def begun(learner: SoftQ = LEARNER, members: int = 1) -> State:
    return learner.init(SPEC, members=members, seed=0, device="cpu")


def chain(members: int = 1, cut: bool = False) -> TransitionBatch:
    """Every step of a chain of three places once: 0 waits for 0.1, 1 goes on.

    Going on from the last place pays 1 and ends the task; where `cut`, the recording ends there and the task does not.
    """
    place, action = (x.flatten() for x in torch.meshgrid(torch.arange(3), torch.arange(2), indexing="ij"))
    after = (place + action).clamp(max=2)
    over = (place == 2) & (action == 1)
    rewards = torch.where(over, 1.0, torch.where(action == 0, 0.1, 0.0))
    seen = [{"place": PLACES[rows].expand(members, -1, -1)} for rows in (place, after)]
    action, rewards, ended = (x.expand(members, -1) for x in (action, rewards, over & (not cut)))
    return TransitionBatch(seen[0], action, rewards, seen[1], ended, {})


def iterated(temperature: float, discount: float, cut: bool) -> np.ndarray:
    """Soft value iteration, (3 places, 2 actions)."""
    q = np.zeros((3, 2))
    for _ in range(100):
        value = temperature * np.log(np.exp(q / temperature).sum(1))
        after = np.array([[value[0], value[1]], [value[1], value[2]], [value[2], value[2] if cut else 0.0]])
        q = np.array([[0.1, 0], [0.1, 0], [0.1, 1.0]]) + discount * after
    return q


def test_equations_by_hand() -> None:
    values = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    expected = [0.5 * math.log(math.exp(2) + math.exp(4)), 0.5 * math.log(2)]
    assert soft_value(values, 0.5).tolist() == [pytest.approx(expected)]
    assert soft_value(values, 0.0).tolist() == [[2.0, 0.0]]
    assert critic_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])).tolist() == [2.5]


@torch.no_grad()
def test_judged_following_and_density_by_hand() -> None:
    state, batch = begun(), chain()
    state.networks["target"].last.bias.add_(torch.tensor([1.0, 0.0]))
    values = values_of(state.networks["critic"], batch.observations)[0]
    chosen, value = LEARNER.judged(state, batch, batch.observations)
    expected = torch.stack([values[i, a] for i, a in enumerate(batch.actions[0].tolist())])
    soft = 0.5 * torch.log(torch.exp(values / 0.5).sum(-1))
    torch.testing.assert_close(chosen, expected[None, None])
    torch.testing.assert_close(value, soft[None, None])
    _, elsewhere = LEARNER.judged(state, batch, batch.next_observations)
    there = values_of(state.networks["critic"], batch.next_observations)
    torch.testing.assert_close(elsewhere, soft_value(there, 0.5).unsqueeze(1))
    torch.testing.assert_close(LEARNER.log_density(state, batch), ((expected - soft) / 0.5)[None])
    both = torch.log_softmax(values / 0.5, -1)
    torch.testing.assert_close(LEARNER.log_density(state, batch)[0, 0], both[0, 0])
    later = values_of(state.networks["target"], batch.next_observations)
    following = 0.5 * torch.log(torch.exp(later / 0.5).sum(-1))
    following[0, 5] = 0  # the task was over
    torch.testing.assert_close(LEARNER.following(state, batch), following)
    loss = LEARNER.loss(state, ExperienceBatch(batch, None))
    torch.testing.assert_close(loss, critic_loss(expected[None], batch.rewards + 0.5 * following))


def test_without_a_target_the_following_value_is_differentiable() -> None:
    plain = replace(LEARNER, target_rate=None)
    assert not LEARNER.following(begun(), chain()).requires_grad
    state = begun(plain)
    assert "target" not in state.networks and plain.following(state, chain()).requires_grad
    plain.update(state, chain())


@pytest.mark.parametrize("cut", [False, True])
def test_it_equals_soft_value_iteration(cut: bool) -> None:
    state, batch = begun(members=2), chain(2, cut)
    for _ in range(150):
        LEARNER.update(state, batch)
    found = values_of(state.networks["critic"], {"place": PLACES.expand(2, -1, -1)}).detach()
    expected = iterated(0.5, 0.5, cut)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (2, 3, 2)), atol=0.05)
    policy = LEARNER.policy(state)
    action, _ = policy.act({"place": PLACES.expand(2, -1, -1)}, policy.start(torch.zeros(2, 3, dtype=torch.int64)))
    assert action.tolist() == [expected.argmax(1).tolist()] * 2


def test_it_explores_by_the_softmax_of_its_values() -> None:
    state = begun()
    with torch.no_grad():
        for parameter in state.networks["critic"].parameters():
            parameter.zero_()
        state.networks["critic"].last.bias.copy_(torch.tensor([[[0.0, 0.5]]]))
    rows = 4000
    policy = LEARNER.explore(state)
    carry = policy.start(torch.arange(rows)[None])
    action, _ = policy.act({"place": torch.zeros(1, rows, 3)}, carry)
    assert action.float().mean() == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)  # 0.5 / temperature = 1
    greedy, _ = LEARNER.policy(state).act({"place": torch.zeros(1, rows, 3)}, carry)
    assert (greedy == 1).all()


def test_what_it_reads_and_cannot_do() -> None:
    assert LEARNER.reads() == Experience(64, 0)
    with pytest.raises(ValueError, match="continuous: use sac"):
        LEARNER.init(replace(SPEC, action=Continuous((-1.0,), (1.0,))), members=1, seed=0, device="cpu")


@pytest.mark.parametrize("wrong", [{"discount": 0.0}, {"target_rate": 1.5}, {"temperature": -1.0}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SoftQ(**wrong)
