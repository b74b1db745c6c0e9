"""Matrix products: the fast kernel against torch's own and against float64, gradients, autocast, and without it."""

import pytest
import torch
from torch import Tensor

from demonstrably.nets import products
from demonstrably.nets.products import Affine, add_matmul, affine, matmul, perceptron

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


# Shapes of x, and of bias and weight of two layers.
NETWORK = ((3, 20, 30), (3, 1, 40), (3, 30, 40), (3, 1, 10), (3, 40, 10))


def network(rectified: int, *tensors: Tensor) -> Tensor:
    x, *parameters = tensors
    return perceptron(x, list(zip(parameters[::2], parameters[1::2], strict=True)), rectified=rectified)


def plain(rectified: int, x: Tensor, first: Tensor, one: Tensor, second: Tensor, two: Tensor) -> Tensor:
    y = torch.baddbmm(second, torch.relu(torch.baddbmm(first, x, one)), two)
    return torch.relu(y) if rectified == 2 else y


def leaves(needs: tuple[int, ...] = (1, 1, 1, 1, 1), members: int = 3) -> list[Tensor]:
    values = [drawn(*shape, seed=i)[:members].clone() for i, shape in enumerate(NETWORK)]
    return [value.requires_grad_(bool(need)) for value, need in zip(values, needs, strict=True)]


@pytest.mark.parametrize("rectified", [1, 2])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("needs", [(1, 1, 1, 1, 1), (0, 1, 1, 1, 1), (1, 0, 0, 0, 0), (0, 1, 0, 0, 1)])
def test_a_perceptron_equals_one_of_torch(rectified: int, members: int, needs: tuple[int, ...]) -> None:
    ours, theirs = leaves(needs, members), leaves(needs, members)
    with torch.no_grad():
        torch.testing.assert_close(network(rectified, *ours), plain(rectified, *theirs), rtol=1e-4, atol=1e-4)
    given = drawn(members, 20, 10, seed=9)
    kept = given.clone()
    network(rectified, *ours).backward(given)
    plain(rectified, *theirs).backward(given)
    assert torch.equal(given, kept)
    for mine, other, need in zip(ours, theirs, needs, strict=True):
        assert (mine.grad is None) == (other.grad is None) == (not need)
        if need:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rectified", [1, 2])
def test_gradients_of_a_perceptron_in_float64(rectified: int) -> None:
    shapes = ((2, 4, 3), (2, 1, 5), (2, 3, 5), (2, 1, 2), (2, 5, 2))
    values = [drawn(*shape, seed=i).double().requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(lambda *tensors: network(rectified, *tensors), values)
    assert torch.autograd.gradgradcheck(lambda *tensors: network(rectified, *tensors), values)


@pytest.mark.parametrize("rectified", [1, 2])
def test_a_perceptrons_gradient_can_be_differentiated_again(rectified: int) -> None:
    found = []
    for forward in (network, plain):
        tensors = leaves()
        loss = forward(rectified, *tensors).square().mean()
        inner = torch.autograd.grad(loss, [tensors[0], tensors[2]], create_graph=True)
        (inner[0].square().sum() + inner[1].square().sum()).backward()
        found.append([tensor.grad for tensor in tensors])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


def test_a_perceptron_keeps_what_is_not_a_number() -> None:
    tensors = leaves((0, 0, 0, 0, 0))
    tensors[0][1, 2, 3] = float("nan")
    lost = network(2, *tensors).isnan()
    assert lost[1, 2].all() and lost.sum() == lost[1, 2].sum()


@pytest.mark.parametrize("small", [1, 10_000])
def test_a_perceptron_under_autocast(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    """With the second size one layer goes to the fast kernel and one does not, so that their types differ."""
    monkeypatch.setattr(products, "SMALL", small)
    ours, exact = leaves(), leaves()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(1, *ours)
    y.float().square().mean().backward()
    plain(1, *exact).square().mean().backward()
    for mine, other in zip(ours, exact, strict=True):
        assert mine.grad.dtype == torch.float32
        assert 0 < (mine.grad - other.grad).norm() < 0.03 * other.grad.norm()


def test_stacks_of_products_with_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SMALL", 1 << 20)
    column, row, bias = drawn(2, 100, 1), drawn(2, 1, 100, seed=1), drawn(2, 1, 1, seed=2)
    wide = drawn(2, 100, 100, seed=3)
    with torch.no_grad():
        assert_close(matmul(wide, column), wide, column)
        assert_close(matmul(column, row), column, row)
        assert_close(add_matmul(bias, wide, column), wide, column, bias)
