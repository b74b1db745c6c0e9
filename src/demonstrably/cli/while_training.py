"""Episodes that `demonstrably train --rollouts` plays at every checkpoint."""

from typing import Any

import pyarrow.compute as pc

from demonstrably.evaluation.environments import DATA, check, offered_by
from demonstrably.evaluation.intervals import score_of
from demonstrably.evaluation.rollout import rollout
from demonstrably.spec import Spec
from demonstrably.training.session import Session

FIRST_SEED = 1_000_000_000  # far from the seeds that evaluate and select use


def check_environment(spec: Spec) -> None:
    """ValueError where rollouts would fail: better now than at the first checkpoint, or when it is evaluated."""
    if spec.environment is None:
        raise ValueError("--rollouts needs an environment, and the file names none: give --env ID")
    check(spec, offered_by(spec.environment), DATA)


def play(session: Session, episodes: int, success: str, workers: int | None) -> dict[str, Any]:
    """Plays the members as they stand, keeps the episodes in the run, and returns the score.

    A resumed run finds its last checkpoint played already, unless it was killed before.
    """
    step = int(session.state.step)
    known = session.run.evaluations()
    known = known.filter((pc.field("purpose") == "train") & (pc.field("checkpoint") == step))
    if known.num_rows:
        return score_of(known).to_dict()
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    table = rollout(session.learner.policy(session.state), None, seeds, success=success, workers=workers)
    rows = table.num_rows
    table = table.append_column("checkpoint", [[step] * rows]).append_column("purpose", [["train"] * rows])
    session.run.append_evaluations(table)
    return score_of(table).to_dict()
