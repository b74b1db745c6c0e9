"""Inverse soft-Q learning against values by hand, numerical conjugates, and a problem whose best answer is known."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from demonstrably.data.batches import ExperienceBatch, TransitionBatch, all_steps
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.iq_learn import (
    IQLearn,
    _slope_penalty,
    absorbing_value,
    held_within,
    implied_reward,
    inverse_loss,
    reward_penalty,
    value_of_steps,
)
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ, soft_value
from demonstrably.nets.divergences import (
    ChiSquare,
    Divergence,
    Hellinger,
    JensenShannon,
    KullbackLeibler,
    TotalVariation,
)
from demonstrably.nets.ends import Ends
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Field, Spec
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import train, validation_loss


def test_soft_value_by_hand() -> None:
    values = torch.tensor([[[1.0, 3.0]]])
    assert soft_value(values, 2.0).item() == pytest.approx(2 * math.log(math.exp(0.5) + math.exp(1.5)))
    assert soft_value(values, 1e-3).item() == pytest.approx(3.0)


def test_the_objective_by_hand() -> None:
    chosen, value = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.5, 2.5]]])
    following = torch.tensor([[[1.0, 0.0]]])
    reward = implied_reward(chosen, following, 0.9)  # 0.1 and, at the end of the task, 2
    spent = value_of_steps(value, following, 0.9)  # 0.6 and 2.5
    # phi(x) = x - x^2 / 2: 0.095 and 0; what is spent less what is earned: 0.505 and 2.5.
    assert inverse_loss(reward, spent, ChiSquare(0.5)).item() == pytest.approx((0.505 + 2.5) / 2)
    assert reward_penalty(reward, 0.5).item() == pytest.approx((0.01 + 4) / 4)


def test_after_the_end_the_value_is_the_absorbing_states() -> None:
    following, over = torch.tensor([[[5.0, 150.0, 0.0]]]), torch.tensor([[False, False, True]])
    for shares, value in (((0.0, 0.1), -100.0), ((0.1, 0.0), 100.0), ((0.1, 0.1), 0.0), ((0.3, 0.1), 50.0)):
        absorbing = absorbing_value(torch.tensor([shares]), 100.0)
        assert held_within(following, over, absorbing, 100.0)[0, 0].tolist() == pytest.approx([5.0, 100.0, value])


def test_the_shares_of_ends_are_followed() -> None:
    """The mean of all batches so far, of two demonstrated steps and of six own ones; then over the last thousand."""
    ends, step = Ends(1), torch.zeros((), dtype=torch.int64)
    many = torch.tensor([[True, False, True, True, True, False, False, False]])
    few = torch.tensor([[False, False, True, False, False, False, False, False]])
    for i in range(60):
        ends.see(many if i < 20 else few, 2, step + i)
    assert ends.shares[0].tolist() == pytest.approx([0.5 / 3, (0.5 + 2 / 6) / 3], abs=1e-4)
    before = ends.shares.clone()
    ends.see(many, 2, step + 10**6)
    torch.testing.assert_close(ends.shares, before + 0.001 * (torch.tensor([[0.5, 0.5]]) - before))


def chi_square(t: np.ndarray) -> np.ndarray:
    return (t - 1) ** 2


def hellinger(t: np.ndarray) -> np.ndarray:
    return (np.sqrt(t) - 1) ** 2


def kullback_leibler(t: np.ndarray) -> np.ndarray:
    return t * np.log(t)


def jensen_shannon(t: np.ndarray) -> np.ndarray:
    return t * np.log(t) - (t + 1) * np.log((t + 1) / 2)


@pytest.mark.parametrize(
    ("divergence", "generator"),
    [
        (ChiSquare(1.0), chi_square),
        (Hellinger(), hellinger),
        (KullbackLeibler(), kullback_leibler),
        (JensenShannon(), jensen_shannon),
    ],
)
def test_divergences_are_conjugates(divergence: Divergence, generator: Callable[[np.ndarray], np.ndarray]) -> None:
    rewards, ratios = np.array([-0.5, -0.1, 0.0, 0.3, 1.0]), np.linspace(1e-9, 60, 2_000_001)
    conjugate = np.array([np.max(-reward * ratios - generator(ratios)) for reward in rewards])
    found = divergence.concave(torch.tensor(rewards))
    np.testing.assert_allclose(found.numpy(), -conjugate, atol=1e-4)


def test_total_variation_is_a_conjugate_too() -> None:
    """f(t) = |t - 1| / 2, whose conjugate is finite for rewards up to a half only."""
    rewards, ratios = np.array([-0.5, -0.1, 0.0, 0.3, 0.5]), np.linspace(0, 60, 60_001)
    conjugate = np.array([np.max(-reward * ratios - np.abs(ratios - 1) / 2) for reward in rewards])
    np.testing.assert_allclose(TotalVariation().concave(torch.tensor(rewards)).numpy(), -conjugate, atol=1e-6)


@pytest.mark.parametrize("divergence", [Hellinger(), KullbackLeibler(), JensenShannon()])
def test_divergences_stay_finite(divergence: Divergence) -> None:
    assert torch.isfinite(divergence.concave(torch.tensor([-100.0, 100.0]))).all()


@pytest.mark.parametrize("divergence", [Hellinger(), KullbackLeibler(), JensenShannon()])
def test_divergences_pull_a_low_reward_up(divergence: Divergence) -> None:
    reward = torch.linspace(-20.0, 20.0, 40_001, dtype=torch.float64, requires_grad=True)
    value = divergence.concave(reward)
    (slope,) = torch.autograd.grad(value.sum(), reward)
    assert slope[0] == 100.0 and slope[-1] > 0 and (slope.diff() <= 1e-9).all()  # concave, and nowhere flat
    between = (slope[:-1] + slope[1:]) / 2 * reward.detach().diff()
    torch.testing.assert_close(value.detach().diff(), between, atol=2e-3, rtol=0)  # no jump


def chain(terminated: bool, last: bool = True) -> Demonstrations:
    """Episodes of states 0, 1, 2, which the demonstrator leaves by actions 1, 0 and 1."""
    states = np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5]
    over = np.array([False, False, terminated] * 5)
    demos = Demonstrations.from_arrays(states, [1, 0, 1] * 5, terminated=over, lengths=[3] * 5)
    if last:
        return demos
    column = demos.table.column_names.index("final_observation")
    return replace(demos, table=demos.table.set_column(column, "final_observation", [[False] * 5]))


@pytest.mark.slow
@pytest.mark.parametrize("value", ["steps", "initial"])
def test_the_demonstrators_actions_are_worth_most(value: str) -> None:
    generator = SoftQ(learning_rate=1e-2, temperature=0.1, target_rate=None, average=0.999, body=MLP((16,)))
    learner = IQLearn(batch_size=32, value=value, generator=generator)
    demos = chain(terminated=True)
    state = learner.init(demos.spec(), members=2, seed=0, device="cpu")
    feed = OfflineFeed(demos, ("flat",), learner.reads(), "cpu")
    (progress,) = train(learner, feed, 600, state=state, every=(600,))
    policy = learner.policy(state)
    seen = torch.eye(4)[:3].expand(2, 3, 4)
    actions, _ = policy.act({"flat": seen}, policy.start(torch.zeros(2, 3, dtype=torch.int64)))
    assert actions.tolist() == [[1, 0, 1]] * 2
    assert (progress.metrics["reward"] > 0).all()
    assert np.isfinite(validation_loss(learner, feed, state)).all()


def test_a_time_out_is_bootstrapped_and_a_death_is_not() -> None:
    learner = IQLearn(batch_size=4)
    for terminated in (False, True):
        demos = chain(terminated)
        feed = OfflineFeed(demos, ("flat",), learner.reads(), "cpu")
        ((count, batch),) = feed.once(1, 100)
        assert count == 15
        assert batch.terminated.sum().item() == 5 * terminated
        assert batch.next_observations["flat"][0, 2].tolist() == [0, 0, 0, 1]
        assert batch.first["flat"][0, :, 0].tolist() == [1.0] * 15


def test_a_step_without_what_followed_is_left_out() -> None:
    learner = IQLearn(batch_size=4)
    ((count, _),) = OfflineFeed(chain(False, last=False), ("flat",), learner.reads(), "cpu").once(1, 100)
    assert count == 10
    ((count, _),) = OfflineFeed(chain(True, last=False), ("flat",), learner.reads(), "cpu").once(1, 100)
    assert count == 15  # nothing followed: the task was over


# --- the learner's own objective ---

PLACE = Spec({"place": Field((2,))}, Continuous((-1.0,), (1.0,)))
GENERATOR = SAC(body=MLP((4,)), critics=1, temperature=0.3, discount=0.9)


def moves(seed: int, size: int, over: int = 0) -> TransitionBatch:
    """Some steps, the first `over` of them the task's end."""
    draws = torch.Generator().manual_seed(seed)
    here, there, first = ({"place": torch.randn(1, size, 2, generator=draws)} for _ in range(3))
    actions = 2 * torch.rand(1, size, 1, generator=draws) - 1
    return TransitionBatch(here, actions, torch.zeros(1, size), there, torch.arange(size)[None] < over, first)


@pytest.mark.parametrize("value", ["steps", "demonstrated", "initial"])
def test_every_term_is_taken_over_its_own_steps(value: str) -> None:
    """Three demonstrated steps and five own ones, one of either an end: phi over the three, Eq. 4 over all."""
    learner = IQLearn(True, 4, GENERATOR, ChiSquare(0.5), value, penalty=0.25, allow_variable_horizon=True)
    state = learner.init(PLACE, members=1, seed=0, device="cpu")
    batch = ExperienceBatch(moves(1, 5, 1), moves(2, 3, 1))
    steps, shown = all_steps(batch)
    assert shown == 3
    part = state.parts["generator"]
    chosen, there = GENERATOR.judged(part, steps, steps.first if value == "initial" else steps.observations)
    following = GENERATOR.following(part, steps).unsqueeze(1)
    reward = chosen - 0.9 * following
    earned = reward[..., :3] - reward[..., :3].square() / 2
    spent = 0.1 * there if value == "initial" else there - 0.9 * following
    spent = spent[..., :3] if value == "demonstrated" else spent
    expected = spent.mean() - earned.mean() + reward.square().mean()  # 1 / (4 x 0.25)
    assert learner.loss(state, batch).item() == pytest.approx(expected.item(), abs=1e-5)


def test_ends_are_seen_by_who_made_them_and_bound_what_follows() -> None:
    learner = IQLearn(True, 4, GENERATOR, TotalVariation(), penalty=0.5, bounded=0.5)
    state = learner.init(PLACE, members=1, seed=0, device="cpu")
    learner.step(state, ExperienceBatch(moves(1, 5, 1), moves(2, 3, 2)))
    shown, own = 2 / 3, 1 / 5
    assert learner.afterwards(state).item() == pytest.approx(0.5 * (shown - own) / (shown + own), abs=1e-5)
    ended = moves(3, 4, 4)
    chosen, _ = GENERATOR.judged(state.parts["generator"], ended, ended.observations)
    worth = 0.9 * 10 * learner.afterwards(state)  # discount / (1 - discount) steps of it
    torch.testing.assert_close(learner.reward(state, ended), (chosen.squeeze(1) - worth).detach())


def test_the_reward_is_what_q_loses_in_a_step() -> None:
    learner, steps = IQLearn(True, 4, GENERATOR), moves(3, 6, 1)
    state = learner.init(PLACE, members=1, seed=0, device="cpu")
    part = state.parts["generator"]
    chosen, _ = GENERATOR.judged(part, steps, steps.observations)
    following = GENERATOR.following(part, steps)
    assert (following[:, 1:].abs() > 0.01).all() and following[0, 0] == 0
    torch.testing.assert_close(learner.reward(state, steps), (chosen.mean(1) - 0.9 * following).detach())
    assert learner.afterwards(state).tolist() == [0.0]


def test_an_update_brings_the_slopes_of_q_nearer_to_one() -> None:
    learner = IQLearn(True, 8, GENERATOR, gradient_penalty=1e6)
    state = learner.init(PLACE, members=1, seed=0, device="cpu")
    batch, part = ExperienceBatch(moves(1, 8), moves(2, 8)), state.parts["generator"]

    def penalty() -> float:
        part.step.zero_()
        return _slope_penalty(part, *all_steps(batch)).item()

    before = penalty()
    learner.step(state, batch)
    assert penalty() < before


def test_actions_that_the_generator_does_not_have_are_refused() -> None:
    demos = Demonstrations.from_arrays(np.zeros((4, 2), np.float32), np.zeros((3, 1), np.float32), lengths=[3])
    with pytest.raises(ValueError, match="discrete"):
        IQLearn(generator=SoftQ()).init(demos.spec(), members=1, seed=0, device="cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"penalty": 0.0},
        {"bounded": -1.0, "online": True},
        {"bounded": 1.0},
        {"bounded": 1.0, "online": True, "value": "initial"},
        {"gradient_penalty": 1.0},
    ],
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IQLearn(**wrong)
