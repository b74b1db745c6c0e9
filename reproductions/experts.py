"""Sanity on machine demonstrations: CartPole from one expert episode, FetchPickAndPlace from 50 scripted ones.

python reproductions/experts.py --data FOLDER_WITH expert/cartpole_expert.hdf5, expert/fetchpickandplace_scripted.hdf5
"""

from pathlib import Path
from typing import Any

from common import fresh_score, main, say, trained

from demonstrably.data.formats import load
from demonstrably.evaluation.fresh import Conditions
from demonstrably.evaluation.select_run import select_run, selected
from demonstrably.learners.bc import BC
from demonstrably.nets.heads import GaussianMixture
from demonstrably.nets.mlp import MLP
from demonstrably.training.session import Plan

FRESH = 200


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Trains both; CartPole's last checkpoint by return, Fetch's selected one by success."""
    return {"cartpole": cartpole(data, runs), "fetch": fetch(data, runs)}


def cartpole(data: Path, runs: Path) -> dict[str, Any]:
    """All members of the last checkpoint."""
    one = load(data / "expert" / "cartpole_expert.hdf5").select([0])
    learner = BC(learning_rate=1e-3, batch_size=128, body=MLP((64, 64)))
    run = trained(learner, one, Plan(2000, members=3, validation=0.0, checkpoint_every=500), runs / "cartpole")
    score = fresh_score(run, [(run.checkpoints[-1], m) for m in range(run.members)], FRESH)
    say(f"cartpole: {score}")
    return score.to_dict()


def fetch(data: Path, runs: Path) -> dict[str, Any]:
    """The selected policy, and all members at its checkpoint. Success counts at the last step, as usual there."""
    demos = load(data / "expert" / "fetchpickandplace_scripted.hdf5")
    # The script's actions vanish at its goal. With a small least deviation the likelihood is won there, by telling from
    # still fingers that it is over, and the clone stops short of the goal by a centimeter.
    head = GaussianMixture(min_std=0.05)
    learner = BC(learning_rate=1e-3, batch_size=256, body=MLP((256, 256, 256)), head=head)
    run = trained(learner, demos, Plan(12_000, members=3, validation=0.04, checkpoint_every=600), runs / "fetch")
    conditions = Conditions(success="last")
    say(str(select_run(run.path, 800, conditions=conditions)))
    winner = selected(run)
    assert winner
    found = {}
    for rule, arms in {"selected": [winner], "all_members": [(winner[0], m) for m in range(run.members)]}.items():
        score = fresh_score(run, arms, FRESH, conditions)
        say(f"fetch {rule}: {score}")
        found[rule] = score.to_dict()
    return found


if __name__ == "__main__":
    main("experts", reproduce)
