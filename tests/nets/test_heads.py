"""Heads: what they need, what they draw, and what they refuse. Their densities are in known_answers/test_losses.py."""

import pytest
import torch
from scipy import stats

from demonstrably.nets.heads import (
    Categorical,
    Deterministic,
    GaussianMixture,
    Head,
    Scaling,
    TanhGaussian,
    head_for,
)
from demonstrably.nets.random import streams, uniform
from demonstrably.spec import Continuous, Discrete

BOX = Continuous((-1.0, 0.0, -4.0), (1.0, 10.0, -2.0))
CONTINUOUS: tuple[Head, ...] = (Deterministic(), TanhGaussian(), GaussianMixture(), GaussianMixture(modes=1))


def outputs_of(head: Head, *lead: int, action: Continuous | Discrete = BOX) -> torch.Tensor:
    return torch.randn(*lead, head.outputs(action), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("head", "outputs", "noise"),
    [(Deterministic(), 3, 0), (TanhGaussian(), 6, 0), (GaussianMixture(), 35, 1), (GaussianMixture(2), 14, 1)],
)
def test_outputs_and_noise_of_continuous_heads(head: Head, outputs: int, noise: int) -> None:
    assert (head.outputs(BOX), head.noise(BOX)) == (outputs, noise)


def test_outputs_and_noise_of_the_categorical_head() -> None:
    assert (Categorical().outputs(Discrete(6)), Categorical().noise(Discrete(6))) == (6, 1)


@pytest.mark.parametrize("head", CONTINUOUS)
@pytest.mark.parametrize("lead", [(2, 5), (2, 3, 5)])
def test_shapes_for_any_leading_axes(head: Head, lead: tuple[int, ...]) -> None:
    outputs, target = outputs_of(head, *lead), torch.zeros(*lead, 3)
    noise = torch.full((*lead, head.noise(BOX)), 0.5)
    loss, action = head.loss(outputs, target), head.act(outputs, noise)
    assert loss.shape == lead and action.shape == (*lead, 3)
    assert action.abs().max() < 1 and action.dtype == torch.float32
    flat = head.loss(outputs.flatten(0, -2)[None], target.flatten(0, -2)[None])
    torch.testing.assert_close(loss.flatten(), flat.flatten())


@pytest.mark.parametrize("head", CONTINUOUS)
def test_losses_are_finite_at_and_beyond_the_bounds(head: Head) -> None:
    outputs = outputs_of(head, 1, 4).requires_grad_()
    target = torch.tensor([-1.0, 1.0, -1.001, 1.001])[None, :, None].expand(1, 4, 3)
    loss = head.loss(outputs, target)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("head", CONTINUOUS)
def test_losses_are_finite_for_extreme_outputs(head: Head) -> None:
    for size in (30.0, -30.0, 1e4):
        outputs = torch.full((1, 2, head.outputs(BOX)), size).requires_grad_()
        loss = head.loss(outputs, torch.zeros(1, 2, 3))
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(outputs.grad).all()


def test_the_mixture_draws_modes_by_their_weights() -> None:
    head, probabilities = GaussianMixture(modes=3), torch.tensor([0.2, 0.5, 0.3])
    means = torch.tensor([[-0.8], [0.1], [0.7]])
    outputs = torch.cat([probabilities.log(), torch.atanh(means).flatten(), torch.zeros(3)])
    noise = uniform(streams(torch.arange(1)), 0, 20_000).view(1, 20_000, 1)
    actions = head.act(outputs.expand(1, 20_000, -1), noise).flatten()
    counts = [(actions - mean).abs().lt(1e-5).sum().item() for mean in means]
    assert sum(counts) == 20_000
    assert stats.chisquare(counts, (20_000 * probabilities).tolist()).pvalue > 1e-4


def test_the_mixture_draws_the_same_mode_for_the_same_number() -> None:
    head = GaussianMixture()
    outputs = outputs_of(head, 1, 50)
    noise = uniform(streams(torch.arange(1)), 0, 50).view(1, 50, 1)
    assert torch.equal(head.act(outputs, noise), head.act(outputs, noise))


def test_the_mixture_acts_by_its_mean() -> None:
    head, probabilities = GaussianMixture(modes=3, acts="mean"), torch.tensor([0.2, 0.5, 0.3])
    means = torch.tensor([[-0.8, 0.3], [0.1, 0.2], [0.7, -0.6]])
    outputs = torch.cat([probabilities.log(), torch.atanh(means).flatten(), torch.zeros(6)]).expand(1, 2, -1)
    assert head.noise(BOX) == 0
    expected = torch.tensor([0.1 * 0.5 - 0.8 * 0.2 + 0.7 * 0.3, 0.3 * 0.2 + 0.2 * 0.5 - 0.6 * 0.3]).expand(1, 2, 2)
    torch.testing.assert_close(head.act(outputs, torch.empty(1, 2, 0)), expected)


def test_every_number_draws_a_mode() -> None:
    """Rounding may leave the cumulative probability short of 1: the last mode takes what is left."""
    head = GaussianMixture(modes=7)
    outputs = torch.cat([torch.zeros(7), torch.linspace(-0.9, 0.9, 7), torch.zeros(7)]).expand(1, 2, -1)
    ends = torch.tensor([2.0**-24, 1 - 2.0**-24]).view(1, 2, 1)
    first, last = head.act(outputs, ends).flatten().tolist()
    assert first == pytest.approx(torch.tanh(torch.tensor(-0.9)).item())
    assert last == pytest.approx(torch.tanh(torch.tensor(0.9)).item())


def test_the_categorical_head_acts_by_the_most_likely_action() -> None:
    outputs = torch.tensor([[[0.0, 3.0, 1.0], [5.0, -1.0, 4.0]]])
    for number in (0.01, 0.99):
        assert Categorical().act(outputs, torch.full((1, 2, 1), number)).tolist() == [[1, 0]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_categorical_head_draws_at_its_temperature(temperature: float) -> None:
    logits = torch.tensor([0.3, -0.4, 1.0, 0.0])
    noise = uniform(streams(torch.arange(1)), 3, 20_000).view(1, 20_000, 1)
    drawn = Categorical(temperature).act(logits.expand(1, 20_000, 4), noise)
    expected = torch.softmax(logits.double() / temperature, 0) * 20_000
    assert drawn.dtype == torch.int64
    assert stats.chisquare(torch.bincount(drawn.flatten()), expected).pvalue > 1e-4


def test_scaling_maps_the_bounds_to_one() -> None:
    scaling = Scaling(BOX, members=2)
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    actions = torch.stack([low, high, (low + high) / 2]).expand(2, 3, 3)
    inward = scaling.inward(actions)
    assert inward[0].tolist() == [[-1, -1, -1], [1, 1, 1], [0, 0, 0]]
    torch.testing.assert_close(scaling.outward(inward), actions)
    windows = actions[:, :, None].expand(2, 3, 4, 3)
    torch.testing.assert_close(scaling.outward(scaling.inward(windows)), windows)


def test_the_usual_head() -> None:
    assert head_for(None, BOX) == GaussianMixture(modes=5)
    assert head_for(None, Discrete(3)) == Categorical()
    assert head_for(TanhGaussian(), BOX) == TanhGaussian()


@pytest.mark.parametrize("head", CONTINUOUS)
def test_continuous_heads_refuse_discrete_actions(head: Head) -> None:
    with pytest.raises(ValueError, match="needs continuous actions.*use categorical"):
        head.outputs(Discrete(3))


def test_the_categorical_head_refuses_continuous_actions() -> None:
    with pytest.raises(ValueError, match="needs discrete actions.*use gaussian-mixture"):
        Categorical().outputs(BOX)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixture(modes=0), "modes 0 must be at least 1"),
        (lambda: GaussianMixture(min_std=0.0), "min_std 0.0 above 0"),
        (lambda: Categorical(temperature=-1.0), "temperature -1.0"),
    ],
)
def test_settings_that_make_no_head_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
