"""The Transformer body: what it sees, that acting equals training, members, dropout, and that it learns."""

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from demonstrably.nets.linear import LayerNorm, Linear, generators
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.transformer import Block, Blocks, Carry, Dropout, Transformer

WINDOW = 6
SMALL = Transformer(layers=2, heads=2, width=16, dropout=0.3)
KEYS = torch.tensor([11, 22, 33])
COUNTER = torch.tensor(4)
CPU = torch.device("cpu")


def built(members: int, config: Transformer = SMALL, seed: int = 0) -> Blocks:
    body = config.build(5, WINDOW, generators(members, seed))
    for i, generator in enumerate(generators(members, seed + 100)):
        nn.init.normal_(body.places.data[i], generator=generator)  # places that differ, as after training
    return body


def inputs(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_no_output_depends_on_a_later_input() -> None:
    body, x = built(2), inputs(2, WINDOW, 3, 5)
    with torch.no_grad():
        before = body(x)
        for t in range(WINDOW):
            changed = x.clone()
            changed[:, t:] += 1
            after = body(changed)
            torch.testing.assert_close(after[:, :t], before[:, :t])
            assert (after[:, t:] - before[:, t:]).abs().amax(-1).min() > 1e-3


def test_every_output_depends_on_all_inputs_before_it() -> None:
    body, x = built(1), inputs(1, WINDOW, 1, 5).requires_grad_()
    for t in range(WINDOW):
        (gradient,) = torch.autograd.grad(body(x)[0, t, 0, 0], x)
        reached = gradient.abs().sum(-1).flatten() > 0
        assert reached.tolist() == [s <= t for s in range(WINDOW)]


def test_batch_rows_are_independent() -> None:
    body, x = built(2), inputs(2, WINDOW, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(body(x)[:, :, 1:2], body(x[:, :, 1:2]))


@pytest.mark.parametrize("keys", [None, KEYS])
@pytest.mark.parametrize("steps", [WINDOW, 3])
def test_members_equal_single_runs(keys: Tensor | None, steps: int) -> None:
    x = inputs(3, steps, 4, 5)
    many = built(3)
    together = many(x, keys, COUNTER)
    together.square().sum().backward()
    for i in range(3):
        one = built(1, seed=i)
        alone = one(x[i : i + 1], None if keys is None else keys[i : i + 1], COUNTER)
        torch.testing.assert_close(alone[0], together[i])
        alone.square().sum().backward()
        for mine, ours in zip(one.parameters(), many.parameters(), strict=True):
            torch.testing.assert_close(mine.grad[0], ours.grad[i], rtol=1e-3, atol=1e-4)


def test_members_can_be_taken_and_joined() -> None:
    body, x = built(3), inputs(3, WINDOW, 2, 5)
    with torch.no_grad():
        whole = body(x)
        torch.testing.assert_close(take_members(body, [2])(x[2:]), whole[2:])
        torch.testing.assert_close(join_members([take_members(body, [i]) for i in range(3)])(x), whole)


@pytest.mark.parametrize("members", [1, 2])
def test_step_by_step_equals_the_window_it_rolls_over(members: int) -> None:
    body, x = built(members), inputs(members, 2 * WINDOW + 3, 4, 5)
    carry = body.start(members, 4, CPU)
    with torch.no_grad():
        for t in range(x.shape[1]):
            y, carry = body.step(x[:, t], carry)
            window = x[:, max(0, t - WINDOW + 1) : t + 1]
            torch.testing.assert_close(y, body(window)[:, -1])


def test_episodes_may_start_at_different_times() -> None:
    body, x = built(2), inputs(2, WINDOW + 2, 3, 5)
    carry = body.start(2, 3, CPU)
    fresh = body.start(2, 3, CPU)
    with torch.no_grad():
        for t in range(4):
            _, carry = body.step(x[:, t], carry)
        carry = {name: tensor.clone() for name, tensor in carry.items()}
        for name, tensor in carry.items():
            tensor[1, 2] = fresh[name][1, 2]
        for t in range(4, x.shape[1]):
            y, carry = body.step(x[:, t], carry)
            torch.testing.assert_close(y[1, 2], body(x[:, 4 : t + 1])[1, -1, 2])
            torch.testing.assert_close(y[0, 0], body(x[:, max(0, t - WINDOW + 1) : t + 1])[0, -1, 0])


def described(carry: Carry) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in carry.items()}


def test_carry_keeps_its_shape_and_is_left_alone() -> None:
    body = built(2)
    carry = body.start(2, 3, CPU)
    assert all(tensor.shape[:2] == (2, 3) for tensor in carry.values())
    with torch.no_grad():
        for _ in range(WINDOW + 2):
            kept = {name: tensor.clone() for name, tensor in carry.items()}
            _, after = body.step(inputs(2, 3, 5), carry)
            assert described(after) == described(carry)
            assert all(torch.equal(carry[name], kept[name]) for name in kept)
            carry = after


def test_window_of_one_step_has_no_memory() -> None:
    body = SMALL.build(5, 1, generators(1, 0))
    x = inputs(1, 3, 2, 5)
    carry = body.start(1, 2, CPU)
    with torch.no_grad():
        for t in range(3):
            y, carry = body.step(x[:, t], carry)
            torch.testing.assert_close(y, body(x[:, t : t + 1])[:, 0])


def test_block_equals_torchs_own_layer() -> None:
    block = Block(16, 4, generators(1, 0))
    peer = nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    names = {
        "self_attn.in_proj_": block.project,
        "self_attn.out_proj.": block.join,
        "linear1.": block.widen,
        "linear2.": block.narrow,
        "norm1.": block.attention_norm,
        "norm2.": block.hidden_norm,
    }
    for layer in names.values():
        nn.init.normal_(layer.bias, std=0.5)
    weights = {f"{name}weight": layer.weight[0].t().squeeze(1) for name, layer in names.items()}
    biases = {f"{name}bias": layer.bias[0, 0] for name, layer in names.items()}
    peer.load_state_dict(weights | biases)
    x = inputs(3, 7, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    mine = block(x.view(1, 21, 16), 7, Dropout(0.0, None, 0)).view(3, 7, 16)
    torch.testing.assert_close(mine, peer(x, src_mask=mask, is_causal=True))


def test_layer_norm_of_each_member_equals_the_plain_one() -> None:
    layer = LayerNorm(6, generators(2, 0))
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = inputs(2, 4, 6)
    for i in range(2):
        plain = nn.functional.layer_norm(x[i], (6,), layer.weight[i, 0], layer.bias[i, 0])
        torch.testing.assert_close(layer(x)[i], plain)


def test_defaults_have_the_parameters_of_the_published_body() -> None:
    body = Transformer().build(23, 10, generators(1, 0))
    block = 12 * 512**2 + 9 * 512 + 4 * 512  # products, their biases, two normalizations
    ends = 23 * 512 + 512 + 10 * 512 + 4 * 512  # embedding of inputs and places, two normalizations
    assert sum(p.numel() for p in body.parameters()) == 6 * block + ends


@pytest.mark.parametrize("members", [1, 2])
def test_gradient_reaches_every_parameter(members: int) -> None:
    body = built(members)
    (body(inputs(members, WINDOW, 3, 5), KEYS[:members], COUNTER) ** 3).sum().backward()
    for name, parameter in body.named_parameters():
        assert parameter.shape[0] == members, name
        for i in range(members):
            assert parameter.grad[i].abs().sum() > 0, name


def test_every_step_has_a_place_of_its_own() -> None:
    body = built(1)
    with torch.no_grad():
        y = body(inputs(1, 1, 1, 5).expand(1, WINDOW, 1, 5))
        assert len(y.flatten(0, 2).unique(dim=0)) == WINDOW
    (body(inputs(1, 3, 2, 5)) ** 3).sum().backward()
    assert (body.places.grad[0, 0].abs().sum(-1) > 0).tolist() == [True] * 3 + [False] * 3


def test_dropout_follows_from_key_and_counter_alone() -> None:
    body, x = built(3), inputs(3, WINDOW, 2, 5)
    state = torch.get_rng_state()
    with torch.no_grad():
        first = body(x, KEYS, COUNTER)
        assert torch.equal(first, body(x, KEYS, COUNTER))
        assert not torch.equal(first, body(x, KEYS, COUNTER + 1))
        assert not torch.equal(first, body(x, KEYS + 1, COUNTER))
        assert not torch.equal(first, body(x))
        assert torch.equal(body(x), body(x))
    assert torch.equal(state, torch.get_rng_state())


def test_dropout_of_embeddings_and_of_each_part_of_a_block() -> None:
    body = built(1)
    dropout = Dropout(0.5, KEYS[:1], COUNTER)
    body.blocks[0](inputs(1, 6, 16), 3, dropout)
    assert dropout.uses == 2
    for block in body.blocks:
        for layer in (block.join, block.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    x = inputs(1, WINDOW, 2, 5)
    assert not torch.equal(body(x, KEYS[:1], COUNTER), body(x))


def test_no_dropout_at_rate_zero() -> None:
    body = built(2, Transformer(layers=1, heads=2, width=16, dropout=0.0))
    x = inputs(2, WINDOW, 2, 5)
    assert torch.equal(body(x, KEYS[:2], COUNTER), body(x))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    dropout = Dropout(rate, KEYS, COUNTER)
    x = torch.ones(3, 1001, 33)  # no multiple of four
    first, second = dropout(x), dropout(x)
    for member in range(3):
        assert (first[member] == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
        both = (first[member] == 0) & (second[member] == 0)
        assert both.float().mean().item() == pytest.approx(rate**2, abs=0.01)
    assert first.max().item() == pytest.approx(1 / (1 - rate), rel=1e-4)
    assert not torch.equal(first[0], first[1])
    lags = [(first[0].flatten()[:-lag] == 0) & (first[0].flatten()[lag:] == 0) for lag in (1, 2, 4)]
    assert all(lag.float().mean().item() == pytest.approx(rate**2, abs=0.015) for lag in lags)


def test_dropout_of_almost_everything_stays_finite() -> None:
    x = Dropout(0.9999999, KEYS, COUNTER)(torch.ones(3, 50, 50))
    assert x.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 0}, "layers 0"),
        ({"width": 30, "heads": 4}, "width 30 and heads 4"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"dropout": -0.1}, "dropout -0.1"),
    ],
)
def test_fields_are_checked(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transformer(**fields)


def test_windows_are_bounded_and_shapes_checked() -> None:
    body = built(1)
    with pytest.raises(AssertionError, match="7 steps"):
        body(inputs(1, WINDOW + 1, 2, 5))
    with pytest.raises(jaxtyping.TypeCheckError):
        body(inputs(1, WINDOW, 5))


@pytest.mark.slow
def test_learns_to_repeat_the_input_of_three_steps_ago() -> None:
    draws = generators(1, seed=0)
    body = Transformer(layers=2, heads=2, width=32, dropout=0.0).build(4, 10, draws)
    head = Linear(32, 4, draws)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
    source = torch.Generator().manual_seed(0)
    loss = torch.tensor(1.0)
    for _ in range(200):
        symbols = torch.randint(0, 4, (10, 32), generator=source)
        x = nn.functional.one_hot(symbols, 4).float()[None]
        logits = head(body(x).flatten(1, 2)).view(10, 32, 4)
        loss = nn.functional.cross_entropy(logits[3:].flatten(0, 1), symbols[:-3].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # guessing costs log 4 = 1.39
