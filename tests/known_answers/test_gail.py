"""GAIL against values by hand: its losses, its reward forms, the ends of tasks, and the slopes that are penalized."""

import math
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from demonstrably.data.batches import ExperienceBatch, TransitionBatch
from demonstrably.learners.airl import AIRL
from demonstrably.learners.gail import (
    FORMS,
    GAIL,
    UNSEEN,
    Form,
    absorbing_logit,
    discriminator_loss,
    discriminator_of,
    slope_penalty,
    valued_ends,
)
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets import products
from demonstrably.nets.discriminator import Score, gradient_penalty, interpolates, slopes
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Discrete, Field, Spec

THREE = math.log(3)  # the logit of a probability of 3/4


def test_the_discriminators_loss_by_hand() -> None:
    # D is 3/4 and 1/2 on demonstrated steps, 1/4 on an own one.
    loss = discriminator_loss(torch.tensor([[THREE, 0.0]]), torch.tensor([[-THREE]]))
    assert loss.tolist() == pytest.approx([-(math.log(3 / 4) + math.log(1 / 2)) / 2 - math.log(3 / 4)])


def test_the_three_forms_of_reward_by_hand() -> None:
    found = {name: form(torch.tensor(THREE)).item() for name, form in FORMS.items()}
    assert found == pytest.approx({"logit": THREE, "positive": -math.log(1 / 4), "negative": math.log(3 / 4)})


def test_the_absorbing_states_logit_is_where_its_loss_is_least() -> None:
    ends = torch.tensor([[0.5, 0.25], [0.0, 0.25]])  # shares of demonstrated and own steps
    logit = absorbing_logit(ends, 0.001).requires_grad_()
    assert logit.tolist() == [[pytest.approx(math.log(0.501 / 0.251))], [pytest.approx(math.log(0.001 / 0.251))]]
    shown, own = (ends + 0.001).T
    loss = shown * softplus(-logit.squeeze(1)) + own * softplus(logit.squeeze(1))  # -log D and -log(1 - D)
    (slope,) = torch.autograd.grad(loss.sum(), logit)
    assert slope.abs().max() < 1e-7


def test_an_end_is_worth_the_absorbing_reward_for_ever() -> None:
    reward = valued_ends(torch.tensor([[1.0, 1.0]]), torch.tensor([[False, True]]), torch.tensor([[-0.5]]), 0.9)
    assert reward.tolist() == [pytest.approx([1.0, 1.0 - 0.5 * 9])]


# --- slopes ---


def score(action: Continuous | Discrete | None, hidden: tuple[int, ...], *, width: int = 1, members: int = 1) -> Score:
    draws = generators(members, 0)
    encoder = Encoder({"state": Field((width,))}, SmallCNN(), normalize=False, draws=draws)
    return Score(encoder, action, MLP(hidden), draws)


def test_inputs_are_features_and_actions_side_by_side() -> None:
    seen = {"state": torch.tensor([[[2.0], [3.0]]])}
    moved = score(Continuous((0.0,), (10.0,)), (4,)).inputs(seen, torch.tensor([[[10.0], [5.0]]]))
    assert moved.tolist() == [[[2.0, 1.0], [3.0, 0.0]]]
    chosen = score(Discrete(3), (4,)).inputs(seen, torch.tensor([[2, 0]]))
    assert chosen.tolist() == [[[2.0, 0.0, 0.0, 1.0], [3.0, 1.0, 0.0, 0.0]]]
    assert score(None, (4,)).inputs(seen, torch.tensor([[2, 0]])).tolist() == [[[2.0], [3.0]]]


def test_interpolates_by_hand() -> None:
    between = interpolates(torch.tensor([[[4.0, 0.0]]]), torch.tensor([[[0.0, 8.0]]]), torch.tensor([[0.25]]))
    assert between.tolist() == [[[1.0, 6.0]]]


def test_the_penalty_of_a_linear_network_by_hand() -> None:
    network = score(Continuous((-1.0,), (1.0,)), (2,))
    first = network.body.layers[0]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))
        first.bias.fill_(100.0)  # no unit rests
        network.last.weight.copy_(torch.tensor([[[3.0], [2.0]]]))
    slope = slopes(network.judged, torch.tensor([[[0.3, -0.2], [5.0, 1.0]]]))
    assert slope.tolist() == [[[3.0, 4.0], [3.0, 4.0]]]
    penalty = gradient_penalty(slope)
    assert penalty.tolist() == [16.0]
    # (|w| - 1)^2 of w = (1 a, 2 b) in the last weights (a, b) = (3, 2): 2 (5 - 1) (3 * 1, 4 * 2) / 5.
    (in_last,) = torch.autograd.grad(penalty.sum(), network.last.weight)
    assert in_last.flatten().tolist() == pytest.approx([4.8, 12.8])


@pytest.mark.parametrize("wide", [True, False])
def test_the_penalty_differentiates_twice(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients in every weight, by the quick products and by torch's, against float64 without any of ours."""
    monkeypatch.setattr(products, "WIDE", wide and products.WIDE)
    monkeypatch.setattr(products, "SMALL", 1)
    network = score(None, (32, 16), width=5, members=2)
    points = torch.randn((2, 40, 5), generator=torch.Generator().manual_seed(1))
    layers = [*network.body.layers, network.last]
    weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
    loss = gradient_penalty(slopes(network.judged, points)).sum() + network.judged(points).square().mean()
    found = torch.autograd.grad(loss, weights, allow_unused=True)

    exact = [weight.detach().double().requires_grad_() for weight in weights]
    x = points.double().requires_grad_()
    hidden: Tensor = x
    for place in (0, 2, 4):
        hidden = torch.baddbmm(exact[place + 1], hidden, exact[place])
        hidden = torch.relu(hidden) if place < 4 else hidden
    (slope,) = torch.autograd.grad(hidden.sum(), x, create_graph=True)
    other = (slope.square().sum(-1).sqrt() - 1).square().mean(1).sum() + hidden.square().mean()
    for mine, its in zip(found, torch.autograd.grad(other, exact), strict=True):
        torch.testing.assert_close(mine.double(), its, rtol=1e-4, atol=1e-5)


def test_where_every_unit_rests_the_penalty_has_a_gradient() -> None:
    network = score(None, (2,))
    nn.init.constant_(network.body.layers[0].bias, -100.0)
    penalty = gradient_penalty(slopes(network.judged, torch.zeros(1, 3, 1)))
    assert penalty.tolist() == [1.0]
    found = torch.autograd.grad(penalty.sum(), network.last.weight)
    assert all(torch.isfinite(gradient).all() for gradient in found)


def test_the_penalty_leaves_the_encoder_of_images_alone() -> None:
    draws = generators(1, 0)
    encoder = Encoder({"eye": Field((12, 12, 3), "uint8")}, SmallCNN((4, 8), 8, crop=1.0), normalize=True, draws=draws)
    network = Score(encoder, Discrete(2), MLP((8,)), draws)
    seen = {"eye": torch.arange(12 * 12 * 3 * 2).view(1, 2, 12, 12, 3).to(torch.uint8)}
    shown, own = network.inputs(seen, torch.tensor([[0, 1]])).chunk(2, dim=1)
    gradient_penalty(slopes(network.judged, interpolates(shown, own, torch.tensor([[0.5]])))).sum().backward()
    assert network.last.weight.grad is not None
    assert all(weight.grad is None for weight in encoder.parameters())


# --- the learner ---

SPEC = Spec({"flat": Field((2,))}, Discrete(2))
GENERATOR = SoftQ(body=MLP((4,)))


def steps(counts: list[list[int]], ends: int) -> TransitionBatch:
    """That many steps of each of two states and two actions, the first `ends` of them terminated."""
    pairs = [(s, a) for s in (0, 1) for a in (0, 1) for _ in range(counts[s][a])]
    seen = torch.eye(2)[[s for s, _ in pairs]][None]
    terminated = torch.arange(len(pairs))[None] < ends
    rewards = torch.full((1, len(pairs)), math.nan)
    actions = torch.tensor([[a for _, a in pairs]])
    return TransitionBatch({"flat": seen}, actions, rewards, {"flat": seen}, terminated, {})


@pytest.mark.parametrize("kind", [GAIL, AIRL])
def test_an_update_brings_the_slopes_nearer_to_one(kind: type[GAIL] | type[AIRL]) -> None:
    """Where the penalty outweighs the rest, at the very places between the pairs that it was taken at."""
    learner = kind(replace(GENERATOR, temperature=0.1), 16, gradient_penalty=1e6, learning_rate=1e-5, body=MLP((16,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    own, shown = steps([[2, 4], [4, 6]], 0), steps([[8, 2], [4, 2]], 0)
    network = discriminator_of(state)

    def penalty() -> float:
        state.step.zero_()
        seen = {"flat": torch.cat([shown.observations["flat"], own.observations["flat"]], 1)}
        inputs = network.score.inputs(seen, torch.cat([shown.actions, own.actions], 1))
        return slope_penalty(state, network.score, inputs).item()

    before = penalty()
    assert learner.step(state, ExperienceBatch(own, shown))["penalty"].item() == pytest.approx(before)
    assert penalty() < before


def test_logits_become_log_ratios_of_densities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SoftQ, "update", lambda *_: {})  # the own steps stay what they are
    shown, own = [[8, 2], [4, 2]], [[2, 4], [4, 6]]
    batch = ExperienceBatch(steps(own, 2), steps(shown, 4))
    learner = GAIL(GENERATOR, 16, learning_rate=3e-2, gradient_penalty=0.0, body=MLP((16,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    for _ in range(250):
        learner.step(state, batch)
    each = steps([[1, 1], [1, 1]], 0)
    expected = np.log(np.array(shown) / np.array(own)).flatten()
    np.testing.assert_allclose(learner.reward(state, each)[0], expected, atol=0.02)
    ends = math.log((4 / 16 + UNSEEN) / (2 / 16 + UNSEEN))
    assert learner.afterwards(state).item() == pytest.approx(ends, abs=1e-4)


@pytest.mark.parametrize("absorbing", [True, False])
def test_the_generator_gets_the_reward_and_the_worth_of_ends(absorbing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[TransitionBatch] = []
    monkeypatch.setattr(SoftQ, "update", lambda _self, _state, batch: given.append(batch) or {})
    learner = GAIL(GENERATOR, 4, form="negative", absorbing=absorbing, learning_rate=1e-9, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    batch = steps([[1, 1], [1, 1]], 1)
    learner.step(state, ExperienceBatch(batch, batch))
    after = 99 * math.log(1 / 2) * absorbing  # discount 0.99; both end as often
    plain = learner.reward(state, batch)[0] + torch.tensor([after, 0.0, 0.0, 0.0])
    torch.testing.assert_close(given[0].rewards[0], plain)
    assert (plain < 0).all()


@pytest.mark.parametrize("absorbing", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_what_comes_after_an_end_has_the_form_of_the_rest(form: Form, absorbing: bool) -> None:
    learner = GAIL(GENERATOR, 4, form=form, absorbing=absorbing, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    learner.step(state, ExperienceBatch(steps([[1, 1], [1, 1]], 1), steps([[1, 1], [1, 1]], 3)))
    odds = (3 / 4 + UNSEEN) / (1 / 4 + UNSEEN)  # D / (1 - D) of the absorbing state
    expected = {"logit": math.log(odds), "positive": math.log(1 + odds), "negative": math.log(odds / (1 + odds))}
    assert learner.afterwards(state).item() == pytest.approx(expected[form] * absorbing, abs=1e-5)


@pytest.mark.parametrize("kind", [GAIL, AIRL])
def test_the_generator_is_paid_by_the_discriminator_as_it_now_is(
    kind: type[GAIL] | type[AIRL], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards and the worth of ends both count what this very batch taught."""
    given: list[TransitionBatch] = []
    monkeypatch.setattr(SoftQ, "update", lambda _self, _state, batch: given.append(batch) or {})
    learner = kind(replace(GENERATOR, temperature=0.5), 4, learning_rate=0.1, body=MLP((4,)))
    state = learner.init(SPEC, members=1, seed=0, device="cpu")
    batch = ExperienceBatch(steps([[4, 0], [0, 0]], 1), steps([[0, 0], [0, 4]], 3))
    learner.step(state, batch)
    (paid,) = given
    again = learner._rewarded(state, batch.own, *([learner.generator] if kind is AIRL else [0.99]))
    torch.testing.assert_close(paid.rewards, again.rewards)


@pytest.mark.parametrize("learner", [GAIL(GENERATOR, 4), AIRL(GENERATOR, 4)])
def test_who_rehearses_gets_demonstrated_steps_too(learner: GAIL | AIRL, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[TransitionBatch] = []
    monkeypatch.setattr(SoftQ, "update", lambda _self, _state, batch: given.append(batch) or {})
    batch = ExperienceBatch(steps([[4, 0], [0, 0]], 0), steps([[0, 0], [0, 4]], 1))
    for rehearse in (True, False):
        learner = replace(learner, rehearse=rehearse)
        learner.step(learner.init(SPEC, members=1, seed=0, device="cpu"), batch)
    both, own = given
    assert both.actions.tolist() == [[1] * 4 + [0] * 4] and own.actions.tolist() == [[0] * 4]
    assert both.terminated.tolist() == [[True] + [False] * 7]
    torch.testing.assert_close(both.rewards[:, 4:], own.rewards)  # what a step earns does not depend on it
    assert both.rewards.isfinite().all()


@pytest.mark.parametrize(("form", "aim"), [("positive", "living on"), ("negative", "an early end")])
def test_a_reward_of_one_sign_is_refused_where_episodes_end(form: str, aim: str) -> None:
    learner = GAIL(form=form, absorbing=False)
    text = learner.reads().fixed_horizon
    assert aim in text and "docs/learners/gail.md" in text
    assert learner.reads().unended == text  # of demonstrated episodes as well
    for fair in ({"absorbing": True}, {"form": "logit"}, {"allow_variable_horizon": True}):
        assert replace(learner, **fair).reads().fixed_horizon == ""


@pytest.mark.parametrize("wrong", [{"form": "log"}, {"gradient_penalty": -1.0}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=next(iter(wrong))):  # types are checked here
        GAIL(**wrong)
