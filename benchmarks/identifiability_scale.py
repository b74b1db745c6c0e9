"""How identifiability scales: time and peak memory against size, by the graph alone and by sparse factors.

    python benchmarks/identifiability_scale.py [--sides 100 316 1000] [--out benchmarks/results/...json]

Grids of side n with four moves, two experts with discounts 0.9 and 0.5. `components`: deterministic moves. `slip`: a
move slips to a random side with probability 0.1; the dimension and the second singular value. Timed is `identify` with
everything it returns; building and checking the problem is timed apart (`build_seconds`). Each size runs in a process
of its own, whose peak memory is that of the problem and the answer. `processor_seconds` leaves out what other programs
took of the cores.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP

SLIP = 0.1


def grid(side: int, slip: float) -> sparse.csr_array:
    """Transitions (4 S, S) of a grid of side n; against a wall the agent stays."""
    states = side * side
    rows, columns = np.divmod(np.arange(states, dtype=np.int32), side)
    places = [
        np.clip(rows + down, 0, side - 1) * side + np.clip(columns + right, 0, side - 1)
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    ahead = np.stack(places, axis=1).astype(np.int32).ravel()
    shape = (4 * states, states)
    meant = sparse.csr_array((np.ones(4 * states), ahead, np.arange(4 * states + 1, dtype=np.int32)), shape=shape)
    if not slip:
        return meant
    chance = (np.full(4 * states, 0.25), ahead, np.arange(0, 4 * states + 1, 4, dtype=np.int32))
    noise = sparse.csr_array(chance, shape=(states, states))
    return sparse.csr_array((1 - slip) * meant + slip * noise[np.repeat(np.arange(states), 4)])


def measure(kind: str, side: int) -> dict[str, Any]:
    """One size, in this process."""
    transitions = grid(side, SLIP if kind == "slip" else 0.0)
    began = time.perf_counter()
    first = MDP(transitions, discount=0.9, actions=4)
    build = time.perf_counter() - began
    problems = [first, first.replace(discount=0.5)]
    began, processor = time.perf_counter(), time.process_time()
    result = identify(problems)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    condition = result.condition
    return {
        "kind": kind,
        "states": first.states,
        "pairs": first.pairs,
        "build_seconds": build,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "dimension": result.dimension,
        "second_singular_value": None if condition is None else condition.singular_value * condition.largest,
        "gap": result.to_dict()["gap"],
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measures every size in a process of its own and writes the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[100, 316, 562, 1000], help="of the slip grids")
    parser.add_argument("--plain-sides", type=int, nargs="+", default=[316, 1000, 2000], help="of the others")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/identifiability_scale.json"))
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SIDE"), help="measure one size here and print it")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    rows = []
    for kind, sides in (("components", options.plain_sides), ("slip", options.sides)):
        for side in sides:
            command = [sys.executable, __file__, "--one", kind, str(side)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout))
            print(json.dumps(rows[-1]), flush=True)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
