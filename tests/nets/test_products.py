"""Matrix products: the fast kernel against torch's own and against float64, gradients, autocast, and without it."""

import pytest
import torch
from torch import Tensor

from demonstrably.nets import products
from demonstrably.nets.products import Affine, add_matmul, affine, matmul

# (M, N, K, P): one row, odd sizes, a vector of outputs, more members, and the shapes of the presets.
SHAPES = [
    (1, 1, 1, 1),
    (1, 100, 19, 1024),
    (1, 100, 1024, 1024),
    (1, 101, 1023, 77),
    (1, 1000, 400, 1600),
    (1, 1, 2048, 600),
    (1, 2000, 600, 1),
    (3, 128, 128, 96),
    (5, 7, 300, 640),
    (2, 1000, 1600, 400),
]


@pytest.fixture(params=["fast", "plain"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with the fast kernel, on matrices of any size, and without it."""
    if request.param == "fast" and not products.WIDE:
        pytest.skip("this processor or this torch lacks the fast kernel")
    monkeypatch.setattr(products, "WIDE", request.param == "fast")
    monkeypatch.setattr(products, "SMALL", 1)
    return request.param


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_close(actual: Tensor, a: Tensor, b: Tensor, c: Tensor | None = None) -> None:
    """Within 1e-5 of the product in float64, relative to the size of the terms that were summed."""
    exact = a.double() @ b.double() + (0 if c is None else c.double())
    size = (a.double().square().sum(-1, keepdim=True) * b.double().square().sum(-2, keepdim=True)).sqrt()
    assert actual.dtype == torch.float32 and actual.shape == exact.shape
    assert ((actual.double() - exact).abs() / (size + 1)).max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_of_full_float32(shape: tuple[int, int, int, int]) -> None:
    members, n, k, p = shape
    a, b, c = drawn(members, n, k), drawn(members, k, p, seed=1), drawn(members, 1, p, seed=2)
    with torch.no_grad():
        assert_close(matmul(a, b), a, b)
        assert_close(add_matmul(c, a, b), a, b, c)
        torch.testing.assert_close(matmul(a, b), torch.bmm(a, b), rtol=1e-5, atol=1e-5 * k**0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_layouts_do_not_matter(shape: tuple[int, int, int, int]) -> None:
    members, n, k, p = shape
    a, b = drawn(members, n, k), drawn(members, k, p, seed=1)
    with torch.no_grad():
        flipped_a, flipped_b = a.mT.contiguous().mT, b.mT.contiguous().mT
        wide = drawn(members, n, 3 * k)[..., k : 2 * k]
        every_other = drawn(members, k, 2 * p, seed=1)[..., ::2]
        for one, other in ((flipped_a, b), (a, flipped_b), (flipped_a, flipped_b), (wide, every_other)):
            assert_close(matmul(one, other), one, other)
        bias = drawn(members, n, p, seed=2)
        assert_close(add_matmul(bias, flipped_a, b), a, b, bias)


def test_operands_are_left_alone() -> None:
    a, b, c = drawn(2, 30, 40), drawn(2, 40, 50, seed=1), drawn(2, 30, 50, seed=2)
    kept = [tensor.clone() for tensor in (a, b, c)]
    with torch.no_grad():
        add_matmul(c, a, b)
        matmul(a, b)
    assert all(torch.equal(now, then) for now, then in zip((a, b, c), kept, strict=True))


def test_results_own_their_memory() -> None:
    a, b = drawn(1, 30, 40), drawn(1, 40, 50, seed=1)
    with torch.no_grad():
        first = matmul(a, b)
        kept = first.clone()
        matmul(a + 1, b)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("needs", [(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_gradients_equal_those_of_torch(needs: tuple[int, int, int]) -> None:
    values = drawn(3, 1, 50), drawn(3, 60, 40, seed=1), drawn(3, 40, 50, seed=2)
    weights = drawn(3, 60, 50, seed=3)
    ours = [value.clone().requires_grad_(bool(need)) for value, need in zip(values, needs, strict=True)]
    theirs = [value.clone().requires_grad_(bool(need)) for value, need in zip(values, needs, strict=True)]
    (affine(*ours) * weights).sum().backward()
    (torch.baddbmm(*theirs) * weights).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_gradients_of_an_expanded_gradient() -> None:
    """A sum's gradient has stride 0, which a kernel must not take for a matrix in memory."""
    bias, x, weight = drawn(2, 1, 50), drawn(2, 60, 40, seed=1), drawn(2, 40, 50, seed=2).requires_grad_()
    affine(bias, x, weight).sum().backward()
    expected = x.sum(1).unsqueeze(-1).expand(2, 40, 50)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-4)


def test_gradients_in_float64() -> None:
    shapes = ((2, 1, 3), (2, 4, 5), (2, 5, 3))
    values = [drawn(*shape, seed=i).double().requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(Affine.apply, values)
    assert torch.autograd.gradgradcheck(Affine.apply, values)


def test_a_gradient_can_be_differentiated_again() -> None:
    """A penalty on a gradient: the kernel without a derivative must not be met on the way."""
    bias, x, weight = drawn(1, 1, 50), drawn(1, 60, 40, seed=1), drawn(1, 40, 50, seed=2)

    def penalty(forward) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in (bias, x, weight)]
        loss = torch.relu(forward(*leaves)).square().sum()
        (inner,) = torch.autograd.grad(loss, leaves[1], create_graph=True)
        inner.square().sum().backward()
        return [leaf.grad for leaf in leaves]

    for mine, other in zip(penalty(affine), penalty(torch.baddbmm), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-2)
        assert mine.abs().max() > 1


def test_autocast_rounds_the_operands() -> None:
    bias, x, weight = drawn(2, 1, 50), drawn(2, 60, 400, seed=1), drawn(2, 400, 50, seed=2)
    leaves = [value.clone().requires_grad_() for value in (bias, x, weight)]
    with torch.autocast("cpu", torch.bfloat16):
        y = affine(*leaves)
    rounded = torch.baddbmm(bias, x.bfloat16().float(), weight.bfloat16().float())
    assert (y.float() - rounded).abs().max() < 0.5  # an output of size 20 has steps of 0.125 in bfloat16
    assert (y.float() - torch.baddbmm(bias, x, weight)).abs().max() > 0.01
    y.float().square().sum().backward()
    exact = [value.clone().requires_grad_() for value in (bias, x, weight)]
    torch.baddbmm(*exact).square().sum().backward()
    for mine, other in zip(leaves, exact, strict=True):
        assert mine.grad.dtype == torch.float32
        assert (mine.grad - other.grad).norm() < 0.02 * other.grad.norm()


def test_autocast_leaves_the_fast_result_in_float32(kernel: str) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        result = matmul(drawn(1, 60, 400), drawn(1, 400, 50))
    assert result.dtype == (torch.float32 if kernel == "fast" else torch.bfloat16)


def test_small_products_go_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALL", 1 << 20)
    monkeypatch.setattr(products, "_fused", lambda a, b: pytest.fail("the fast kernel was called"))
    a, b = drawn(2, 10, 20), drawn(2, 20, 30, seed=1)
    with torch.no_grad():
        assert torch.equal(matmul(a, b), torch.bmm(a, b))


def test_other_types_go_to_torch() -> None:
    a, b = drawn(2, 30, 40), drawn(2, 40, 50, seed=1)
    with torch.no_grad():
        for dtype in (torch.float64, torch.bfloat16):
            result = matmul(a.to(dtype), b.to(dtype))
            assert result.dtype == dtype
            assert torch.equal(result, torch.bmm(a.to(dtype), b.to(dtype)))
