"""BC and BC-RNN on 25 human demonstrations of a door (Adroit), and whether validation loss picks good policies.

Mandlekar et al. 2021, arXiv 2108.03298: memory matters on human data; the lowest validation loss is a poor guide.
The demonstrations are those of Rajeswaran et al. 2018, arXiv 1709.10087.

    python reproductions/adroit_door.py --data FOLDER_OF adroit_door_human.hdf5
"""

from pathlib import Path
from typing import Any

import numpy as np
from common import fresh_score, main, say, trained

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load
from demonstrably.evaluation.compare_run import compare_runs
from demonstrably.evaluation.select_run import arms_of, select_run, selected
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.nets.heads import GaussianMixture
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.training.run import Run
from demonstrably.training.session import Plan

MEMBERS, SELECT, SELECT_EACH, FRESH = 3, 800, 160, 200
WHERE = "return > 700"  # fifteen of the 25
DOOR = 28  # where an observation holds the door's angle
HEAD = GaussianMixture(acts="mean")
LEARNERS = {
    "bc": (
        BC(
            learning_rate=1e-3,
            batch_size=128,
            weight_decay=1.0,
            gradient_clip=5.0,
            average=0.998,
            body=MLP((512, 512)),
            head=HEAD,
        ),
        5000,
    ),
    "bc-rnn": (
        BCRNN(
            learning_rate=1e-3,
            batch_size=50,
            gradient_clip=5.0,
            average=0.995,
            body=LSTM(200, 2),
            head=HEAD,
        ),
        6000,
    ),
}


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Trains both, selects on each, compares the selected, and scores what other rules would have picked."""
    demos = cut(load(data / "adroit_door_human.hdf5").select(WHERE))
    found: dict[str, Any] = {}
    for name, (learner, steps) in LEARNERS.items():
        plan = Plan(steps, members=MEMBERS, validation=0.07, checkpoint_every=steps // 20)
        run = trained(learner, demos, plan, runs / name)
        own = []
        for member in range(MEMBERS):
            select_run(run.path, SELECT_EACH, members=[member], restart=True)
            own.append(_winner(run))
        selection = select_run(run.path, SELECT, restart=True)
        say(f"{name}: {selection}")
        naive = arms_of(run, None, None)[selection.naive]
        found[name] = picks(run, naive, own) | {"naive_maximum": selection.arms[selection.naive].mean}
    compared = compare_runs([runs / name for name in LEARNERS], FRESH)
    say(str(compared.comparison))
    found["comparison"] = compared.to_dict()["comparison"]
    return found


def cut(demos: Demonstrations) -> Demonstrations:
    """The episodes up to where the door stands open widest.

    The environment counts a success from 1.35 rad on. Of the 25 people's episodes 17 never come that far, and most let
    the door fall back before they end. A clone of all of it opens the door nearly always, and lets go of it at 1.3 rad.
    """
    steps = [min(int(episode.observations["flat"][:, DOOR].argmax()), len(episode.actions)) for episode in demos]
    pairs = list(zip(demos, steps, strict=True))
    return Demonstrations.from_arrays(
        np.concatenate([episode.observations["flat"][: n + 1] for episode, n in pairs]),
        np.concatenate([episode.actions[:n] for episode, n in pairs]),
        lengths=steps,
        action=demos.action,
        environment=demos.environment,
    )


def picks(run: Run, naive: tuple[int, int], own: list[tuple[int, int]]) -> dict[str, Any]:
    """Success on fresh seeds of what each rule picks: selection, naive best, last, lowest validation loss."""
    lines = [line for line in run.metrics() if "validation_loss" in line]
    losses = np.array([line["validation_loss"] for line in lines])  # (checkpoints, members)
    lowest = [(lines[i]["step"], m) for m, i in enumerate(losses.argmin(0))]
    rules = {
        "selected": [_winner(run)],
        "each_member_selected": own,
        "naive_best": [naive],
        "last": [(run.checkpoints[-1], m) for m in range(run.members)],
        "lowest_validation_loss": lowest,
    }
    found: dict[str, Any] = {}
    for rule, arms in rules.items():
        score = fresh_score(run, arms, FRESH if len(arms) == 1 else FRESH // 2)
        say(f"{run.name} {rule} {arms}: {score}")
        found[rule] = score.to_dict() | {"arms": arms}
    return found


def _winner(run: Run) -> tuple[int, int]:
    winner = selected(run)
    assert winner, "select_run wrote it"
    return winner


if __name__ == "__main__":
    main("adroit_door", reproduce)
