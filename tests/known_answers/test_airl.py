"""AIRL against values by hand, and on a ring of states whose reward can be known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from demonstrably.data.batches import ExperienceBatch, TransitionBatch
from demonstrably.learners.airl import AIRL, policy_logit, shaped
from demonstrably.learners.gail import UNSEEN, discriminator_of
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete, Field, Spec

DISCOUNT = 0.9
STATES = 3
SPEC = Spec({"flat": Field((STATES,))}, Discrete(2))


def test_the_shaped_reward_by_hand() -> None:
    reward, potential, following = torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 3.0]]), torch.tensor([[4.0, 5.0]])
    found = shaped(reward, potential, following, torch.tensor([[False, True]]), 0.5)
    assert found.tolist() == [[1 + 0.5 * 4 - 2, 1 - 3]]  # nothing follows the end


def test_the_logit_by_hand() -> None:
    # f = log 2 and pi = 1/4: D = 2 / (2 + 1/4) = 8/9
    logit = policy_logit(torch.tensor([[math.log(2)]]), torch.tensor([[math.log(1 / 4)]]), -20.0)
    assert torch.sigmoid(logit).tolist() == [pytest.approx([8 / 9])]
    assert policy_logit(torch.tensor([[1.0]]), torch.tensor([[-1e6]]), -20.0).tolist() == [[21.0]]


# --- a ring: action 0 goes back, action 1 ahead ---


def ring(counts: np.ndarray, *, ends: int = 0) -> TransitionBatch:
    """That many steps of each state and action, (states, 2), the first `ends` of them terminated."""
    pairs = np.repeat(np.argwhere(counts >= 0), counts.flatten(), axis=0)
    after = (pairs[:, 0] + 2 * pairs[:, 1] - 1) % STATES
    seen, next_seen = ({"flat": torch.eye(STATES)[torch.from_numpy(rows)][None]} for rows in (pairs[:, 0], after))
    terminated = torch.arange(len(pairs))[None] < ends
    rewards = torch.full((1, len(pairs)), math.nan)
    return TransitionBatch(seen, torch.from_numpy(pairs[:, 1])[None], rewards, next_seen, terminated, {})


def best_policy(reward: np.ndarray) -> np.ndarray:
    """pi(a | s) of largest reward plus entropy, (states, 2), by soft value iteration."""
    states = np.arange(STATES)
    after = np.stack([(states - 1) % STATES, (states + 1) % STATES], 1)
    value = np.zeros(STATES)
    for _ in range(500):
        worth = reward[:, None] + DISCOUNT * value[after]
        value = np.logaddexp.reduce(worth, 1)
    return np.exp(worth - value[:, None])


@pytest.mark.slow
def test_the_reward_of_a_ring_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """From any of an odd ring's states two others are a step away, so that g is the reward up to a constant."""
    monkeypatch.setattr(SoftQ, "update", lambda *_: {})  # the policy stays uniform
    reward = np.array([1.0, 0.0, -0.5])
    shown = np.rint(60 * best_policy(reward)).astype(int)
    own = np.full((STATES, 2), 30)
    generator = SoftQ(discount=DISCOUNT, body=MLP((4,)))
    learner = AIRL(
        generator, 180, learning_rate=2e-2, state_only=True, gradient_penalty=0.0, normalize=False, body=MLP((16,))
    )
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    for weight in state.parts["generator"].networks["critic"].parameters():
        nn.init.zeros_(weight)
    batch = ExperienceBatch(ring(own), ring(shown))
    for _ in range(400):
        learner.step(state, batch)
    found = learner.reward(state, ring(np.array([[1, 0]] * STATES)))[0].numpy()
    np.testing.assert_allclose(found - found.mean(), reward - reward.mean(), atol=0.1)


def test_the_generator_gets_f_in_its_own_units(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[TransitionBatch] = []
    monkeypatch.setattr(SoftQ, "update", lambda _self, _state, batch: given.append(batch) or {})
    generator = SoftQ(discount=DISCOUNT, temperature=0.5, body=MLP((4,)))
    learner = AIRL(generator, 6, learning_rate=1e-9, normalize=False, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    network, batch = discriminator_of(state), ring(np.ones((STATES, 2), int), ends=1)
    learner.step(state, ExperienceBatch(batch, ring(np.ones((STATES, 2), int), ends=6)))
    potential = network.potential
    assert potential
    before, after = (potential(seen, batch.actions) for seen in (batch.observations, batch.next_observations))
    advantage = learner.reward(state, batch) - before + DISCOUNT * after * ~batch.terminated
    absorbing = math.log((1 + UNSEEN) / (1 / 6 + UNSEEN))  # g of the absorbing state, by who ended how often
    advantage[0, 0] += absorbing * 9  # discount / (1 - discount) steps of it
    torch.testing.assert_close(given[0].rewards, (0.5 * advantage).detach())


@pytest.mark.parametrize("absorbing", [True, False])
def test_what_comes_after_an_end_is_as_who_ends_more(absorbing: bool) -> None:
    learner = AIRL(SoftQ(temperature=0.5, body=MLP((4,))), 6, absorbing=absorbing, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    each = np.ones((STATES, 2), int)
    learner.step(state, ExperienceBatch(ring(each, ends=1), ring(each, ends=6)))
    assert learner.afterwards(state).item() == pytest.approx(math.log((1 + UNSEEN) / (1 / 6 + UNSEEN)) * absorbing)


def test_the_discriminator_is_told_what_the_policy_does() -> None:
    """Eq. 2 in the learner's own loss, for a policy that is far from uniform."""
    generator = SoftQ(discount=DISCOUNT, temperature=0.1, body=MLP((4,)))
    learner = AIRL(generator, 4, floor=-2.5, normalize=False, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    shown, own = ring(np.array([[0, 2], [1, 1], [2, 0]])), ring(np.array([[3, 0], [0, 2], [1, 2]]))
    critic = state.parts["generator"].networks["critic"]

    def logits(batch: TransitionBatch) -> torch.Tensor:
        values = critic.outputs(critic.body(critic.encoder(batch.observations)))  # (1, B, 2)
        density = torch.log_softmax(values / 0.1, -1).gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        assert (density < -2.5).any() and (density > -0.7).any()  # some held up by the floor, some likely
        potential = discriminator_of(state).potential
        before, after = (potential(seen, batch.actions) for seen in (batch.observations, batch.next_observations))
        return learner.reward(state, batch) + DISCOUNT * after - before - density.clamp(min=-2.5)

    torch.manual_seed(0)
    for weight in critic.parameters():
        nn.init.normal_(weight)
    expected = softplus(-logits(shown)).mean(1) + softplus(logits(own)).mean(1)
    torch.testing.assert_close(learner.loss(state, ExperienceBatch(own, shown)), expected)


def test_the_floor_is_higher_for_continuous_actions() -> None:
    """A policy far from what was done, by either kind of actions: what is not given is -2 and -20."""
    place = Spec({"flat": Field((STATES,))}, Continuous((-1.0, -1.0), (1.0, 1.0)))
    for spec, generator, usual in (
        (place, SAC(temperature=0.1, body=MLP((4,))), -2.0),
        (SPEC, SoftQ(temperature=0.001, body=MLP((4,))), -20.0),
    ):
        learner = AIRL(generator, 4, normalize=False, body=MLP((4,)))
        state = learner.init(spec, members=1, seed=0, device="cpu")
        steps = ring(np.array([[2, 2], [2, 2], [2, 2]]))
        if spec is place:
            steps = replace(steps, actions=torch.full((1, 12, 2), 0.99))
            actor = state.parts["generator"].networks["actor"]
            with torch.no_grad():
                actor.last.bias.copy_(torch.tensor([[[-6.0, -6.0, -2.0, -2.0]]]))
        assert generator.log_density(state.parts["generator"], steps).min() < -25
        batch = ExperienceBatch(steps, steps)
        losses = [replace(learner, floor=floor).loss(state, batch).item() for floor in (None, usual, 1.5 * usual)]
        assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("generator", [SAC(), SoftQ(temperature=0.0)])
def test_a_temperature_that_is_not_fixed_is_refused(generator: SAC | SoftQ) -> None:
    with pytest.raises(ValueError, match="temperature"):
        AIRL(generator)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="gradient_penalty"):
        AIRL(gradient_penalty=-1.0)
    with pytest.raises(ValueError, match=r"floor 5\.0: must be below 0"):
        AIRL(floor=5.0)
