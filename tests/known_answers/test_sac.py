"""Soft actor-critic: values by hand, a density that must integrate to 1, a bandit whose best action is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch
from demonstrably.learners.contract import State
from demonstrably.learners.sac import FOLLOWING, JUDGED, NOW, SAC, actor_loss, critic_loss, soft_value, temperature_loss
from demonstrably.nets.critics import Critics
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete, Field, Spec

SPEC = Spec({"place": Field((2,))}, Continuous((-1.0, 0.0), (3.0, 4.0)))
LINE = Spec({"place": Field((1,))}, Continuous((-2.0,), (2.0,)))
TINY = SAC(body=MLP((4,)), learning_rate=1e-2, temperature=0.3, discount=0.9, batch_size=8)
TINY_LEARNED = replace(TINY, temperature=None)


def steps(spec: Spec, seed: int, members: int = 1, size: int = 6, terminated: bool = False) -> TransitionBatch:
    """Some steps; half of them end the task where `terminated`."""
    draws = torch.Generator().manual_seed(seed)
    width = spec.observations["place"].shape[0]
    seen = [{"place": torch.randn(members, size, width, generator=draws)} for _ in range(2)]
    assert isinstance(spec.action, Continuous)
    low, high = torch.tensor(spec.action.low), torch.tensor(spec.action.high)
    actions = low + (high - low) * torch.rand(members, size, spec.action.dim, generator=draws)
    over = (torch.arange(size) % 2 == 0).expand(members, size) & terminated
    return TransitionBatch(seen[0], actions, torch.randn(members, size, generator=draws), seen[1], over, {})


def begun(learner: SAC, spec: Spec = SPEC, members: int = 1) -> State:
    return learner.init(spec, members=members, seed=0, device="cpu")


# --- equations ---


def test_equations_by_hand() -> None:
    values = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]])  # two critics, two steps
    density, temperature = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2]])
    assert soft_value(values, density, temperature).tolist() == [pytest.approx([1 - 0.1, 2 + 0.2])]
    # squared distances to (2, 2): (1, 4) of the first critic, (1, 0) of the second
    assert critic_loss(values, torch.tensor([[2.0, 2.0]])).tolist() == pytest.approx([2.5 + 0.5])
    assert actor_loss(values, density, temperature).tolist() == pytest.approx([-(0.9 + 2.2) / 2])
    # -log temperature x mean(log density + target) = 1.5 x mean(-0.5, -2)
    found = temperature_loss(torch.tensor([[-1.5]]), density, -1.0)
    assert found.tolist() == pytest.approx([1.5 * -1.25])


def test_the_entropy_that_is_wanted_is_minus_the_dimensions() -> None:
    """Drawn actions of a standard normal policy, squashed, have more entropy than -2 and less than 2."""
    state = begun(TINY_LEARNED)
    for weight in state.networks["actor"].parameters():
        torch.nn.init.zeros_(weight)
    found = [TINY_LEARNED.update(state, steps(SPEC, seed)) for seed in range(2)]
    assert -2 < found[0]["entropy"].item() < 2
    assert found[1]["temperature"] < found[0]["temperature"]


def test_targets_go_a_part_of_the_way_to_the_critics() -> None:
    learner = replace(TINY, target_rate=0.25)
    state = begun(learner)
    before = {name: value.clone() for name, value in state.networks["target"].state_dict().items()}
    learner.update(state, steps(SPEC, 0))
    now = state.networks["critic"].state_dict()
    moved = [name for name in before if not torch.equal(before[name], now[name])]
    assert moved
    for name in moved:
        expected = before[name] + 0.25 * (now[name] - before[name])
        torch.testing.assert_close(state.networks["target"].state_dict()[name], expected)


@pytest.mark.parametrize(("density", "rises"), [(5.0, True), (-5.0, False)])
def test_the_temperature_rises_while_entropy_is_too_low(density: float, rises: bool) -> None:
    """Entropy is minus the density: 5 below and above a target of -1."""
    parameter = torch.tensor([[0.0]], requires_grad=True)
    temperature_loss(parameter, torch.full((1, 4), density), -1.0).sum().backward()
    assert parameter.grad is not None and (parameter.grad.item() < 0) is rises


@pytest.mark.parametrize(("entropy", "rises"), [(5.0, True), (-50.0, False)])
def test_and_so_it_does_in_an_update(entropy: float, rises: bool) -> None:
    learner = replace(TINY, temperature=None, entropy=entropy)
    state = begun(learner, members=2)
    found = [learner.update(state, steps(SPEC, seed, 2))["temperature"] for seed in range(3)]
    assert (found[0] == 1).all()
    assert ((found[2] > 1) if rises else (found[2] < 1)).all()


# --- the policy's density ---


def test_a_drawn_action_has_the_density_that_the_head_gives_it() -> None:
    draws = torch.Generator().manual_seed(0)
    outputs, noise = torch.randn(3, 50, 4, generator=draws), torch.randn(3, 50, 2, generator=draws)
    head = TanhGaussian()
    action, density = head.draw(outputs, noise)
    inside = (action.abs() < 0.999).all(-1)
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(density[inside], -head.loss(outputs, action)[inside], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.0, 0.5)])
def test_densities_integrate_to_one(mean: float, log_std: float) -> None:
    noise = torch.linspace(-6, 6, 4001)[:, None]
    action, density = TanhGaussian().draw(torch.tensor([mean, log_std]).expand(4001, 2), noise)
    assert np.trapezoid(density.exp().numpy(), action[:, 0].numpy()) == pytest.approx(1.0, abs=1e-3)


def test_log_density_is_of_actions_scaled_to_one() -> None:
    state = begun(TINY)
    batch = steps(SPEC, 0)
    actor = state.networks["actor"]
    with torch.no_grad():
        mean, log_std = actor.outputs(actor.body(actor.encoder(batch.observations))).chunk(2, -1)
        scaled = (batch.actions - torch.tensor([1.0, 2.0])) / 2
        raw = torch.atanh(scaled)
        normal = torch.distributions.Normal(mean, log_std.exp())
        expected = (normal.log_prob(raw) - torch.log(1 - scaled**2)).sum(-1)
        torch.testing.assert_close(TINY.log_density(state, batch), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mean", [0.5, -3.0, 4.95, 9.0, -40.0])
@pytest.mark.parametrize("log_std", [-2.0, 0.7])
def test_density_of_actions_that_may_be_at_a_bound_is_right_wherever_the_mean_is(mean: float, log_std: float) -> None:
    outputs, head = torch.tensor([mean, log_std]), TanhGaussian()
    raw = torch.linspace(-4.9517, 4.9517, 200_001, dtype=torch.float64)
    action = torch.tanh(raw).float()
    inside = head.log_density(outputs.expand(len(raw), 2), action[:, None]).double()
    share = np.trapezoid((inside.exp() * (1 - torch.tanh(raw) ** 2)).numpy(), raw.numpy())
    at_bounds = head.log_density(outputs.expand(2, 2), torch.tensor([[1.0], [-1.0]])).exp() * 1e-4
    past = (torch.tensor([mean, -mean]) - math.atanh(1 - 1e-4)) / math.exp(log_std)
    beyond = torch.distributions.Normal(0.0, 1.0).cdf(past)
    torch.testing.assert_close(at_bounds, beyond, rtol=1e-3, atol=1e-6)
    assert share + at_bounds.sum().item() == pytest.approx(1.0, abs=2e-3)


def test_a_policy_far_beyond_the_bounds_still_finds_its_own_draws_likely() -> None:
    outputs = torch.tensor([20.0, -1.0, -2.0, 0.0]).expand(500, 4)  # two dimensions: means 20, -1
    action, _ = TanhGaussian().draw(outputs, torch.randn(500, 2, generator=torch.Generator().manual_seed(0)))
    assert (action[:, 0] == 1).all()
    found = TanhGaussian().log_density(outputs, action)
    second = -TanhGaussian().loss(outputs[:, [1, 3]], action[:, 1:])
    torch.testing.assert_close(found, second + math.log(1e4), rtol=1e-4, atol=1e-3)


def test_actions_at_a_bound_are_as_likely_as_draws_that_come_to_it() -> None:
    state, batch = begun(TINY), steps(SPEC, 0)
    with torch.no_grad():
        state.networks["actor"].last.weight.zero_()
        state.networks["actor"].last.bias.copy_(torch.tensor([[[20.0, -20.0, 0.0, 0.0]]]))
    bounds = torch.tensor([3.0, 0.0]).expand_as(batch.actions).clone()
    found = TINY.log_density(state, replace(batch, actions=bounds))
    assert found.tolist() == [pytest.approx([2 * math.log(1e4)] * 6, rel=1e-4)]


# --- what inverse learners are given ---


def q(critics: Critics, place: Tensor, action: Tensor) -> Tensor:
    """Values (1, C, B) of one member's critics, layer by layer."""
    (layer,) = critics.body.layers
    found = []
    for c in range(critics.count):
        x = torch.cat([place, action], -1)[0]
        hidden = torch.relu(x @ layer.weight[c] + layer.bias[c])
        found.append((hidden @ critics.last.weight[c] + critics.last.bias[c]).squeeze(-1))
    return torch.stack(found).unsqueeze(0)


@torch.no_grad()
def test_judged_and_following_by_hand() -> None:
    state, batch = begun(TINY), steps(SPEC, 3, terminated=True)
    state.networks["target"].last.bias.add_(1.0)
    scaled = (batch.actions - torch.tensor([1.0, 2.0])) / 2
    chosen, value = TINY.judged(state, batch, batch.observations)
    critics = state.networks["critic"]
    torch.testing.assert_close(chosen, q(critics, batch.observations["place"], scaled))
    drawn, density = TINY._draw(state, batch.observations, JUDGED)
    expected = q(critics, batch.observations["place"], drawn) - 0.3 * density
    torch.testing.assert_close(value, expected)
    _, elsewhere = TINY.judged(state, batch, {"place": batch.observations["place"][:, :2].clone()})
    drawn, density = TINY._draw(state, {"place": batch.observations["place"][:, :2]}, JUDGED)
    expected = q(critics, batch.observations["place"][:, :2], drawn) - 0.3 * density
    torch.testing.assert_close(elsewhere, expected)
    drawn, density = TINY._draw(state, batch.next_observations, FOLLOWING)
    later = q(state.networks["target"], batch.next_observations["place"], drawn).amin(1) - 0.3 * density
    found = TINY.following(state, batch)
    torch.testing.assert_close(found, torch.where(batch.terminated, 0.0, later))
    assert (found[batch.terminated] == 0).all() and (found[~batch.terminated] != 0).all()
    loss = TINY.loss(state, ExperienceBatch(batch, None))
    torch.testing.assert_close(loss, critic_loss(chosen, batch.rewards + 0.9 * found))


def test_what_is_drawn_for_one_purpose_says_nothing_of_another() -> None:
    state = begun(TINY)
    place = {"place": torch.zeros(1, 400, 2)}
    drawn = [TINY._draw(state, place, purpose)[0].flatten().detach() for purpose in (NOW, JUDGED, FOLLOWING)]
    between = torch.corrcoef(torch.stack(drawn)).fill_diagonal_(0.0).abs().max()
    assert between < 0.15  # of 800 numbers; 1 where they are the same


def test_each_network_moves_at_its_own_rate() -> None:
    """The first step of Adam is as long as the rate, in every weight that has a gradient."""
    learner = replace(TINY, learning_rate=1e-2, actor_learning_rate=1e-4)
    state = begun(learner)
    before = {name: value.clone() for name, value in state.weights().items()}
    learner.update(state, steps(SPEC, 3))
    for part, rate in (("critic/", 1e-2), ("actor/", 1e-4)):
        moved = [(v - before[n]).abs().max().item() for n, v in state.weights().items() if n.startswith(part)]
        assert max(moved) == pytest.approx(rate, rel=0.02)


def test_judged_is_differentiable_in_the_critics_alone() -> None:
    state, batch = begun(TINY), steps(SPEC, 3)
    chosen, value = TINY.judged(state, batch, batch.observations)
    (chosen.sum() + value.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in state.networks["critic"].parameters())
    assert all(p.grad is None for p in state.networks["actor"].parameters())
    assert not TINY.following(state, batch).requires_grad


def test_the_actors_update_leaves_the_critics() -> None:
    state, batch = begun(TINY), steps(SPEC, 3)
    before = {n: v.clone() for n, v in state.weights().items()}
    TINY.improve(state, batch.observations)
    after = state.weights()
    changed = {n.split("/")[0] for n, v in before.items() if not torch.equal(v, after[n])}
    assert changed == {"actor"}  # the targets follow critics that have not moved
    assert all(p.requires_grad for p in state.networks["critic"].parameters())


def test_an_average_of_the_weights_acts_and_the_weights_explore() -> None:
    learner = replace(TINY, average=0.99)
    state, sums = begun(learner), torch.zeros(())
    for step in range(4):
        learner.update(state, steps(SPEC, step))
        last = state.networks["actor"].last.weight.detach()
        share = 2 / (3 + step)  # the first moves are long ones
        sums = last.lerp(sums, 1 - share) if step else begun(learner).networks["actor"].last.weight.lerp(last, share)
    acting, trying = learner.policy(state).actor, learner.explore(state).actor
    torch.testing.assert_close(acting.last.weight, sums)
    assert trying is state.networks["actor"] and not torch.equal(trying.last.weight, acting.last.weight)
    plain = begun(TINY)
    assert TINY.policy(plain).actor is plain.networks["actor"]


# --- what it learns ---


def bandit(state: State, best: float, size: int = 64) -> TransitionBatch:
    """One step by chance, paid by how near to the best action it came; then the task is over."""
    members = len(state.keys)
    draws = torch.Generator().manual_seed(int(state.step))
    actions = 4 * torch.rand(members, size, 1, generator=draws) - 2
    place = {"place": torch.ones(members, size, 1)}
    rewards = -(actions.squeeze(-1) - best).abs()
    return TransitionBatch(place, actions, rewards, place, torch.ones(members, size, dtype=torch.bool), {})


def test_it_finds_the_best_action_of_a_bandit() -> None:
    learner = SAC(body=MLP((64,)), learning_rate=2e-2, actor_learning_rate=5e-3, temperature=0.1)
    state = begun(learner, LINE, members=2)
    for _ in range(120):
        learner.update(state, bandit(state, 0.8))
    policy = learner.policy(state)
    action, _ = policy.act({"place": torch.ones(2, 1, 1)}, policy.start(torch.zeros(2, 1, dtype=torch.int64)))
    assert action.flatten().tolist() == pytest.approx([0.8, 0.8], abs=0.2)
    fresh = ExperienceBatch(bandit(state, 0.8), None)
    assert (learner.loss(state, fresh) < 0.15).all()  # of both critics together; rewards spread over 2.8


# --- settings ---


def test_what_it_reads_and_cannot_do() -> None:
    assert TINY.reads() == Experience(8, 0)
    with pytest.raises(ValueError, match="discrete: use soft-q"):
        begun(TINY, Spec({"place": Field((2,))}, Discrete(2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"discount": 1.0},
        {"target_rate": 0.0},
        {"critics": 0},
        {"temperature": -0.1},
        {"discount": math.nan},
        {"average": 1.0},
    ],
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SAC(**wrong)
