"""One update after another; on CUDA captured as a graph. What each learner computes there is in conformance."""

import numpy as np
import pytest
import torch

from demonstrably.data.batches import Batch, Steps
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.contract import State
from demonstrably.nets.mlp import MLP
from demonstrably.nets.random import below, fork
from demonstrably.training.capture import _captured, stepper
from demonstrably.training.feeds import Feed, OfflineFeed

LEARNER = BC(body=MLP((8,)), batch_size=4)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="updates are captured on CUDA, and there is none")


def demonstrations() -> Demonstrations:
    random = np.random.default_rng(0)
    actions = np.tanh(random.normal(size=(30, 2))).astype(np.float32)
    return Demonstrations.from_arrays(random.normal(size=(30, 3)), actions, lengths=[10, 20])


def begun(device: str) -> tuple[State, OfflineFeed]:
    demos = demonstrations()
    state = LEARNER.init(demos.spec(), members=2, seed=0, device=device)
    return state, OfflineFeed(demos, demos.keys(), Steps(4), device)


class Growing(Feed):
    """Of the rows of a feed it draws but as many as there have been updates, the next one included."""

    def __init__(self, feed: OfflineFeed):
        self.feed = feed
        self.rows = torch.zeros((), dtype=torch.int64, device=feed.actions.device)
        self.asked: list[int] = []

    def advance(self, state: State, step: int) -> None:
        self.asked.append(step)
        self.rows.fill_(step + 1)

    def draw(self, state: State) -> Batch:
        return self.feed._at(below(self.rows, fork(state.keys, 1), state.step, 4))


def test_each_call_is_the_next_update() -> None:
    (state, feed), (other, _) = begun("cpu"), begun("cpu")
    update = stepper(LEARNER, feed, state)
    assert int(state.step) == 0
    for step in range(1, 4):
        expected = LEARNER.step(other, feed.batch(other))["loss"]
        assert torch.equal(update()["loss"], expected) and int(state.step) == step
    assert all(torch.equal(value, other.weights()[name]) for name, value in state.weights().items())


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
def test_a_feed_goes_ahead_of_every_update(device: str) -> None:
    state, feed = begun(device)
    other, _ = begun(device)
    growing, again = Growing(feed), Growing(feed)
    update = stepper(LEARNER, growing, state)
    for _ in range(5):
        loss = LEARNER.step(other, again.batch(other))["loss"]
        torch.testing.assert_close(update()["loss"], loss, rtol=1e-4, atol=1e-5)
    assert growing.asked == [0, 1, 2, 3, 4] and int(state.step) == 5


@cuda
def test_capturing_leaves_no_trace() -> None:
    state, feed = begun("cuda")
    before = {name: value.clone() for name, value in (state.weights() | state.progress()).items()}
    _captured(lambda: LEARNER.step(state, feed.draw(state)), state)
    torch.cuda.synchronize()
    assert all(torch.equal(value, before[name]) for name, value in (state.weights() | state.progress()).items())


@cuda
def test_metrics_of_a_replay_are_its_own() -> None:
    state, feed = begun("cuda")
    update = stepper(LEARNER, feed, state)
    first, kept = update(), None
    kept = first["loss"].clone()
    update()
    assert torch.equal(first["loss"], kept) and int(state.step) == 2
