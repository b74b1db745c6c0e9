"""BC against BC-RNN on people's play of Overcooked, as a share of what human pairs earn, on all five layouts.

Trials of Carroll et al. 2019, arXiv 1910.05789; the policy plays both seats. One network learns all layouts.

    python reproductions/overcooked_people.py
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from common import main, say, trained

from demonstrably.cli.demo import BOUNDS, LEARNERS
from demonstrably.environments import overcooked_trials
from demonstrably.environments.overcooked import human_return
from demonstrably.environments.overcooked_rules import LAYOUTS
from demonstrably.evaluation.compare_run import compare_runs
from demonstrably.evaluation.fresh import Conditions, free_seed
from demonstrably.evaluation.intervals import return_interval
from demonstrably.evaluation.select_run import select_run, selected
from demonstrably.training.run import Run
from demonstrably.training.session import Plan

STEPS, MEMBERS, SELECT, FRESH = {"bc": 6000, "bc-rnn": 3000}, 3, 600, 100


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Trains on the training pairs' trials, selects by return, and plays the selected on fresh seeds."""
    demos = overcooked_trials.load("train")
    found: dict[str, Any] = {}
    for name, learner in LEARNERS.items():
        plan = Plan(STEPS[name], members=MEMBERS, checkpoint_every=STEPS[name] // 10, stratify="task")
        run = trained(learner, demos, plan, runs / name)
        say(f"{name}: {select_run(run.path, SELECT, bounds=BOUNDS)}")
        found[name] = against_people(run)
        say(f"{name}: {found[name]}")
    found["comparison"] = compare_runs([runs / name for name in LEARNERS], FRESH, bounds=BOUNDS).to_dict()["comparison"]
    return found


def against_people(run: Run) -> dict[str, Any]:
    """The selected policy's return on fresh seeds, by layout, over the human pairs' mean."""
    winner = selected(run)
    assert winner
    first = free_seed([run], FRESH)
    table = Conditions().play(run, [winner], range(first, first + FRESH))
    shares = {}
    for layout in LAYOUTS:
        returns = table.filter(pc.is_in(pc.field("task"), value_set=pa.array([layout]))).column("return").to_numpy()
        people, (low, high) = human_return(layout), return_interval(returns)
        shares[layout] = {
            "mean": float(returns.mean()) / people,
            "low": low / people,
            "high": high / people,
            "episodes": len(returns),
        }
    return shares


if __name__ == "__main__":
    main("overcooked_people", reproduce)
