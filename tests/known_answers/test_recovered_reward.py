"""Rewards that offline inverse soft-Q learning recovers, where the true one is known: a grid and a plane."""

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation.reward_report import reward_report
from demonstrably.learners.contract import Learner
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import train
from demonstrably.training.rewards import Reward

SIDE = 4
MOVES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
GOAL = (SIDE - 1, SIDE - 1)
CELLS = [(row, column) for row in range(SIDE) for column in range(SIDE)]


def learned(learner: Learner, demos: Demonstrations, steps: int) -> Reward:
    """The reward of three members, seeded 0 to 2."""
    state = learner.init(demos.spec(), members=3, seed=0, device="cpu")
    feed = OfflineFeed(demos, ("flat",), learner.reads(), "cpu")
    for _ in train(learner, feed, steps, state=state, every=(steps,)):
        pass
    return Reward(learner, state, demos.spec())


def seen(cells: list[tuple[int, int]]) -> np.ndarray:
    return np.eye(SIDE * SIDE, dtype=np.float32)[[row * SIDE + column for row, column in cells]]


def moved(cell: tuple[int, int], action: int) -> tuple[int, int]:
    row, column = np.clip(np.array(cell) + MOVES[action], 0, SIDE - 1).tolist()
    return row, column


def best(cell: tuple[int, int]) -> int:
    """Of the two shortest ways to the corner the one that goes down first."""
    return 0 if cell[0] < SIDE - 1 else 2


def errands() -> Demonstrations:
    """The shortest way to the corner from every cell; it ends the task."""
    cells, actions, over, lengths = [], [], [], []
    for start in CELLS:
        path = [start]
        while path[-1] != GOAL:
            actions.append(best(path[-1]))
            path.append(moved(path[-1], actions[-1]))
            over.append(path[-1] == GOAL)
        if len(path) > 1:
            cells += path
            lengths.append(len(path) - 1)
    return Demonstrations.from_arrays(seen(cells), actions, terminated=over, lengths=lengths, action=Discrete(4))


@pytest.mark.parametrize("value", ["steps", "initial"])
def test_demonstrated_steps_are_worth_more_than_all_others(value: str) -> None:
    generator = SoftQ(learning_rate=2e-2, temperature=0.05, target_rate=None, body=MLP((32,)))
    reward = learned(IQLearn(value=value, generator=generator), errands(), 80)
    tried = [(cell, action) for cell in CELLS if cell != GOAL for action in range(4)]
    after = [moved(*one) for one in tried]
    over = [cell == GOAL for cell in after]
    worth = reward({"flat": seen([cell for cell, _ in tried])}, [a for _, a in tried], {"flat": seen(after)}, over)
    shown = np.array([action == best(cell) for cell, action in tried])
    assert (worth[:, shown].min(1) > worth[:, ~shown].max(1)).all()


def walks(noise: np.ndarray, seed: int, length: int = 20) -> Demonstrations:
    """Walks on a plane to its origin, part of each velocity drawn by chance; minus the distance is the reward."""
    draws = np.random.default_rng(seed)
    places, velocities = [draws.uniform(-1, 1, (len(noise), 2))], []
    for _ in range(length):
        wanted = np.clip(-10 * places[-1], -1, 1)
        chance = draws.uniform(-1, 1, wanted.shape)
        velocities.append(wanted + noise[:, None] * (chance - wanted))
        places.append(places[-1] + 0.1 * velocities[-1])
    rows, actions = (np.stack(x, 1).astype(np.float32) for x in (places, velocities))
    distance = np.linalg.norm(rows[:, 1:], axis=2)
    plane = Continuous((-1.0, -1.0), (1.0, 1.0))
    columns = rows.reshape(-1, 2), actions.reshape(-1, 2), -distance.flatten()
    return Demonstrations.from_arrays(*columns, lengths=[length] * len(noise), action=plane)


def test_worse_episodes_earn_less_where_all_demonstrations_were_good() -> None:
    generator = SAC(temperature=0.1, critics=1, normalize=True, learning_rate=3e-3, body=MLP((32, 32)))
    reward = learned(IQLearn(batch_size=32, generator=generator), walks(np.zeros(20), seed=100), 100)
    graded = walks(np.repeat(np.linspace(0, 1, 6), 10), seed=7)
    found = reward_report(reward.score(graded), graded, repetitions=50)
    assert found.spearman and found.spearman.mean
    assert min(value or 0.0 for value in found.spearman.members) > 0.6
    assert found.spearman.mean.low > 0.6
