"""Soft actor-critic alone on HalfCheetah-v5: is the generator of the inverse learners sound?

Haarnoja et al. 2018, arXiv 1812.05905, figure 1: about 5,000 after 200,000 steps.

    python reproductions/sac_halfcheetah.py
"""

from pathlib import Path
from typing import Any

import torch
from common import curve, fresh_score, main, picked, say, trained

from demonstrably.evaluation.environments import spec_of
from demonstrably.learners.sac import SAC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Environment
from demonstrably.training.online import Collection
from demonstrably.training.session import Plan

MEMBERS, UPDATES, SELECT_EACH, FRESH, BOUNDS = 3, 200_000, 50, 20, (-1_000.0, 15_000.0)


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Return on fresh seeds, mean over the members' own selected checkpoints; and the curve."""
    torch.set_num_threads(1)
    learner = SAC(body=MLP((128, 128)), batch_size=128, average=0.99998)
    collection = Collection(warm_up=10_000)  # as the paper's, which counts these steps too
    plan = Plan(
        UPDATES - collection.warm_up,
        members=MEMBERS,
        checkpoint_every=UPDATES // 20,
        log_every=2_000,
        collection=collection,
    )
    run = trained(learner, None, plan, runs / "sac", spec_of(Environment("HalfCheetah-v5")))
    score = fresh_score(run, [picked(run, member, SELECT_EACH, BOUNDS) for member in range(MEMBERS)], FRESH)
    say(f"sac: {score}")
    return {"selected": score.to_dict(), "curve": curve(run)}


if __name__ == "__main__":
    main("sac_halfcheetah", reproduce)
