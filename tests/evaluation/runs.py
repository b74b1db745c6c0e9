"""Run folders with checkpoints in name only, and rollouts whose outcomes are worked out from the seed."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from demonstrably.spec import Discrete, Environment, Field, Spec
from demonstrably.training.run import Run

PLACE = Environment("toy/Sum-v0", {"size": (3, 4)}, imports=("toy_environments",))


def make_run(path: Path, steps=(100, 200, 300), members=2, environment=PLACE, data=None) -> Run:
    """A run folder with these checkpoints."""
    spec = Spec({"flat": Field((3,))}, Discrete(2), environment)
    run = Run.create(path, {"members": members, "spec": spec.to_dict(), "data": {"path": data}})
    for step in steps:
        run.checkpoint(step).mkdir(parents=True)
    return run


class Rollouts:
    """Stands in for `rollout.play`: success by (step, member), the same for a seed whenever it is played."""

    def __init__(self, rates, signal=True, top=500.0):
        self.rates, self.signal, self.top = rates, signal, top
        self.played: list[tuple[int, int, int]] = []
        self.places: list[Environment] = []
        self.fail_after: int | None = None

    def __call__(self, load, arms, environment, seeds, *, progress=None, **settings):
        if self.fail_after is not None and len(self.played) >= self.fail_after:
            raise KeyboardInterrupt
        self.places.append(environment)
        rows = [(step, member, seed) for step, member in arms for seed in seeds]
        self.played += rows
        if progress:
            progress(len(rows), len(rows))
        luck = np.array([np.random.default_rng([*row]).random() for row in rows])
        rates = np.array([self.rates[step, member] for step, member, _ in rows])
        success = luck < rates
        return pa.table(
            {
                "checkpoint": [row[0] for row in rows],
                "member": [row[1] for row in rows],
                "seed": [row[2] for row in rows],
                "return": self.top * np.clip(rates + 0.2 * (luck - 0.5), 0, 1),
                "success": pa.array(success if self.signal else [None] * len(rows), pa.bool_()),
                "length": [10] * len(rows),
                "task": pa.array([None] * len(rows), pa.string()),
            }
        )


RATES = {(100, 0): 0.1, (100, 1): 0.2, (200, 0): 0.9, (200, 1): 0.6, (300, 0): 0.7, (300, 1): 0.5}
