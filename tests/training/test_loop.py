"""The one loop: when it yields, what it reports, and how it stops where numbers are no longer finite."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from demonstrably.data.batches import StepBatch, Steps
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.adam import Adam
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner, Metrics, Policy, State
from demonstrably.nets.heads import Deterministic
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.training.feeds import Feed, OfflineFeed
from demonstrably.training.loop import train, validation_loss


class Weights(nn.Module):
    def __init__(self, members: int):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(members, 1))


@dataclass(frozen=True)
class Counting(Learner):
    """Its loss is the number of the step, plus a tenth of the member; on request something breaks."""

    bad_loss_at: int | None = None  # member 1's
    bad_weight_at: int | None = None

    def reads(self) -> Steps:
        return Steps(1)

    def init(self, spec, *, members: int, seed: int, device) -> State:
        net = Weights(members)
        adam = Adam(net, 0.1, members=members)
        return State.of({"actor": net}, {"actor": adam}, members=members, seed=seed, device=device)

    def step(self, state: State, batch) -> Metrics:
        state.step += 1
        loss = state.step + 0.1 * torch.arange(len(state.keys))
        if self.bad_loss_at == int(state.step):
            loss[1] = float("nan")
        if self.bad_weight_at == int(state.step):
            state.networks["actor"].slope.data[1] = float("inf")
        return {"loss": loss, "double": 2 * loss}

    def loss(self, state: State, batch) -> Tensor:
        raise NotImplementedError

    def policy(self, state: State) -> Policy:
        raise NotImplementedError


class Nothing(Feed):
    def draw(self, state: State) -> StepBatch:
        members = len(state.keys)
        return StepBatch({}, torch.zeros(members, 1, 1))


def counted(learner: Counting, steps: int, every: tuple[int, ...], state: State | None = None) -> Iterator:
    state = state or learner.init(None, members=2, seed=0, device="cpu")
    return train(learner, Nothing(), steps, state=state, every=every)


def test_it_yields_at_multiples_of_each_and_at_the_end() -> None:
    assert [p.step for p in counted(Counting(), 10, (3, 4))] == [3, 4, 6, 8, 9, 10]
    assert [p.step for p in counted(Counting(), 4, (100,))] == [4]
    assert [p.step for p in counted(Counting(), 3, (1,))] == [1, 2, 3]


def test_metrics_are_means_since_the_last_yield() -> None:
    found = list(counted(Counting(), 5, (2,)))
    np.testing.assert_allclose([p.metrics["loss"] for p in found], [[1.5, 1.6], [3.5, 3.6], [5, 5.1]], rtol=1e-6)
    np.testing.assert_allclose(found[0].metrics["double"], [3, 3.2], rtol=1e-6)
    assert all(p.steps_per_second > 0 for p in found)


def test_it_goes_on_from_the_step_of_the_state() -> None:
    learner = Counting()
    state = learner.init(None, members=2, seed=0, device="cpu")
    state.step += 5
    assert [p.step for p in counted(learner, 10, (4,), state)] == [8, 10]
    assert list(counted(learner, 10, (4,), state)) == []
    assert list(counted(learner, 3, (4,), state)) == []


def test_the_state_is_at_the_step_of_the_yield() -> None:
    for progress in counted(Counting(), 10, (4,)):
        assert int(progress.state.step) == progress.step


def test_a_loss_that_is_not_finite_names_step_and_member() -> None:
    run = counted(Counting(bad_loss_at=6), 10, (4,))
    assert next(run).step == 4
    with pytest.raises(FloatingPointError, match=r"^loss of member 1 is nan at step 6\. Try a lower learning rate"):
        next(run)


def test_the_parameter_is_named_too() -> None:
    run = counted(Counting(bad_loss_at=6, bad_weight_at=5), 10, (4,))
    next(run)
    with pytest.raises(FloatingPointError, match="is nan at step 6; not finite by now: actor/slope. Try"):
        next(run)


def test_weights_that_the_last_update_broke_do_not_pass() -> None:
    """The loss of that update was still finite, and a checkpoint would hold the weights."""
    run = counted(Counting(bad_weight_at=8), 10, (4,))
    next(run)
    with pytest.raises(FloatingPointError, match="weights are not finite after step 8: actor/slope. Try"):
        next(run)


def test_an_interval_of_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least 1 step"):
        next(counted(Counting(), 10, (4, 0)))


LENGTHS = [7, 1, 12, 4]


def demonstrations() -> Demonstrations:
    random = np.random.default_rng(0)
    actions = np.tanh(random.normal(size=(sum(LENGTHS), 2))).astype(np.float32)
    return Demonstrations.from_arrays(random.normal(size=(sum(LENGTHS), 3)), actions, lengths=LENGTHS)


@pytest.mark.parametrize("size", [1, 5, 1024])
def test_the_validation_loss_is_the_mean_over_all_steps(size: int) -> None:
    learner, demos = BC(body=MLP((8,)), head=Deterministic()), demonstrations()
    state = learner.init(demos.spec(), members=2, seed=0, device="cpu")
    feed = OfflineFeed(demos, demos.keys(), learner.reads(), "cpu")
    column = torch.from_numpy(np.concatenate([episode.observations["flat"][:-1] for episode in demos]))
    whole = StepBatch(
        {"flat": column.expand(2, -1, -1)}, torch.from_numpy(demos.actions).expand(2, -1, -1)
    )
    found = validation_loss(learner, feed, state, size)
    np.testing.assert_allclose(found, learner.loss(state, whole).detach(), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 1024])
def test_the_validation_loss_of_windows_weighs_steps_alike(size: int) -> None:
    learner, demos = BCRNN(window=5, body=LSTM(8, 1)), demonstrations()
    state = learner.init(demos.spec(), members=2, seed=0, device="cpu")
    feed = OfflineFeed(demos, demos.keys(), learner.reads(), "cpu")
    total = torch.zeros(2)
    with torch.no_grad():
        for weight, batch in feed.once(2, 1):
            total += learner.loss(state, batch) * weight
    np.testing.assert_allclose(validation_loss(learner, feed, state, size), total / sum(LENGTHS), rtol=1e-5)


def test_the_validation_loss_records_no_gradient() -> None:
    learner, demos = BC(body=MLP((8,))), demonstrations()
    state = learner.init(demos.spec(), members=1, seed=0, device="cpu")
    feed = OfflineFeed(demos, demos.keys(), learner.reads(), "cpu")
    found = validation_loss(learner, feed, state)
    assert isinstance(found, np.ndarray) and found.shape == (1,)
    assert all(p.grad is None for p in state.networks["actor"].parameters())


@dataclass(frozen=True)
class Composed(Counting):
    """Keeps what it trains in a part."""

    def init(self, spec, *, members: int, seed: int, device) -> State:
        return State.around(super().init(spec, members=members, seed=seed, device=device), {}, {})

    def step(self, state: State, batch) -> Metrics:
        state.step += 1
        return super().step(state.parts["generator"], batch)


def test_weights_of_parts_are_looked_at_too() -> None:
    state = Composed().init(None, members=2, seed=0, device="cpu")
    assert list(state.updated()) == ["generator/actor"] and list(state.parts["generator"].updated()) == ["actor"]
    run = counted(Composed(bad_weight_at=8), 10, (4,))
    next(run)
    with pytest.raises(FloatingPointError, match="not finite after step 8: generator/actor/slope. Try"):
        next(run)
    run = counted(Composed(bad_loss_at=6, bad_weight_at=5), 10, (4,))
    next(run)
    with pytest.raises(FloatingPointError, match="is nan at step 6; not finite by now: generator/actor/slope. Try"):
        next(run)
