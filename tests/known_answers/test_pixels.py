"""Learning from images: a ball falls, a paddle must be under it, and nothing is seen but pixels."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import Learner, State
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.divergences import TotalVariation
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import SmallCNN
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import train
from demonstrably.training.online import Collection, OnlineFeed
from demonstrably.training.worlds import Stepped, Worlds


class Catch(Worlds):
    """The ball falls a cell a step, the paddle moves by -1, 0 or 1 cell; at the bottom 1 is paid for a catch."""

    def __init__(self, lanes: int, cells: int = 6, scale: int = 2, channels: int = 1):
        self.lanes, self.cells, self.scale, self.channels = lanes, cells, scale, channels
        self.ball, self.paddle, self.row = (np.zeros(lanes, dtype=np.int64) for _ in range(3))

    def reset(self, lanes: Sequence[int], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        for lane, seed in zip(lanes, seeds, strict=True):
            self.ball[lane], self.paddle[lane] = np.random.default_rng(seed).integers(self.cells, size=2)
            self.row[lane] = 0
        return {"picture": self.seen(lanes)}

    def begin(self, lanes: Sequence[int], actions: np.ndarray) -> None:
        self.moved = list(lanes)
        self.paddle[self.moved] = np.clip(self.paddle[self.moved] + actions - 1, 0, self.cells - 1)
        self.row[self.moved] += 1

    def finish(self) -> Stepped:
        over = self.row[self.moved] == self.cells - 1
        caught = over & (self.ball[self.moved] == self.paddle[self.moved])
        return Stepped({"picture": self.seen(self.moved)}, caught.astype(np.float32), over, np.zeros_like(over))

    def close(self) -> None:
        pass

    def seen(self, lanes: Sequence[int]) -> np.ndarray:
        cells = np.zeros((len(lanes), self.cells, self.cells, self.channels), dtype=np.uint8)
        for i, lane in enumerate(lanes):
            cells[i, self.cells - 1, self.paddle[lane]] = 128
            cells[i, self.row[lane], self.ball[lane]] = 255
        return cells.repeat(self.scale, 1).repeat(self.scale, 2)

    def best(self) -> np.ndarray:
        return np.sign(self.ball - self.paddle) + 1


def demonstrations(**shape: int) -> Demonstrations:
    """Forty episodes of a player who never misses."""
    world = Catch(40, **shape)
    frames, actions = [world.reset(range(40), range(40))["picture"]], []
    for _ in range(world.cells - 1):
        actions.append(world.best())
        world.begin(range(40), actions[-1])
        frames.append(world.finish().observations["picture"])
    steps = world.cells - 1
    over = np.tile(np.arange(steps) == steps - 1, 40)
    pictures = np.concatenate(np.stack(frames, 1))
    lengths = [steps] * 40
    return Demonstrations.from_arrays(
        {"picture": pictures}, np.concatenate(np.stack(actions, 1)), terminated=over, lengths=lengths
    )


def catches(learner: Learner, state: State, **shape: int) -> float:
    """Share of 60 new balls that are caught."""
    world, policy = Catch(60, **shape), learner.policy(state)
    seen, caught = world.reset(range(60), range(1000, 1060))["picture"], 0.0
    carry = policy.start(torch.zeros(1, 60, dtype=torch.int64))
    for _ in range(world.cells - 1):
        action, carry = policy.act({"picture": torch.from_numpy(seen)[None]}, carry)
        world.begin(range(60), action[0].numpy())
        stepped = world.finish()
        seen, caught = stepped.observations["picture"], caught + stepped.rewards.mean()
    return caught


def trained(learner: Learner, updates: int, **shape: int) -> State:
    """After that many updates, from the demonstrations and what the learner tries where it is online."""
    demos, reads = demonstrations(**shape), learner.reads()
    state = learner.init(demos.spec(), members=1, seed=0, device="cpu")
    shown = OfflineFeed(demos, ("picture",), reads, "cpu")
    collection = Collection(warm_up=64)
    world = Catch(1, **shape)
    feed = OnlineFeed(
        world, reads, demos.spec(), learner.explore, collection, state=state, updates=updates, demonstrated=shown
    )
    for _ in train(learner, feed, updates, state=state):
        pass
    return state


SEES = SoftQ(learning_rate=3e-3, temperature=0.01, body=MLP((32,)), vision=SmallCNN((16,), 32, crop=1.0))


@pytest.mark.slow
def test_catching_is_learned_from_pictures() -> None:
    rules = {"divergence": TotalVariation(), "penalty": 0.5}
    learner = IQLearn(online=True, batch_size=32, generator=SEES, **rules)
    before = learner.init(demonstrations().spec(), members=1, seed=0, device="cpu")
    assert catches(learner, before) < 0.6
    assert catches(learner, trained(learner, 300)) > 0.8


def test_pictures_of_the_size_of_games_go_through() -> None:
    shape = {"cells": 7, "scale": 12, "channels": 4}  # 84 x 84 x 4
    learner = IQLearn(online=True, batch_size=4, generator=SoftQ(vision=SmallCNN((4, 8), 8, crop=1.0), body=MLP((8,))))
    state = trained(learner, 3, **shape)
    assert int(state.step) == 3
    assert all(torch.isfinite(weights).all() for weights in state.weights().values())
