"""Small trained runs for the tests of learned rewards."""

from pathlib import Path

import numpy as np

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous
from demonstrably.training.session import Plan, Session

PLANE = Continuous((-1.0, -1.0), (1.0, 1.0))
SPEED = 0.1
SMALL = SAC(temperature=0.01, critics=1, normalize=True, learning_rate=1e-3, body=MLP((8,)))


def walks(noise: list[float], length: int = 10, seed: int = 0, rewarded: bool = True) -> Demonstrations:
    """Walks on a plane to its origin, one for each share of noise in the velocity; minus the distance is the reward."""
    draws = np.random.default_rng(seed)
    places, velocities = [], []
    for share in noise:
        places.append(draws.uniform(-1, 1, 2))
        for _ in range(length):
            wanted = np.clip(-places[-1] / SPEED, -1, 1)
            velocities.append((1 - share) * wanted + share * draws.uniform(-1, 1, 2))
            places.append(places[-1] + SPEED * velocities[-1])
    rows = np.array(places, np.float32)
    after = np.delete(rows, np.arange(len(noise)) * (length + 1), 0)
    return Demonstrations.from_arrays(
        {"place": rows, "clock": rows[:, :1]},
        np.array(velocities, np.float32),
        -np.linalg.norm(after, axis=1) if rewarded else None,
        lengths=[length] * len(noise),
        action=PLANE,
    )


def trained(folder: Path, name: str = "iq-learn", members: int = 2, steps: int = 4) -> Path:
    """A run that observes the place alone, with checkpoints at half of its steps and at the end."""
    learner = IQLearn(batch_size=8, generator=SMALL) if name == "iq-learn" else BC(batch_size=8, body=MLP((8,)))
    plan = Plan(steps, members=members, checkpoint_every=steps // 2, validation=0.0)
    for _ in Session.open(learner, walks([0.0] * 4), plan, folder, observations=("place",)).train():
        pass
    return folder
