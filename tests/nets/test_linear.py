"""The affine layer of a population: how members are drawn, and what it computes."""

import jaxtyping
import pytest
import torch
from scipy import stats

from demonstrably.nets.linear import Linear, drawn, generators


def test_member_i_is_drawn_as_a_run_of_one_with_its_seed() -> None:
    many = Linear(5, 7, generators(4, seed=10))
    for i in range(4):
        one = Linear(5, 7, generators(1, seed=10 + i))
        assert torch.equal(one.weight[0], many.weight[i])
        assert torch.equal(one.bias[0], many.bias[i])
    assert not torch.equal(many.weight[0], many.weight[1])


def test_layers_of_one_member_are_drawn_one_after_another() -> None:
    draws = generators(2, seed=0)
    first, second = Linear(3, 3, draws), Linear(3, 3, draws)
    assert not torch.equal(first.weight, second.weight)


def test_drawing_moves_no_global_generator() -> None:
    before = torch.get_rng_state()
    Linear(3, 4, generators(2, seed=0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("inputs", [1, 16, 400])
def test_weights_are_uniform_within_the_root_of_the_inputs(inputs: int) -> None:
    layer = Linear(inputs, 2000 // inputs + 100, generators(2, seed=3))
    bound = inputs**-0.5
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().flatten().numpy()
        assert abs(values).max() <= bound
        assert stats.kstest(values, "uniform", args=(-bound, 2 * bound)).pvalue > 1e-4


def test_drawn_is_a_parameter_with_the_member_first() -> None:
    parameter = drawn((2, 3), 0.5, generators(4, seed=0))
    assert isinstance(parameter, torch.nn.Parameter)
    assert parameter.shape == (4, 2, 3) and parameter.requires_grad


def test_each_member_applies_its_own_weights() -> None:
    layer = Linear(3, 2, generators(2, seed=0)).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [torch.nn.functional.linear(x[i], layer.weight[i].T, layer.bias[i, 0]) for i in range(2)]
    torch.testing.assert_close(layer(x), torch.stack(expected), rtol=1e-12, atol=1e-12)
    layer(x)[1].sum().backward()
    assert layer.weight.grad[0].abs().max() == 0 and layer.weight.grad[1].abs().min() > 0


def test_inputs_of_another_number_of_members_are_refused() -> None:
    layer = Linear(3, 2, generators(2, seed=0))
    with pytest.raises((jaxtyping.TypeCheckError, RuntimeError)):
        layer(torch.zeros(3, 5, 3))
