"""Recovery of a reward from policies under two discounts: time, memory and error against size.

    python benchmarks/reward_recovery.py [--sides 100 200 316] [--out benchmarks/results/reward_recovery.json]

A square grid with four actions; with probability 0.2 a move slips to a random direction, and a move into the border
stays. The reward is drawn at random for each state and action, the policies are soft-optimal for it under discounts 0.9
and 0.5. Only `recover_reward` is timed: the clock's seconds, and the processor's, which say what they would be on a
machine that does nothing else. Errors are the largest over pairs, up to the constant that no policy reveals.
Each size runs in a process of its own, so that memory is its own peak; what the problem and its policies take before is
part of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.recover import recover_reward
from demonstrably.tabular.soft import soft_optimal

SIDES, SLIP, DISCOUNTS = (100, 200, 316, 500, 708, 1000), 0.2, (0.9, 0.5)


def grid(side: int) -> sparse.csr_array:
    """Transitions (S * 4, S) of the grid."""
    cells = np.arange(side * side)
    x, y = cells % side, cells // side
    moves = [
        y * side + np.minimum(x + 1, side - 1),
        y * side + np.maximum(x - 1, 0),
        np.minimum(y + 1, side - 1) * side + x,
        np.maximum(y - 1, 0) * side + x,
    ]
    parts = [
        (cells * 4 + action, move, np.full(len(cells), SLIP / 4 + (1 - SLIP) * (action == direction)))
        for action in range(4)
        for direction, move in enumerate(moves)
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sparse.csr_array((values, (rows, columns)), shape=(4 * len(cells), len(cells)))


def measure(side: int) -> dict[str, object]:
    """Time, peak memory and error of one size."""
    transitions = grid(side)
    mdps = [MDP(transitions, discount=discount, actions=4) for discount in DISCOUNTS]
    reward = np.random.default_rng(side).standard_normal((side * side, 4))
    policies = [soft_optimal(mdp, reward).policy for mdp in mdps]
    began, busy = time.perf_counter(), time.process_time()
    found = recover_reward(mdps, policies)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    error = found.reward - reward
    return {
        "states": side * side,
        "pairs": 4 * side * side,
        "seconds": round(seconds, 3),
        "processor_seconds": round(busy, 3),
        "error": float(np.abs(error - error.mean()).max()),
        "misfit": found.misfit,
        "singular_value": found.singular_value,
        "undetermined": found.undetermined,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Prints a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--one", type=int, help="measure this side only, in this process")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    rows = []
    for side in options.sides:
        command = [sys.executable, __file__, "--one", str(side)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout))
        print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
