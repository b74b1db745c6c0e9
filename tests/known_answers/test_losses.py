"""Losses and actions against values by hand, closed forms, brute force, and problems whose best answer is known."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate, special, stats
from torch import Tensor

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner, Policy
from demonstrably.nets.heads import (
    EDGE,
    Categorical,
    Deterministic,
    GaussianMixture,
    Head,
    TanhGaussian,
)
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.transformer import Transformer
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import train, validation_loss

Array = NDArray[np.float64]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- heads ---


def test_squared_and_absolute_errors_by_hand() -> None:
    outputs = torch.atanh(torch.tensor([[[0.5, -0.8]]], dtype=torch.float64))
    target = torch.tensor([[[0.2, 0.9]]], dtype=torch.float64)
    # Errors 0.3 and -1.7: squares 0.09 and 2.89; smooth absolute errors 0.045 and 1.2.
    assert Deterministic().loss(outputs, target).item() == pytest.approx((0.09 + 2.89) / 2)
    assert Deterministic(0.0, 1.0).loss(outputs, target).item() == pytest.approx((0.045 + 1.2) / 2)
    both = Deterministic(0.5, 2.0).loss(outputs, target).item()
    assert both == pytest.approx(0.5 * 1.49 + 2.0 * 0.6225)
    assert Deterministic().act(outputs, torch.zeros(1, 1, 0)).flatten().tolist() == pytest.approx([0.5, -0.8])


def test_tanh_gaussian_equals_the_change_of_variables() -> None:
    outputs, raw = 0.5 * drawn(2, 50, 6), drawn(2, 50, 3, seed=1)
    mean, log_std = (part.numpy() for part in outputs.chunk(2, -1))
    normal = stats.norm.logpdf(raw.numpy(), mean, np.exp(log_std))
    expected = -(normal - np.log(1 - np.tanh(raw.numpy()) ** 2)).sum(-1)
    np.testing.assert_allclose(TanhGaussian().loss(outputs, torch.tanh(raw)), expected, rtol=1e-9)
    acted = TanhGaussian().act(outputs, torch.zeros(2, 50, 0))
    np.testing.assert_allclose(acted, np.tanh(mean))


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.2, 0.5), (0.3, -3.0)])
def test_the_tanh_gaussian_density_integrates_to_one(mean: float, log_std: float) -> None:
    outputs = torch.tensor([[mean, log_std]], dtype=torch.float64)

    def density(action: float) -> float:
        return math.exp(-TanhGaussian().loss(outputs, torch.tensor([[action]], dtype=torch.float64)).item())

    peak = math.tanh(mean)
    total, _ = integrate.quad(density, -EDGE, EDGE, points=[peak, -0.99, 0.99], limit=200)
    # What lies beyond the edge, where a target is moved inside, is missing.
    edge, std = math.atanh(EDGE), math.exp(log_std)
    inside = stats.norm.cdf(edge, mean, std) - stats.norm.cdf(-edge, mean, std)
    assert total == pytest.approx(inside, abs=1e-6) and inside > 0.98


def test_tanh_gaussian_limits_its_deviation_and_its_targets() -> None:
    head, target = TanhGaussian(), torch.tensor([[0.3]], dtype=torch.float64)
    for raw, used in ((9.0, 2.0), (-9.0, -5.0)):
        loss = head.loss(torch.tensor([[0.2, raw]], dtype=torch.float64), target)
        assert loss.item() == head.loss(torch.tensor([[0.2, used]], dtype=torch.float64), target).item()
    outputs = torch.tensor([[0.2, 0.0]], dtype=torch.float64)
    at_bound, at_edge = (head.loss(outputs, torch.tensor([[a]], dtype=torch.float64)) for a in (1.0, EDGE))
    assert at_bound.item() == at_edge.item() and math.isfinite(at_bound.item())


@pytest.mark.parametrize(("modes", "dimensions"), [(1, 1), (5, 3), (2, 4)])
def test_the_mixture_equals_brute_force(modes: int, dimensions: int) -> None:
    head = GaussianMixture(modes, min_std=0.01)
    outputs = drawn(2, 40, modes * (1 + 2 * dimensions))
    target = drawn(2, 40, dimensions, seed=1)
    raw = outputs.numpy()
    weights = special.softmax(raw[..., :modes], -1)
    means = np.tanh(raw[..., modes : modes * (1 + dimensions)]).reshape(2, 40, modes, dimensions)
    stds = np.log1p(np.exp(raw[..., modes * (1 + dimensions) :])).reshape(2, 40, modes, dimensions) + 0.01
    densities = stats.norm.pdf(target.numpy()[..., None, :], means, stds).prod(-1)
    expected = -np.log((weights * densities).sum(-1))
    np.testing.assert_allclose(head.loss(outputs, target), expected, rtol=1e-9)
    for i, number in enumerate((0.01, 0.5, 0.99)):
        acted = head.act(outputs[:, i : i + 1], torch.full((2, 1, 1), number, dtype=torch.float64))
        chosen = (weights[:, i].cumsum(-1) < number).sum(-1)
        np.testing.assert_allclose(acted[:, 0], means[np.arange(2), i, chosen])


def test_the_mixture_density_integrates_to_one() -> None:
    head, outputs = GaussianMixture(3), drawn(1, 3 * 5, seed=4)

    def line(x: float) -> float:
        grid = torch.stack([torch.full((801,), x), torch.linspace(-12, 12, 801)], -1).double()
        return integrate.simpson(torch.exp(-head.loss(outputs.expand(801, -1), grid)).numpy(), dx=24 / 800)

    total = integrate.simpson([line(x) for x in np.linspace(-12, 12, 401)], dx=24 / 400)
    assert total == pytest.approx(1, abs=1e-3)


def test_categorical_equals_the_log_probability() -> None:
    logits = 3 * drawn(2, 30, 6)
    target = torch.randint(0, 6, (2, 30), generator=torch.Generator().manual_seed(2))
    table = special.log_softmax(logits.numpy(), -1)
    expected = -np.take_along_axis(table, target.numpy()[..., None], -1)[..., 0]
    np.testing.assert_allclose(Categorical().loss(logits, target), expected, rtol=1e-9)
    every = [Categorical().loss(logits, torch.full((2, 30), action)) for action in range(6)]
    np.testing.assert_allclose(sum(torch.exp(-loss) for loss in every), 1, rtol=1e-12)
    assert torch.equal(Categorical().act(logits, torch.zeros(2, 30, 1)), logits.argmax(-1))


# --- learners ---


def trained(learner: Learner, demos: Demonstrations, steps: int, members: int = 1) -> tuple[Policy, Array]:
    """The policy after that many updates, and its loss over all steps."""
    keys = demos.keys()
    state = learner.init(demos.spec(keys), members=members, seed=0, device="cpu")
    feed = OfflineFeed(demos, keys, learner.reads(), "cpu")
    for _ in train(learner, feed, steps, state=state, every=(steps,)):
        pass
    return learner.policy(state), validation_loss(learner, feed, state)


def acted(policy: Policy, observations: Array) -> Array:
    """Actions (B, T, A) along episodes of observations (B, T, size)."""
    batch, steps, _ = observations.shape
    carry = policy.start(torch.arange(batch).expand(policy.members, batch))
    actions = []
    for t in range(steps):
        seen = torch.from_numpy(observations[:, t]).float().expand(policy.members, -1, -1)
        action, carry = policy.act({"flat": seen}, carry)
        actions.append(action.double().numpy()[0])
    return np.stack(actions, 1)


@pytest.mark.parametrize("head", [Deterministic(), GaussianMixture(modes=1)])
def test_bc_finds_the_least_squares_answer(head: Head) -> None:
    """Actions are linear in the observation with Gaussian noise: the best policy is the regression."""
    random = np.random.default_rng(0)
    observations = random.uniform(-1, 1, (4000, 3))
    slopes = np.array([[0.3, -0.2], [0.1, 0.2], [-0.2, 0.1]])
    actions = observations @ slopes + np.array([0.1, -0.1]) + random.normal(0, 0.1, (4000, 2))
    design = np.c_[observations, np.ones(4000)]
    solution, *_ = np.linalg.lstsq(design, actions, rcond=None)
    residual = (actions - design @ solution).std(0)

    learner = BC(learning_rate=4e-3, batch_size=200, average=0.95, body=MLP((32,)), head=head)
    demos = Demonstrations.from_arrays(observations, actions.astype(np.float32), lengths=[50] * 80)
    policy, loss = trained(learner, demos, 400)
    asked = random.uniform(-1, 1, (500, 3))
    error = acted(policy, asked[:, None])[:, 0] - np.c_[asked, np.ones(500)] @ solution
    assert np.sqrt((error**2).mean()) < 0.03 < 0.1 * (actions.max() - actions.min())
    if isinstance(head, GaussianMixture):
        entropy = (np.log(residual) + 0.5 * np.log(2 * np.pi * np.e)).sum()
        assert loss.item() == pytest.approx(entropy, abs=0.08)
    else:
        assert loss.item() == pytest.approx((residual**2).mean(), rel=0.08)


def test_bc_finds_the_frequencies_of_discrete_actions() -> None:
    """With one observation a state the best policy is the table of frequencies; its loss is their entropy."""
    random = np.random.default_rng(1)
    table = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
    states = random.integers(0, 3, 3000)
    actions = (random.random(3000)[:, None] > table[states].cumsum(-1)).sum(-1)
    counts = np.zeros((3, 3))
    np.add.at(counts, (states, actions), 1)
    entropy = -(counts * np.log(counts / counts.sum(-1, keepdims=True))).sum() / 3000

    learner = BC(learning_rate=5e-3, batch_size=512, average=0.95, body=MLP((16,)))
    demos = Demonstrations.from_arrays(np.eye(3)[states], actions, lengths=[100] * 30)
    policy, loss = trained(learner, demos, 200)
    assert loss.item() == pytest.approx(entropy, abs=0.01)
    assert acted(policy, np.eye(3)[:, None])[:, 0].tolist() == counts.argmax(-1).tolist()


MEMORY = [(LSTM(32, 1), 350), (Transformer(layers=1, heads=2, width=32, dropout=0.0), 400)]


@pytest.mark.slow
@pytest.mark.parametrize(("body", "updates"), MEMORY)
def test_bc_rnn_recalls_what_bc_cannot(body: LSTM | Transformer, updates: int) -> None:
    """The action is the observation of three steps ago, and observations are noise."""
    window, back = 8, 3
    random = np.random.default_rng(2)
    observations = random.uniform(-1, 1, (60, 33, 1))
    actions = np.concatenate([np.zeros((60, back, 1)), observations[:, : 32 - back]], 1)
    demos = Demonstrations.from_arrays(
        observations.reshape(-1, 1), actions.reshape(-1, 1).astype(np.float32), lengths=[32] * 60
    )
    asked = random.uniform(-1, 1, (40, 2 * window, 1))
    shared = {"learning_rate": 5e-3, "batch_size": 64, "average": 0.9, "head": Deterministic()}
    recurrent, _ = trained(BCRNN(window=window, body=body, **shared), demos, updates)
    plain, _ = trained(BC(body=MLP((32,)), **shared), demos, 200)

    def error(policy: Policy) -> float:
        """Where the memory, which starts anew every window in an LSTM, reaches back far enough."""
        steps = [t for t in range(2 * window) if t % window >= back]
        miss = acted(policy, asked)[:, steps] - asked[:, [t - back for t in steps]]
        return float(np.sqrt((miss**2).mean()))

    assert error(recurrent) < 0.15
    assert error(plain) > 0.5  # the deviation of the noise is 0.577
