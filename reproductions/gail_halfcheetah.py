"""HalfCheetah-v5 from one demonstration: GAIL whose reward goes on rising from far away, with critics kept in bounds.

Kostrikov et al. 2019, "Discriminator-Actor-Critic", arXiv 1809.02925, is the published form of it. The reward is the
logit of a discriminator whose slopes are held down: the other forms are flat where the learner begins. The critics
learn from demonstrated steps too and have normalized layers (Ball et al. 2023, arXiv 2302.02948).

    python reproductions/gail_halfcheetah.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import curve, fresh_score, main, picked, say, trained

from demonstrably.data.formats import load
from demonstrably.learners.gail import GAIL
from demonstrably.learners.sac import SAC
from demonstrably.nets.mlp import MLP
from demonstrably.training.online import Collection
from demonstrably.training.session import Plan

MEMBERS, UPDATES, SELECT_EACH, FRESH, BOUNDS = 5, 70_000, 40, 20, (-1_000.0, 15_000.0)
NET, BATCH = MLP((64, 64)), 64  # as in inverse_comparison.py
LEARNER = GAIL(
    SAC(1e-3, 3e-4, batch_size=BATCH, temperature=0.05, layer_norm=True, average=0.99998, body=NET),
    batch_size=BATCH,
    learning_rate=1e-4,
    gradient_penalty=3.0,
    rehearse=True,
    body=NET,
)


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Returns on fresh seeds at the members' own selected checkpoints and at the last one; and the curve."""
    torch.set_num_threads(1)
    demos = load(data / "expert" / "halfcheetah_expert.hdf5")
    expert = float(np.mean(demos.table.column("return").to_numpy()))
    plan = Plan(
        UPDATES,
        members=MEMBERS,
        validation=0.0,
        checkpoint_every=10_000,
        log_every=2_000,
        collection=Collection(environments=2, updates_per_step=0.5),
    )
    run = trained(LEARNER, demos.select(range(1)), plan, runs / "gail")
    last = fresh_score(run, [(run.checkpoints[-1], member) for member in range(MEMBERS)], FRESH)
    say(f"at the last checkpoint {last}, expert {expert:.0f}")
    score = fresh_score(run, [picked(run, member, SELECT_EACH, BOUNDS) for member in range(MEMBERS)], FRESH)
    say(f"selected: {score}")
    found = {"selected": score.to_dict(), "last": last.to_dict(), "expert": expert}
    return found | {"share": score.to_dict()["return"]["mean"] / expert, "curve": curve(run)}


if __name__ == "__main__":
    main("gail_halfcheetah", reproduce)
