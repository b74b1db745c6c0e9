"""CSIL against values by hand, a clone that must know what it was shown, and the order of its stages."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import ExperienceBatch, TransitionBatch, Transitions, all_steps
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import State
from demonstrably.learners.csil import (
    CSIL,
    cloning_loss,
    coherent_reward,
    near_clone,
    refinement_loss,
    slope_penalty,
)
from demonstrably.learners.policies import actor_of, log_density_of
from demonstrably.learners.sac import SAC
from demonstrably.nets.critics import Critics
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.stationary import LEAST, PRIOR, Spread, Stationary, triangle
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.session import Evidence, Plan

# --- losses ---


def test_the_reward_by_hand() -> None:
    """A density of 1/4 on two actions is that of the uniform prior; e^2 times as much is worth 1 an action."""
    densities = torch.tensor([[math.log(1 / 4), math.log(1 / 4) + 2, -100.0]])
    assert coherent_reward(densities, 2, 5.0)[0].tolist() == pytest.approx([0.0, 1.0, -5.0])


def test_staying_near_the_clone_by_hand() -> None:
    log_density = torch.tensor([[0.7, -1.3]])
    found = near_clone(torch.tensor([[2.0, 3.0]]), coherent_reward(log_density, 2, 5.0), 2, 0.1)
    assert found[0].tolist() == pytest.approx([2.0 + 0.1 * 0.7, 3.0 - 0.1 * 1.3])


def test_the_clone_is_best_by_its_own_reward() -> None:
    """Section 4: with the reward's own temperature and no future, exp(r / temperature) is the clone's density."""
    places = torch.linspace(-0.999, 0.999, 2001, dtype=torch.float64).view(1, -1, 1)
    outputs = torch.tensor([0.3, -0.5], dtype=torch.float64).expand(1, 2001, 2)
    log_density = -TanhGaussian().loss(outputs, places)
    best = torch.softmax(coherent_reward(log_density, 1, 50.0) / 1.0, -1)
    density = log_density.exp() / log_density.exp().sum()
    torch.testing.assert_close(best, density)


def test_the_refinement_by_hand() -> None:
    loss = refinement_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0, -20.0]]))
    own = [0.0, math.exp(-1), math.exp(5) - 1 - 5]
    assert loss.item() == pytest.approx(sum(own) / 3 - 1.5)
    own_reward = torch.tensor([[0.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(refinement_loss(torch.zeros(1, 1), own_reward).sum(), own_reward)
    assert slope.item() == pytest.approx(0.0)  # own steps are to be worth 0
    far = torch.tensor([[-6.0, -2.0]], requires_grad=True)
    (slopes,) = torch.autograd.grad(refinement_loss(torch.zeros(1, 1), far).sum(), far)
    assert slopes[0].tolist() == pytest.approx([0.0, (1 - math.exp(2)) / 2])  # flat where it is far below


def test_the_slope_penalty_by_hand() -> None:
    slopes = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    assert slope_penalty(slopes).item() == pytest.approx(math.sqrt(25 / 2))
    flat = torch.zeros(1, 3, 2, requires_grad=True)
    (found,) = torch.autograd.grad(slope_penalty(flat).sum(), flat)
    assert not found.any()  # and no NaN


# --- the clone ---


def test_the_wave_by_hand() -> None:
    places = torch.tensor([0.0, math.pi / 2, math.pi, 3 * math.pi / 2, 2 * math.pi, -math.pi / 4])
    top = math.sqrt(3)  # of a triangle wave with a mean square of 1
    assert triangle(places).tolist() == pytest.approx([0.0, top, 0.0, -top, 0.0, -top / 2], abs=1e-5)
    many = triangle(torch.linspace(0, 2 * math.pi, 10_001))
    assert many.square().mean().item() == pytest.approx(1.0, abs=1e-3)


def test_the_deviation_by_hand() -> None:
    spread = Spread(2, 1, generators(1, 0))
    with torch.no_grad():
        spread.root.copy_(torch.tensor([[[[2.0, 9.0], [1.0, 3.0]]]]))  # of which the 9 is not read
        spread.weight.copy_(torch.tensor([[[1.0], [-1.0]]]))
        spread.bias.fill_(0.5)
    mean, log_std = spread(torch.tensor([[[0.1, 0.2]]])).flatten().tolist()
    variance = (2 * 0.1 + 1 * 0.2) ** 2 + (3 * 0.2) ** 2
    assert mean == pytest.approx(0.5 + 0.1 - 0.2)
    assert math.exp(log_std) == pytest.approx(math.sqrt(PRIOR) * math.tanh(math.sqrt(LEAST + variance)))


def line(count: int = 400) -> Demonstrations:
    """Steps between -1 and 1 whose action is half of what is observed, with a spread of 0.05."""
    draws = np.random.default_rng(0)
    seen = draws.uniform(-1, 1, (count + 1, 1)).astype(np.float32)
    actions = 0.5 * seen[:-1] + draws.normal(0, 0.05, (count, 1))
    return Demonstrations.from_arrays(seen, actions.astype(np.float32), lengths=[count])


SMALL = Stationary(hidden=(32,), embedding=4, features=32, frequency=1.0)
ACTS = SAC(temperature=0.05, critics=1, layer_norm=True, average=0.9, normalize=True, body=MLP((16,)))
LEARNER = CSIL(ACTS, batch_size=32, cloning=400, judging=5, body=SMALL)


def batch_of(demos: Demonstrations, state: State, size: int = 32) -> ExperienceBatch:
    """Recorded steps as demonstrated ones, and with other actions as own ones."""
    feed = OfflineFeed(demos, demos.keys(), Transitions(size), "cpu")
    shown = feed.draw(state)
    assert isinstance(shown, TransitionBatch)
    return ExperienceBatch(replace(shown, actions=-shown.actions, first={}), shown)


def cloned(learner: CSIL, demos: Demonstrations, members: int = 2) -> State:
    state = learner.init(demos.spec(), members=members, seed=0, device="cpu")
    for _ in range(learner.cloning):
        learner.step(state, batch_of(demos, state))
    return state


@pytest.mark.slow
def test_what_was_shown_is_worth_much_what_is_unlike_it_costs_and_what_is_unknown_is_worth_nothing() -> None:
    demos = line()
    state = cloned(LEARNER, demos)

    def worth(seen: Tensor, acted: Tensor) -> Tensor:
        places = {"flat": seen.view(1, -1, 1).expand(2, -1, 1)}
        actions, zeros = acted.view(1, -1, 1).expand(2, -1, 1), torch.zeros(2, len(seen))
        return LEARNER.reward(state, TransitionBatch(places, actions, zeros, places, zeros.bool(), {}))

    near, far = torch.linspace(-0.9, 0.9, 50), torch.linspace(3.0, 5.0, 50)
    truth = math.log(2) - 0.5 * math.log(2 * math.pi) - math.log(0.05)  # at the middle of the true spread
    assert ((worth(near, 0.5 * near).mean(1) - truth).abs() < 0.8).all()
    assert (worth(near, 0.5 * near + 0.5).mean(1) < -2).all()
    assert (worth(far, torch.linspace(-0.9, 0.9, 50)).mean(1).abs() < 1).all()


def test_the_likelihood_teaches_the_deviation_alone() -> None:
    demos = line()
    state = LEARNER.init(demos.spec(), members=1, seed=0, device="cpu")
    clone, shown = actor_of(state, "clone"), batch_of(demos, state).demonstrated
    assert shown
    loss, _ = cloning_loss(clone, shown)
    names, parameters = zip(*clone.named_parameters(), strict=True)
    both = torch.autograd.grad(loss.sum(), parameters)
    alone = torch.autograd.grad(cloning_loss(clone, shown)[1].sum(), parameters)
    for name, found, wanted in zip(names, both, alone, strict=True):
        if name == "last.root":
            assert not wanted.any() and found.any()
        else:
            torch.testing.assert_close(found, wanted)


# --- stages ---


def kept(state: State) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.weights().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor], part: str) -> bool:
    names = [name for name in before if name.startswith(part)]
    assert names
    return any(not torch.equal(before[name], after[name]) for name in names)


def test_each_stage_moves_what_it_is_for() -> None:
    demos, learner = line(), replace(LEARNER, cloning=3, judging=4, refinement=1e-3)
    assert [learner.stage(step) for step in (0, 2, 3, 6, 7)] == [0, 0, 1, 1, 2]
    assert learner.reads().ahead == 7
    state = learner.init(demos.spec(), members=2, seed=0, device="cpu")
    begun = kept(state)
    moving: list[set[str]] = []
    parts = ("clone", "reward", "generator/actor", "generator/average", "generator/critic", "generator/target")
    for steps in (3, 4, 3):
        before = kept(state)
        for _ in range(steps):
            learner.step(state, batch_of(demos, state))
        moving.append({part for part in parts if moved(before, kept(state), part + "/")})
        if steps == 3 and len(moving) == 1:
            weights = state.weights()
            same = [name.removeprefix("clone/") for name in weights if name.startswith("clone/")]
            for copied in ("reward/", "generator/actor/", "generator/average/"):
                assert all(torch.equal(weights[copied + name], weights["clone/" + name]) for name in same)
    assert moving == [set(parts[:4]), set(parts[4:]), set(parts[1:])]
    assert moved(begun, kept(state), "clone/")


def test_critics_are_taught_the_reward_near_the_clone_and_flat_tops_where_it_was_shown() -> None:
    demos = line()
    learner = replace(LEARNER, cloning=60, judging=1, gradient_penalty=0.0, floor=50.0)
    state = cloned(learner, demos)
    part, batch = state.parts["generator"], batch_of(demos, state)
    assert batch.demonstrated
    steps, shown = all_steps(batch)
    reward = learner.reward(state, steps)
    loss, value = learner._critic_loss(state, steps, shown, reward)
    critics, scaling = part.networks["critic"], actor_of(part).scaling
    assert isinstance(critics, Critics) and scaling
    values = critics(steps.observations, scaling.inward(steps.actions))[:, 0]
    near = reward + 0.05 * log_density_of(actor_of(state, "clone"), steps)  # Eq. 4
    target = near + ACTS.discount * ACTS.following(part, steps)
    torch.testing.assert_close(loss, (values - target).square().mean(1))
    torch.testing.assert_close(value, values.mean(1))

    steeper, _ = replace(learner, gradient_penalty=2.0)._critic_loss(state, steps, shown, reward)
    acted = scaling.inward(batch.demonstrated.actions).requires_grad_()
    judged = critics(batch.demonstrated.observations, acted).sum()
    (slopes,) = torch.autograd.grad(judged, acted)
    torch.testing.assert_close(steeper - loss, 2.0 * slope_penalty(slopes))


def test_refinement_raises_what_was_shown_and_brings_own_steps_to_nothing() -> None:
    """What the clone knows comes as own steps, and what it would never do as demonstrated ones."""
    demos, learner = line(), replace(LEARNER, cloning=200, judging=1, refinement=1e-3)
    state = cloned(learner, demos)
    batch = batch_of(demos, state)
    assert batch.demonstrated
    batch = ExperienceBatch(replace(batch.demonstrated, first={}), batch.own)
    rewards = []
    for steps in (learner.judging, 60):
        for _ in range(steps):
            learner.step(state, batch)
        rewards.append([learner.reward(state, read).mean(1) for read in (batch.demonstrated, batch.own)])
    (shown, own), (shown_after, own_after) = rewards
    assert (shown < 0).all() and (own > 1).all()
    assert (shown_after > shown + 0.5).all() and (own_after < own - 0.5).all()


def test_without_refinement_the_reward_stays() -> None:
    demos, learner = line(), replace(LEARNER, cloning=3, judging=2, refinement=0.0)
    state = cloned(learner, demos)
    before = kept(state)
    for _ in range(6):
        learner.step(state, batch_of(demos, state))
    assert not moved(before, kept(state), "reward/") and moved(before, kept(state), "generator/actor/")


# --- what is refused ---


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"cloning": 0}, {"refinement": -1.0}, {"floor": 0.0}, {"gradient_penalty": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CSIL(**wrong)
    with pytest.raises(ValueError, match="fixed temperature"):
        CSIL(SAC())
    for sizes in ({"hidden": ()}, {"features": 3}, {"frequency": 0.0}):
        with pytest.raises(ValueError, match=next(iter(sizes))):
            Stationary(**sizes)


def test_discrete_actions_are_refused() -> None:
    demos = Demonstrations.from_arrays(np.zeros((4, 2), np.float32), [0, 1, 0], lengths=[3])
    with pytest.raises(ValueError, match="use iq-learn or sqil"):
        CSIL().init(demos.spec(), members=1, seed=0, device="cpu")


def test_demonstrated_ends_are_refused_unless_allowed() -> None:
    seen = np.zeros((5, 1), np.float32)
    ended = [False, False, False, True]
    demos = Demonstrations.from_arrays(seen, np.zeros((4, 1), np.float32), terminated=ended, lengths=[4])
    plan = Plan(1, validation=0.0)
    with pytest.raises(ValueError, match="puts? the end off"):
        Evidence.of(demos, plan, None, None, CSIL().reads())
    assert Evidence.of(demos, plan, None, None, CSIL(allow_variable_horizon=True).reads()).demos
