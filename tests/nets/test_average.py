"""A network that follows another, member by member."""

import pytest
import torch
from torch import nn

from demonstrably.nets.average import follow
from demonstrably.nets.linear import Linear, generators


def layer(seed: int = 0) -> nn.Module:
    return Linear(3, 2, generators(2, seed))


def test_it_moves_by_the_rate() -> None:
    average, source = layer(0), layer(9)
    pairs = zip(average.parameters(), source.parameters(), strict=True)
    expected = [0.75 * a.detach() + 0.25 * b.detach() for a, b in pairs]
    kept = [value.detach().clone() for value in source.parameters()]
    follow(average, source, 0.25)
    for found, wanted in zip(average.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert all(torch.equal(now, then) for now, then in zip(source.parameters(), kept, strict=True))


@pytest.mark.parametrize("recent", [2, 9])
@pytest.mark.parametrize("moves", [1, 2, 5, 30])
def test_the_first_moves_are_longer(moves: int, recent: int) -> None:
    average, sources = layer(0), [layer(10 * i + 1) for i in range(moves)]
    expected = average.weight.detach().clone()
    for step, source in enumerate(sources):
        decay = min(1 - 0.01, (1 + step) / (1 + recent + step))
        expected = decay * expected + (1 - decay) * source.weight.detach()
        follow(average, source, 0.01, torch.tensor(step), recent)
    torch.testing.assert_close(average.weight.detach(), expected)


def test_later_moves_are_by_the_rate() -> None:
    average, source = layer(0), layer(9)
    before = average.weight.detach().clone()
    follow(average, source, 0.1, torch.tensor(500))
    torch.testing.assert_close(average.weight.detach(), 0.9 * before + 0.1 * source.weight.detach())


def test_it_moves_in_place_and_records_no_gradient() -> None:
    average, source = layer(0), layer(9)
    places = [parameter.data_ptr() for parameter in average.parameters()]
    follow(average, source, 0.5, torch.tensor(0))
    assert [parameter.data_ptr() for parameter in average.parameters()] == places
    assert all(parameter.grad_fn is None for parameter in average.parameters())
