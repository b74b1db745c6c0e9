"""What a population costs: updates a second of 1, 4, 16 and 32 members, on a CPU or (captured as a graph) on a GPU.

    python benchmarks/members.py [--device cuda] [--steps 200] [--out benchmarks/results/members.json]

Low-dimensional BC and BC-RNN with the settings of the robomimic study, on synthetic data. On a GPU the eager update is
measured beside the captured one.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner
from demonstrably.training.capture import stepper
from demonstrably.training.feeds import OfflineFeed


def synthetic(episodes: int = 200, length: int = 124, width: int = 23, actions: int = 7) -> Demonstrations:
    """Random episodes of the size of the study's low-dimensional ones."""
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((episodes * (length + 1), width)).astype(np.float32)
    done = np.tanh(rng.standard_normal((episodes * length, actions))).astype(np.float32)
    return Demonstrations.from_arrays(observations, done, lengths=[length] * episodes)


def rate(update: Callable[[], Any], steps: int, device: str) -> float:
    """Updates a second after a warm-up."""
    for _ in range(5):
        update()
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        update()
    if device != "cpu":
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - began)


def measure(learner: Learner, members: int, demos: Demonstrations, device: str, steps: int) -> dict[str, Any]:
    """Updates a second of a population, captured where the device is a GPU."""
    state = learner.init(demos.spec(), members=members, seed=0, device=device)
    feed = OfflineFeed(demos, demos.keys(), learner.reads(), device)
    found = {"learner": type(learner).__name__, "members": members, "device": device}
    if device != "cpu":
        found["eager_per_second"] = rate(lambda: learner.step(state, feed.batch(state)), steps, device)
    found["updates_per_second"] = rate(stepper(learner, feed, state), steps, device)
    return found


def main() -> None:
    """Measures all and prints the cost of each population as a multiple of one member's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 16, 32])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    demos, rows = synthetic(), []
    for learner in (BC(normalize=False), BCRNN(normalize=False)):
        for members in options.members:
            row = measure(learner, members, demos, options.device, options.steps)
            first = next(r for r in [*rows, row] if r["learner"] == row["learner"])
            row["cost_of_one"] = first["updates_per_second"] / row["updates_per_second"]
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
