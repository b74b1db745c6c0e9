"""What bfloat16 gains, and what it does to scores, beside float32 in one run.

    python benchmarks/precision.py --data FOLDER_WITH expert/fetchpickandplace_scripted.hdf5 [--threads 2] [--out FILE]

Speed: updates a second of the study's low-dimensional BC and BC-RNN on synthetic data, the two precisions in turn, so
that a change of the machine's speed hits both. Scores: FetchPickAndPlace from 50 scripted demonstrations, three members
of each precision with the same seeds, all members of the last checkpoint on the same fresh seeds, paired.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from members import rate, synthetic

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load
from demonstrably.evaluation.compare_run import compare_runs
from demonstrably.evaluation.fresh import Conditions
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner
from demonstrably.nets.mlp import MLP
from demonstrably.training.capture import stepper
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.session import Plan, Session

PRECISIONS = ("float32", "bfloat16")
STEPS, MEMBERS, FRESH = 4000, 3, 100


def speed(learner: Learner, demos: Demonstrations, steps: int, repeats: int) -> dict[str, Any]:
    """Updates a second at both precisions, medians of runs in turn, and their ratio."""
    found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(repeats):
        for precision in PRECISIONS:
            chosen = replace(learner, precision=precision)
            state = chosen.init(demos.spec(), members=1, seed=0, device="cpu")
            feed = OfflineFeed(demos, demos.keys(), chosen.reads(), "cpu")
            found[precision].append(rate(stepper(chosen, feed, state), steps, "cpu"))
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    medians = {f"{name}_per_second": statistics.median(rates) for name, rates in found.items()}
    return {"learner": type(learner).__name__} | medians | {"ratio": statistics.median(ratios)}


def scores(data: Path) -> dict[str, Any]:
    """Success of both precisions on the same seeds, with the paired comparison."""
    demos = load(data / "expert" / "fetchpickandplace_scripted.hdf5")
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / precision for precision in PRECISIONS]
        for precision, run in zip(PRECISIONS, runs, strict=True):
            learner = BC(learning_rate=1e-3, batch_size=256, body=MLP((512, 512)), precision=precision)
            plan = Plan(STEPS, members=MEMBERS, checkpoint_every=STEPS)
            for _ in Session.open(learner, demos, plan, run).train():
                pass
        found = compare_runs(runs, FRESH, checkpoint=STEPS, conditions=Conditions(success="last"))
    print(found.comparison)
    return found.to_dict()["comparison"]


def main() -> None:
    """Measures both; prints a line each, and writes all of it with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    demos, rows = synthetic(), []
    for learner, steps in ((BC(normalize=False), 300), (BCRNN(normalize=False), 40)):
        rows.append(speed(learner, demos, steps, options.repeats) | {"threads": options.threads})
        print(json.dumps(rows[-1]), flush=True)
    found = {"speed": rows, "scores": scores(options.data)}
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
