"""How an actor acts: seeds fix its chance, its memory is explicit, and members can be chosen."""

import pytest
import torch
from torch import Tensor

from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Carry, Learner, State
from demonstrably.learners.policies import ActorPolicy, actor_of
from demonstrably.nets.heads import GaussianMixture
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.transformer import Transformer
from demonstrably.spec import Continuous, Field, Spec

SPEC = Spec({"state": Field((3,))}, Continuous((-1.0,), (1.0,)))
MIXTURE = GaussianMixture(modes=8)
LEARNERS: tuple[Learner, ...] = (
    BC(body=MLP((8,)), head=MIXTURE),
    BCRNN(window=4, body=LSTM(8, 1), head=MIXTURE),
    BCRNN(window=4, body=Transformer(layers=1, heads=2, width=8), head=MIXTURE),
)
learners = pytest.mark.parametrize("learner", LEARNERS, ids=["bc", "lstm", "transformer"])


def policy_of(learner: Learner, members: int = 2) -> ActorPolicy:
    return learner.policy(learner.init(SPEC, members=members, seed=0, device="cpu"))


def seen(members: int, batch: int) -> dict[str, Tensor]:
    """The same observation for every member, episode and step: only chance can make actions differ."""
    return {"state": torch.tensor([0.3, -1.0, 2.0]).expand(members, batch, 3)}


def play(policy: ActorPolicy, seeds: Tensor, steps: int = 12) -> Tensor:
    carry, actions = policy.start(seeds), []
    for _ in range(steps):
        action, carry = policy.act(seen(*seeds.shape), carry)
        actions.append(action)
    return torch.stack(actions)


@learners
def test_the_seed_fixes_all_chance(learner: Learner) -> None:
    policy = policy_of(learner)
    seeds = torch.tensor([[5, 6, 5], [7, 5, 5]])
    actions = play(policy, seeds)
    assert torch.equal(play(policy, seeds), actions)
    assert torch.equal(actions[:, 0, 0], actions[:, 0, 2]) and torch.equal(actions[:, 1, 1], actions[:, 1, 2])
    assert not torch.equal(actions[:, 0, 0], actions[:, 0, 1])


@learners
def test_chance_differs_from_step_to_step(learner: Learner) -> None:
    policy = policy_of(learner, members=1)
    if isinstance(learner, BC):  # without memory the same eight means at every step
        assert len(play(policy, torch.tensor([[1]]), 40).unique()) > 3
    carry = policy.start(torch.tensor([[1]]))
    _, after = policy.act(seen(1, 1), carry)
    assert carry["age"].tolist() == [[0]] and after["age"].tolist() == [[1]]
    assert torch.equal(after["key"], carry["key"])


@learners
def test_an_episode_can_begin_while_others_go_on(learner: Learner) -> None:
    """Rows of the carry are independent: one replaced by a fresh one is a new episode."""
    policy, seeds = policy_of(learner), torch.tensor([[1, 2], [3, 4]])
    carry = policy.start(seeds)
    for _ in range(3):
        _, carry = policy.act(seen(2, 2), carry)
    fresh = policy.start(seeds + 50)
    mixed: Carry = {name: value.clone() for name, value in carry.items()}
    for name, value in mixed.items():
        value[0, 1] = fresh[name][0, 1]
    expected, going_on = play(policy, seeds + 50, 6), play(policy, seeds, 9)
    for t in range(6):
        action, mixed = policy.act(seen(2, 2), mixed)
        torch.testing.assert_close(action[0, 1], expected[t, 0, 1])
        torch.testing.assert_close(action[1, 0], going_on[3 + t, 1, 0])


@learners
def test_acting_records_no_gradient(learner: Learner) -> None:
    policy = policy_of(learner)
    action, carry = policy.act(seen(2, 3), policy.start(torch.zeros(2, 3, dtype=torch.int64)))
    assert not action.requires_grad and not any(value.requires_grad for value in carry.values())


@learners
def test_members_are_taken_and_joined_in_order(learner: Learner) -> None:
    policy = policy_of(learner, members=3)
    seeds = torch.arange(12).view(3, 4)
    whole = play(policy, seeds)
    torch.testing.assert_close(play(policy.take([2, 1]), seeds[[2, 1]]), whole[:, [2, 1]])
    joined = ActorPolicy.concatenate([policy.take([2]), policy.take([0, 1])])
    assert joined.members == 3 and joined.spec == SPEC
    torch.testing.assert_close(play(joined, seeds[[2, 0, 1]]), whole[:, [2, 0, 1]])


def test_a_policy_follows_its_state() -> None:
    learner = BC(body=MLP((8,)), average=0.0)
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    policy = learner.policy(state)
    before = play(policy, torch.tensor([[1]]))
    with torch.no_grad():
        actor_of(state).last.bias.add_(1)
    assert not torch.equal(play(policy, torch.tensor([[1]])), before)


def test_actor_of_wants_an_actor() -> None:
    state = State({"actor": torch.nn.Linear(1, 1)}, {}, torch.zeros(1, dtype=torch.int64), torch.tensor(0))
    with pytest.raises(AssertionError):
        actor_of(state)
