"""All of a policy's weights: losses and actions in the environment's units, masks, and autocast."""

import pytest
import torch
from torch import Tensor

from demonstrably.nets.actor import Actor, masked_mean
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import Categorical, Deterministic, GaussianMixture, Head, TanhGaussian
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Discrete, Field, Spec

BOX = Continuous((-2.0, 0.0), (2.0, 10.0))


def actor(head: Head, action: Continuous | Discrete, members: int = 2, seed: int = 0) -> Actor:
    spec, draws = Spec({"state": Field((3,))}, action), generators(members, seed)
    encoder = Encoder(spec.observations, SmallCNN(), normalize=True, draws=draws)
    return Actor(spec, encoder, MLP((8,)).build(encoder.outputs, draws), head, draws)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_actions_are_in_the_environments_units() -> None:
    net, hidden = actor(Deterministic(), BOX), 50 * drawn(2, 20, 8)
    actions = net.act(hidden, torch.zeros(2, 20, 0))
    expected = torch.tanh(net.outputs(hidden)) * torch.tensor([2.0, 5.0]) + torch.tensor([0.0, 5.0])
    torch.testing.assert_close(actions, expected)
    assert actions[..., 0].min() < -1.9 and actions[..., 1].max() > 9.9


def test_the_loss_is_of_the_scaled_action() -> None:
    net, hidden = actor(Deterministic(), BOX), drawn(2, 4, 8)
    actions = torch.tensor([[1.0, 7.5]]).expand(2, 4, 2)
    expected = (torch.tanh(net.outputs(hidden)) - torch.tensor([0.5, 0.5])).square().mean(-1)
    torch.testing.assert_close(net.loss(hidden, actions), expected)
    torch.testing.assert_close(net.loss(hidden[:, None], actions[:, None]), expected[:, None])


@pytest.mark.parametrize(
    ("head", "action"), [(GaussianMixture(), BOX), (TanhGaussian(), BOX), (Categorical(), Discrete(4))]
)
def test_members_equal_single_runs(head: Head, action: Continuous | Discrete) -> None:
    many, hidden = actor(head, action, 3, seed=5), drawn(3, 4, 8)
    targets = torch.zeros(3, 4, dtype=torch.int64) if isinstance(action, Discrete) else torch.ones(3, 4, 2)
    noise = torch.full((3, 4, many.noise), 0.3)
    for i in range(3):
        one = actor(head, action, 1, seed=5 + i)
        own = slice(i, i + 1)
        torch.testing.assert_close(one.loss(hidden[own], targets[own])[0], many.loss(hidden, targets)[i])
        torch.testing.assert_close(one.act(hidden[own], noise[own])[0], many.act(hidden, noise)[i])


def test_discrete_actions_are_not_scaled() -> None:
    net = actor(Categorical(), Discrete(4))
    actions = net.act(drawn(2, 6, 8), torch.full((2, 6, 1), 0.5))
    assert net.scaling is None and actions.dtype == torch.int64 and actions.shape == (2, 6)


def test_what_the_head_reads_is_float32_under_autocast() -> None:
    net, hidden = actor(GaussianMixture(), BOX), drawn(2, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net.outputs(hidden)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, net.outputs(hidden), rtol=0.05, atol=0.05)


def test_masked_mean_by_hand() -> None:
    values = torch.tensor([[[1.0, 2.0], [3.0, 100.0]], [[4.0, 100.0], [100.0, 100.0]]])
    mask = torch.tensor([[[True, True], [True, False]], [[True, False], [False, False]]])
    assert masked_mean(values, mask).tolist() == [2.0, 4.0]


def test_masked_values_get_no_gradient() -> None:
    values = torch.ones(1, 2, 2, requires_grad=True)
    mask = torch.tensor([[[True, True], [True, False]]])
    masked_mean(values, mask).sum().backward()
    torch.testing.assert_close(values.grad, mask / 3.0)
