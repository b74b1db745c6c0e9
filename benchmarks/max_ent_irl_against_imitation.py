"""Tabular maximum causal entropy IRL beside imitation 1.0.1's MCEIRL: speed, memory, and gradients with a discount.

    python benchmarks/max_ent_irl_against_imitation.py --imitation-python VENV/bin/python [--repeats 3] [--out FILE]

The speed problem is a grid of 50 x 50 states with 5 actions (a tenth of all moves slips), horizon 100, a reward a
state and no discount, which both solve alike. A gradient is one planning and one occupancy for a given reward; an
iteration is what the optimizer takes on average, gradient included (Adam there, L-BFGS here). Both run in processes of
their own, in turn, with as many threads, so that a change of the machine's speed hits both; figures are medians. The
numbers of the two gradients are held against each other.

The second problem is a grid of 5 x 5 with discount 0.9: the demonstrations' occupancies are those of the soft-optimal
policy for the true reward, so that the gradient at the true reward ought to vanish. MCEIRL plans without the discount.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIDE, ACTIONS, HORIZON, SLIP = 50, 5, 100, 0.1
SMALL, DISCOUNT = 5, 0.9
ITERATIONS, GRADIENTS = {"ours": 40, "theirs": 3}, {"ours": 20, "theirs": 3}


def dynamics(side: int) -> np.ndarray:
    """Next states (A, S) of four moves and staying."""
    cells = np.arange(side * side)
    x, y = cells % side, cells // side
    return np.stack(
        [
            y * side + np.minimum(x + 1, side - 1),
            y * side + np.maximum(x - 1, 0),
            np.minimum(y + 1, side - 1) * side + x,
            np.maximum(y - 1, 0) * side + x,
            cells,
        ]
    )


def entries(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows s * A + a, columns and probabilities of the transitions."""
    moves, cells = dynamics(side), np.arange(side * side)
    parts = [
        (cells * ACTIONS + action, move, np.full(len(cells), SLIP / ACTIONS + (1 - SLIP) * (action == direction)))
        for action in range(ACTIONS)
        for direction, move in enumerate(moves)
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, columns, values


def rewards(side: int) -> tuple[np.ndarray, np.ndarray]:
    """The true reward (S,) and the one at which the gradient is taken."""
    generator = np.random.default_rng(side)
    return generator.standard_normal((2, side * side))


def seconds(call: Callable[[], object], times: int) -> float:
    """Median time of a call, after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def ours() -> dict[str, object]:
    """Figures of this library."""
    from scipy import sparse

    from demonstrably.tabular.likelihood import matched
    from demonstrably.tabular.max_ent_irl import max_ent_irl
    from demonstrably.tabular.mdp import MDP
    from demonstrably.tabular.soft import occupancy, soft_optimal

    def problem(side: int, horizon: int, discount: float) -> MDP:
        rows, columns, values = entries(side)
        shape = (ACTIONS * side * side, side * side)
        transitions = sparse.csr_array((values, (rows, columns)), shape=shape)
        return MDP(transitions, discount=discount, horizon=horizon, initial=0, actions=ACTIONS)

    def pairs(reward: np.ndarray) -> np.ndarray:
        return np.repeat(reward[:, None], ACTIONS, 1)

    mdp, (truth, guess) = problem(SIDE, HORIZON, 1.0), rewards(SIDE)
    policy = soft_optimal(mdp, truth).policy
    expert = occupancy(mdp, policy)
    gradient_seconds = seconds(lambda: matched(mdp, expert, pairs(guess), 1.0), GRADIENTS["ours"])
    steps = ITERATIONS["ours"]
    began = time.perf_counter()
    estimate = max_ent_irl(mdp, policy, features="state", tolerance=1e-12, iterations=steps)
    iteration_seconds = (time.perf_counter() - began) / estimate.iterations
    small, (truth_small, _) = problem(SMALL, HORIZON, DISCOUNT), rewards(SMALL)
    there = occupancy(small, soft_optimal(small, truth_small).policy)
    return {
        "gradient_seconds": gradient_seconds,
        "iteration_seconds": iteration_seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gradient": matched(mdp, expert, pairs(guess), 1.0)[1].sum(1).tolist(),
        "discounted_gradient_at_truth": float(np.abs(matched(small, there, pairs(truth_small), 1.0)[1].sum(1)).max()),
    }


def theirs() -> dict[str, object]:
    """Figures of imitation's MCEIRL."""
    import tempfile

    import torch
    from imitation.algorithms import mce_irl
    from imitation.rewards.reward_nets import RewardNet
    from imitation.util import logger
    from seals.base_envs import TabularModelPOMDP

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    class Table(RewardNet):
        """A reward a state."""

        def __init__(self, environment: TabularModelPOMDP, start: np.ndarray):
            super().__init__(environment.observation_space, environment.action_space, normalize_images=False)
            self.values = torch.nn.Parameter(torch.as_tensor(start, dtype=torch.float32))

        def forward(self, state, action, next_state, done):
            return state @ self.values

    def problem(side: int) -> TabularModelPOMDP:
        rows, columns, values = entries(side)
        states = side * side
        dense = np.zeros((states * ACTIONS, states))
        np.add.at(dense, (rows, columns), values)
        start = np.eye(1, states).ravel()
        return TabularModelPOMDP(
            transition_matrix=dense.reshape(states, ACTIONS, states),
            observation_matrix=np.eye(states, dtype=np.float32),
            reward_matrix=rewards(side)[0],
            horizon=HORIZON,
            initial_state_dist=start,
        )

    environment, (truth, guess) = problem(SIDE), rewards(SIDE)
    expert = mce_irl.mce_occupancy_measures(environment, reward=truth)[1]
    gradient_seconds = seconds(lambda: mce_irl.mce_occupancy_measures(environment, reward=guess), GRADIENTS["theirs"])
    log = logger.configure(tempfile.mkdtemp(), [])
    net = Table(environment, np.zeros(SIDE * SIDE))
    learner = mce_irl.MCEIRL(expert, environment, net, np.random.default_rng(0), log_interval=None, custom_logger=log)
    observations = torch.as_tensor(environment.observation_matrix, dtype=torch.float32)
    iteration_seconds = seconds(lambda: learner._train_step(observations), ITERATIONS["theirs"])
    occupancy = mce_irl.mce_occupancy_measures(environment, reward=guess)[0][:HORIZON].sum(0)
    expert_occupancy = mce_irl.mce_occupancy_measures(environment, reward=truth)[0][:HORIZON].sum(0)
    small, truth_small = problem(SMALL), rewards(SMALL)[0]
    policy = mce_irl.mce_partition_fh(small, reward=truth_small, discount=DISCOUNT)[2]
    there = mce_irl.mce_occupancy_measures(small, reward=truth_small, pi=policy, discount=DISCOUNT)[1]
    planned = mce_irl.mce_occupancy_measures(small, reward=truth_small, discount=DISCOUNT)[1]
    return {
        "gradient_seconds": gradient_seconds,
        "iteration_seconds": iteration_seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "gradient": (expert_occupancy - occupancy).tolist(),
        "discounted_gradient_at_truth": float(np.abs(there - planned).max()),
    }


def figures(python: str, whose: str, threads: int) -> dict[str, object]:
    """The figures of one process."""
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(
        [python, __file__, "--whose", whose], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs both in turn and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imitation-python", help="a Python with imitation 1.0.1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--whose", choices=("ours", "theirs"), help="measure one, in this process")
    options = parser.parse_args()
    if options.whose:
        print(json.dumps(ours() if options.whose == "ours" else theirs()))
        return
    if not options.imitation_python:
        parser.error("give --imitation-python")
    runs: dict[str, list[dict]] = {"ours": [], "theirs": []}
    for _ in range(options.repeats):
        for whose, python in (("theirs", options.imitation_python), ("ours", sys.executable)):
            runs[whose].append(figures(python, whose, options.threads))
            print(whose, {k: v for k, v in runs[whose][-1].items() if k != "gradient"}, file=sys.stderr, flush=True)
    gradients = [np.array(runs[whose][0].pop("gradient")) for whose in ("ours", "theirs")]
    names = [name for name in runs["ours"][0]]
    result: dict[str, object] = {
        whose: {name: statistics.median(run[name] for run in found) for name in names} for whose, found in runs.items()
    }
    for name in ("gradient_seconds", "iteration_seconds", "peak_mib"):
        result[f"{name}_ratio"] = result["theirs"][name] / result["ours"][name]  # type: ignore[index]
    result["largest_difference_of_undiscounted_gradients"] = float(np.abs(gradients[0] - gradients[1]).max())
    result["settings"] = {
        "states": SIDE**2,
        "actions": ACTIONS,
        "horizon": HORIZON,
        "threads": options.threads,
        "repeats": options.repeats,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
