"""Adam over a population against torch's own AdamW on plain tensors."""

import pytest
import torch
from torch import Tensor, nn

from demonstrably.learners.adam import Adam, per_member

MEMBERS = 3
TARGETS = torch.tensor([1.0, -2.0, 0.5])


class Net(nn.Module):
    """Two parameters with members, one that no loss reaches, and one that is not trained."""

    def __init__(self, members: int = MEMBERS, first: int = 0):
        super().__init__()
        draws = [torch.Generator().manual_seed(first + i) for i in range(members)]
        self.weight = nn.Parameter(torch.stack([torch.randn(4, 5, generator=g) for g in draws]))
        self.bias = nn.Parameter(torch.stack([torch.randn(5, generator=g) for g in draws]))
        self.unused = nn.Parameter(torch.ones(members, 2))
        self.frozen = nn.Parameter(torch.ones(members, 2), requires_grad=False)

    def loss(self, step: int, first: int = 0) -> Tensor:
        """A different problem for each member and step, (M,)."""
        members = len(self.weight)
        x = torch.randn(MEMBERS, 6, 4, generator=torch.Generator().manual_seed(step))[first : first + members]
        y = torch.tanh(x @ self.weight + self.bias[:, None])
        return (y - TARGETS[first : first + members, None, None]).square().mean((1, 2))


def trained(net: Net, adam: Adam, steps: int = 12) -> Net:
    for step in range(steps):
        adam.step(net.loss(step))
    return net


def reference(member: int, rate: float, decay: float, clip: float | None, steps: int = 12) -> Net:
    """The same member by torch.optim.AdamW."""
    net = Net(1, first=member)
    adam = torch.optim.AdamW([net.weight, net.bias], lr=rate, weight_decay=decay, fused=False, foreach=False)
    for step in range(steps):
        adam.zero_grad()
        net.loss(step, first=member).sum().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([net.weight, net.bias], clip)
        adam.step()
    return net


RATES, DECAYS = (0.1, 0.01, 0.03), (0.0, 0.2, 0.1)


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize(("rate", "decay"), [(0.05, 0.0), (0.05, 0.1), (RATES, 0.0), (0.05, DECAYS), (RATES, DECAYS)])
def test_equals_adamw_of_each_member_alone(rate, decay, clip: float | None) -> None:
    net = Net()
    trained(net, Adam(net, rate, members=MEMBERS, weight_decay=decay, gradient_clip=clip))
    for i in range(MEMBERS):
        rates, decays = (per_member(value, MEMBERS, "value") for value in (rate, decay))
        alone = reference(i, rates[i], decays[i], clip)
        torch.testing.assert_close(net.weight[i], alone.weight[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(net.bias[i], alone.bias[0], rtol=1e-5, atol=1e-6)


def test_what_no_loss_reaches_stays() -> None:
    net = Net()
    trained(net, Adam(net, 0.1, members=MEMBERS, weight_decay=0.1))
    assert (net.unused == 1).all() and (net.frozen == 1).all()


def test_the_limit_is_of_each_member_alone() -> None:
    """One member's large gradient must not shrink another's."""
    net = Net()
    adam = Adam(net, 0.0, members=MEMBERS, gradient_clip=1.0)
    adam.step(net.loss(0) * torch.tensor([1e-3, 1.0, 1e6]))
    norms = (net.weight.grad.flatten(1).square().sum(1) + net.bias.grad.square().sum(1)).sqrt()
    small, _, large = norms.tolist()
    assert small < 1e-2 and large == pytest.approx(1.0, rel=1e-4)
    before = Net()
    (before.loss(0) * 1e-3).sum().backward()
    torch.testing.assert_close(net.weight.grad[0], before.weight.grad[0])


def test_members_do_not_touch_each_other() -> None:
    one, two = Net(), Net()
    Adam(one, 0.1, members=MEMBERS).step(one.loss(0))
    Adam(two, 0.1, members=MEMBERS).step(two.loss(0) * torch.tensor([1.0, -50.0, 1.0]))
    assert torch.equal(one.weight[0], two.weight[0]) and torch.equal(one.weight[2], two.weight[2])
    assert not torch.equal(one.weight[1], two.weight[1])


@pytest.mark.parametrize("rate", [0.05, RATES])
def test_copied_tensors_continue_the_same_run(rate) -> None:
    net = Net()
    adam = Adam(net, rate, members=MEMBERS)
    trained(net, adam, 5)
    copy = Net()
    copy.load_state_dict(net.state_dict())
    resumed = Adam(copy, rate, members=MEMBERS)
    for name, tensor in resumed.tensors().items():
        tensor.copy_(adam.tensors()[name])
    for step in range(5, 9):
        adam.step(net.loss(step))
        resumed.step(copy.loss(step))
    assert torch.equal(net.weight, copy.weight) and torch.equal(net.bias, copy.bias)


def test_tensors_are_named_by_their_parameter() -> None:
    net = Net()
    adam = Adam(net, 0.1, members=MEMBERS)
    trained(net, adam, 3)
    names = {f"{name}/{moment}" for name in ("weight", "bias", "unused") for moment in ("first", "second")}
    assert adam.tensors().keys() == names | {"count"}
    assert int(adam.tensors()["count"]) == 3
    assert adam.tensors()["weight/first"].abs().min() > 0


def test_what_is_not_finite_is_named() -> None:
    net = Net()
    adam = Adam(net, 0.1, members=MEMBERS)
    assert list(adam.not_finite()) == []
    with torch.no_grad():
        net.bias[1, 2] = float("nan")
        net.frozen[0] = float("nan")
    assert list(adam.not_finite()) == ["bias"]


def test_one_value_or_one_a_member() -> None:
    assert per_member(0.1, 3, "rate") == [0.1, 0.1, 0.1]
    assert per_member((0.1, 0.2), 2, "rate") == [0.1, 0.2]
    with pytest.raises(ValueError, match="rate has 2 values for 3 members: give one value, or one a member"):
        per_member((0.1, 0.2), 3, "rate")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate is -1.0: give 0 or above"),
        ({"learning_rate": (0.1, float("nan"), 0.1)}, "learning_rate is nan"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"weight_decay": (0.0, 0.0, -0.1)}, "weight_decay is -0.1"),
        ({"gradient_clip": 0.0}, "gradient_clip is 0.0: give a norm above 0, or leave it out"),
        ({"gradient_clip": float("nan")}, "gradient_clip is nan"),
    ],
)
def test_values_that_cannot_train_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adam(Net(), **({"learning_rate": 0.1} | settings), members=MEMBERS)


# --- several copies a member, such as twin critics ---

COPIES = 2


class Twins(nn.Module):
    """Two copies of every row a member, member by member, and a number a member."""

    def __init__(self):
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(MEMBERS * COPIES, 4, generator=draws))
        self.shared = nn.Parameter(torch.randn(MEMBERS, 1, generator=draws))

    def loss(self) -> Tensor:
        """(M,)."""
        own = (self.weight - 1).square().sum(1).view(MEMBERS, COPIES).sum(1)
        return own + (self.shared - 1).square().sum(1)


def moved(rate, decay=0.0, clip: float | None = None, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """How far the rows go in three updates: the copies (M, 2), and the number of a member (M,)."""
    net, before = Twins(), Twins()
    adam = Adam(net, rate, members=MEMBERS, weight_decay=decay, gradient_clip=clip)
    for _ in range(3):
        adam.step(net.loss() * scale)
    weight = (net.weight - before.weight).norm(dim=1).view(MEMBERS, COPIES)
    return weight.detach(), (net.shared - before.shared).abs().squeeze(1).detach()


def test_rates_of_members_are_those_of_all_their_copies() -> None:
    weight, shared = moved((0.0, 0.01, 0.1))
    assert (weight[0] == 0).all() and shared[0] == 0
    for member, rate in ((1, 0.01), (2, 0.1)):
        all_weight, all_shared = moved(rate)
        torch.testing.assert_close(weight[member], all_weight[member])
        torch.testing.assert_close(shared[member], all_shared[member])


def test_decays_of_members_are_those_of_all_their_copies() -> None:
    weight, shared = moved(0.01, (0.0, 5.0, 0.0))
    plain, alone = moved(0.01)
    torch.testing.assert_close(weight[[0, 2]], plain[[0, 2]])
    torch.testing.assert_close(shared[[0, 2]], alone[[0, 2]])
    assert (weight[1] != plain[1]).all() and shared[1] != alone[1]


def test_the_limit_is_of_all_copies_of_a_member_together() -> None:
    net = Twins()
    Adam(net, 0.0, members=MEMBERS, gradient_clip=1.0).step(net.loss() * torch.tensor([1e-3, 1.0, 1e6]))
    assert net.weight.grad is not None and net.shared.grad is not None
    squares = net.weight.grad.square().sum(1).view(MEMBERS, COPIES).sum(1) + net.shared.grad.square().sum(1)
    assert squares[0].sqrt() < 0.1
    torch.testing.assert_close(squares[1:].sqrt(), torch.ones(2), rtol=1e-4, atol=0)
    plain = Twins()
    (plain.loss() * 1e-3).sum().backward()
    assert plain.weight.grad is not None
    torch.testing.assert_close(net.weight.grad[:COPIES], plain.weight.grad[:COPIES])
