"""The multilayer perceptron against torch's own layers."""

import pytest
import torch
from torch import nn

from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP, Layers


def built(members: int, hidden: tuple[int, ...] = (8, 6), seed: int = 0) -> Layers:
    return MLP(hidden).build(5, generators(members, seed))


def test_each_member_is_a_perceptron() -> None:
    body = built(3)
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        y = x[i]
        for layer in body.layers:
            y = torch.relu(nn.functional.linear(y, layer.weight[i].T, layer.bias[i, 0]))
        torch.testing.assert_close(body(x)[i], y)
    assert body.outputs == 6


@pytest.mark.parametrize("lead", [(), (4,), (3, 4), (2, 3, 4)])
def test_all_leading_axes_are_one_batch(lead: tuple[int, ...]) -> None:
    body = built(2)
    x = torch.randn(2, *lead, 5, generator=torch.Generator().manual_seed(0))
    flat = body(x.reshape(2, -1, 5))
    torch.testing.assert_close(body(x), flat.view(2, *lead, 6))


def test_members_equal_single_runs() -> None:
    many = built(3, seed=4)
    x = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        torch.testing.assert_close(built(1, seed=4 + i)(x[i : i + 1])[0], many(x)[i])


def test_a_step_is_the_same_map_without_memory() -> None:
    body = built(2)
    x = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    carry = body.start(2, 7, torch.device("cpu"))
    y, after = body.step(x, carry)
    assert torch.equal(y, body(x)) and carry == after == {}


@pytest.mark.parametrize("hidden", [(), (4, 0), (-1,)])
def test_widths_that_make_no_network_are_refused(hidden: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="hidden widths"):
        MLP(hidden)
