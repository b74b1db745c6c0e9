"""The LSTM against torch.nn.LSTM with the same weights: outputs, gradients, and one step at a time."""

import pytest
import torch
from torch import Tensor, nn

from demonstrably.nets import products
from demonstrably.nets.linear import generators
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.recurrent import LSTM, Recurrence, Scan

CPU = torch.device("cpu")
WINDOW = 6


def built(members: int, *, inputs: int = 5, hidden: int = 7, layers: int = 2, seed: int = 0) -> Recurrence:
    return LSTM(hidden, layers).build(inputs, WINDOW, generators(members, seed))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def torchs(body: Recurrence, member: int) -> nn.LSTM:
    """torch's own LSTM with the weights of a member; its gates are in the order in, forget, new, out."""
    inputs, hidden, layers = body.inward[0].shape[1], body.outputs, len(body.bias)
    twin = nn.LSTM(inputs, hidden, layers).to(body.bias[0].dtype)
    state = {}
    for i in range(layers):
        state[f"weight_ih_l{i}"] = reordered(body.inward[i][member].T)
        state[f"weight_hh_l{i}"] = reordered(body.onward[i][member].T)
        state[f"bias_ih_l{i}"] = reordered(body.bias[i][member, 0])
        state[f"bias_hh_l{i}"] = torch.zeros_like(body.bias[i][member, 0])
    twin.load_state_dict(state)
    return twin


def reordered(rows: Tensor) -> Tensor:
    enter, forget, out, new = rows.chunk(4)
    return torch.cat([enter, forget, new, out])


def gradients(body: Recurrence) -> list[list[Tensor]]:
    return [[p.grad for p in kind] for kind in (body.inward, body.onward, body.bias)]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2, WINDOW])
def test_outputs_and_gradients_equal_torchs(layers: int, steps: int) -> None:
    body = built(2, layers=layers).double()
    x = drawn(2, steps, 3, 5).double().requires_grad_()
    weights = drawn(2, steps, 3, 7, seed=1).double()
    y = body(x)
    (y * weights).sum().backward()
    inward, onward, bias = gradients(body)
    for i in range(2):
        twin = torchs(body, i)
        own = x.detach()[i].clone().requires_grad_()
        expected, _ = twin(own)
        torch.testing.assert_close(y[i], expected)
        (expected * weights[i]).sum().backward()
        torch.testing.assert_close(x.grad[i], own.grad)
        found = dict(twin.named_parameters())
        for layer in range(layers):
            torch.testing.assert_close(reordered(inward[layer][i].T), found[f"weight_ih_l{layer}"].grad)
            torch.testing.assert_close(reordered(onward[layer][i].T), found[f"weight_hh_l{layer}"].grad)
            torch.testing.assert_close(reordered(bias[layer][i, 0]), found[f"bias_ih_l{layer}"].grad)


def test_gradients_by_differences() -> None:
    shapes = ((2, 3, 2, 4), (2, 4, 12), (2, 3, 12), (2, 1, 12))
    values = [drawn(*shape, seed=i).double().requires_grad_() for i, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(Scan.apply, values)


def test_the_gradient_of_inputs_is_left_out_where_nobody_asks() -> None:
    body, x = built(1, layers=1), drawn(1, WINDOW, 3, 5)
    body(x).sum().backward()
    assert x.grad is None and body.inward[0].grad is not None


def test_a_second_derivative_is_refused() -> None:
    """The backward pass is written out and has none: better an error than a wrong number."""
    body, x = built(1), drawn(1, WINDOW, 3, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(body(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("wide", [True, False])
def test_large_windows_in_float32(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which products go to the fast kernel, where there is one."""
    monkeypatch.setattr(products, "WIDE", wide and products.WIDE)
    body, x = built(2, inputs=64, hidden=96), drawn(2, WINDOW, 100, 64)
    y = body(x)
    y.square().sum().backward()
    for i in range(2):
        twin = torchs(body, i)
        expected, _ = twin(x[i])
        torch.testing.assert_close(y[i], expected, rtol=1e-4, atol=1e-5)
        expected.square().sum().backward()
        found = dict(twin.named_parameters())
        for mine, theirs in ((body.inward, "weight_ih_l0"), (body.onward, "weight_hh_l0")):
            torch.testing.assert_close(reordered(mine[0].grad[i].T), found[theirs].grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wide", [True, False])
def test_autocast_stays_near(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WIDE", wide and products.WIDE)
    body, x = built(2, inputs=64, hidden=96), drawn(2, WINDOW, 100, 64)
    exact = body(x)
    exact.square().sum().backward()
    wanted = [p.grad for p in body.parameters()]
    body.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y = body(x)
    assert y.dtype == torch.float32  # products are rounded, what is remembered is not
    y.square().sum().backward()  # outside of autocast, as in training
    assert 1e-5 < (y - exact).abs().max() < 0.05
    for parameter, gradient in zip(body.parameters(), wanted, strict=True):
        assert parameter.grad.dtype == torch.float32
        assert (parameter.grad - gradient).norm() < 0.05 * gradient.norm()


@pytest.mark.parametrize("wide", [True, False])
def test_autocast_takes_inputs_that_are_rounded_already(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As features of images are. The backward pass, which runs outside of autocast, must not mix types."""
    monkeypatch.setattr(products, "WIDE", wide and products.WIDE)
    body, x = built(2, inputs=64, hidden=96), drawn(2, WINDOW, 100, 64).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = body(x)
    y.square().sum().backward()
    torch.testing.assert_close(y, body(x.detach().float()), rtol=0.05, atol=0.05)
    assert x.grad.dtype == torch.bfloat16 and all(p.grad.dtype == torch.float32 for p in body.parameters())


@pytest.mark.parametrize("members", [1, 3])
def test_step_by_step_equals_windows_from_zero(members: int) -> None:
    """Acting starts anew every window: steps 0 to 5 are one window, 6 to 11 the next."""
    body, x = built(members), drawn(members, 2 * WINDOW + 2, 4, 5)
    carry = body.start(members, 4, CPU)
    with torch.no_grad():
        windows = torch.cat([body(part) for part in x.split(WINDOW, 1)], 1)
        for t in range(x.shape[1]):
            y, carry = body.step(x[:, t], carry)
            torch.testing.assert_close(y, windows[:, t])


def test_memory_reaches_back_to_the_start_of_its_window_only() -> None:
    body, x = built(1), drawn(1, 2 * WINDOW, 1, 5)
    changed = x.clone()
    changed[:, 0] += 1
    with torch.no_grad():
        differ = []
        carry, other = body.start(1, 1, CPU), body.start(1, 1, CPU)
        for t in range(2 * WINDOW):
            y, carry = body.step(x[:, t], carry)
            z, other = body.step(changed[:, t], other)
            differ.append(not torch.equal(y, z))
    assert differ == [True] * WINDOW + [False] * WINDOW


def test_episodes_may_start_at_different_times() -> None:
    body, x = built(2), drawn(2, 2 * WINDOW, 3, 5)
    carry, fresh = body.start(2, 3, CPU), body.start(2, 3, CPU)
    with torch.no_grad():
        for t in range(4):
            _, carry = body.step(x[:, t], carry)
        for name, tensor in carry.items():
            tensor[1, 2] = fresh[name][1, 2]
        for t in range(4, WINDOW):
            y, carry = body.step(x[:, t], carry)
            torch.testing.assert_close(y[1, 2], body(x[:, 4 : t + 1])[1, -1, 2])
            torch.testing.assert_close(y[0, 0], body(x[:, : t + 1])[0, -1, 0])


def test_carry_keeps_its_shape_and_is_left_alone() -> None:
    body = built(2)
    carry = body.start(2, 3, CPU)
    with torch.no_grad():
        for t in range(WINDOW + 2):
            kept = {name: tensor.clone() for name, tensor in carry.items()}
            _, after = body.step(drawn(2, 3, 5, seed=t), carry)
            assert {n: (v.shape, v.dtype) for n, v in after.items()} == {
                n: (v.shape, v.dtype) for n, v in carry.items()
            }
            assert all(v.shape[:2] == (2, 3) for v in after.values())
            assert all(torch.equal(carry[name], kept[name]) for name in kept)
            carry = after


def test_members_equal_single_runs() -> None:
    many, x = built(3, seed=5), drawn(3, WINDOW, 4, 5)
    together = many(x)
    together.square().sum().backward()
    for i in range(3):
        one = built(1, seed=5 + i)
        alone = one(x[i : i + 1])
        torch.testing.assert_close(alone[0], together[i])
        alone.square().sum().backward()
        for mine, ours in zip(one.parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(mine.grad[0], ours.grad[i], rtol=1e-4, atol=1e-5)


def test_members_can_be_taken_and_joined() -> None:
    body, x = built(3), drawn(3, WINDOW, 2, 5)
    with torch.no_grad():
        whole = body(x)
        torch.testing.assert_close(take_members(body, [2])(x[2:]), whole[2:])
        torch.testing.assert_close(join_members([take_members(body, [i]) for i in range(3)])(x), whole)


def test_weights_are_uniform_within_the_root_of_the_width() -> None:
    body = built(1, hidden=64)
    for parameter in body.parameters():
        assert 0.95 / 8 < parameter.abs().max() <= 1 / 8


@pytest.mark.parametrize(("hidden", "layers"), [(0, 1), (4, 0)])
def test_sizes_that_make_no_network_are_refused(hidden: int, layers: int) -> None:
    with pytest.raises(ValueError, match="each must be at least 1"):
        LSTM(hidden, layers)
