"""Several Q-functions a member in one network: each its own, each member as it would be alone."""

import pytest
import torch

from demonstrably.nets.critics import Critics, held
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.linear import apart, generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.scalar import Scalar
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Field

FIELDS = {"place": Field((3,))}


norms = pytest.mark.parametrize("layer_norm", [False, True])


def critics(members: int, count: int, seed: int = 0, layer_norm: bool = False) -> Critics:
    draws = generators(members, seed)
    encoder = Encoder(FIELDS, SmallCNN(), normalize=False, draws=draws)
    return Critics(encoder, 2, MLP((4,)), count, apart(members, seed, 1, count), layer_norm=layer_norm)


def inputs(members: int, seed: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    place = torch.randn(members, 5, 3, generator=draws)
    return {"place": place}, torch.rand(members, 5, 2, generator=draws)


@norms
def test_twins_differ(layer_norm: bool) -> None:
    values = critics(2, 3, layer_norm=layer_norm)(*inputs(2))
    assert values.shape == (2, 3, 5)
    pairs = [(m, c) for m in range(2) for c in range(3)]
    for i, one in enumerate(pairs):
        for other in pairs[:i]:
            assert not torch.allclose(values[one], values[other])


@norms
def test_a_member_is_what_it_would_be_alone_and_its_first_critic_without_twins(layer_norm: bool) -> None:
    seen, actions = inputs(3)
    values = critics(3, 2, 7, layer_norm)(seen, actions)
    for member in range(3):
        own = {"place": seen["place"][member : member + 1]}, actions[member : member + 1]
        torch.testing.assert_close(critics(1, 2, 7 + member, layer_norm)(*own), values[member : member + 1])
        torch.testing.assert_close(critics(1, 1, 7 + member, layer_norm)(*own)[:, 0], values[member : member + 1, 0])


def test_a_loss_of_one_reaches_no_other() -> None:
    net = critics(2, 2)
    net(*inputs(2))[1, 0].sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is not None and len(parameter) == 4
        reached = parameter.grad.flatten(1).abs().sum(1) > 0
        assert reached.tolist() == [False, False, True, False]  # member by member, copy by copy


def test_held_weights_get_no_gradient_and_pass_it_on() -> None:
    net = critics(2, 2)
    net.last.bias.requires_grad_(False)
    seen, actions = inputs(2)
    actions.requires_grad_(True)
    with held(net):
        net(seen, actions).sum().backward()
    assert actions.grad is not None and actions.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.parameters())
    wanted = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert wanted == {"last.bias"}  # as it was


def test_a_number_a_member() -> None:
    number = Scalar(0.5, 3)
    assert number().tolist() == [[0.5]] * 3
    (number()[1] * 2).sum().backward()
    assert number.value.grad is not None and number.value.grad.flatten().tolist() == [0, 2, 0]


def test_normalized_layers_bound_the_values_of_unheard_of_actions() -> None:
    plain, bounded = critics(1, 2), critics(1, 2, layer_norm=True)
    seen, actions = inputs(1)

    def largest(net: Critics, scale: float) -> float:
        return float(net(seen, scale * actions).detach().abs().max())

    assert largest(plain, 1e6) > 100 * largest(plain, 1e3) > 1e3 * largest(plain, 1.0)
    most = 2 * bounded.last.weight.norm(dim=1) + bounded.last.bias[:, 0].abs()  # four inputs of length 2 at most
    assert largest(bounded, 1e6) <= float(most.detach().max())
