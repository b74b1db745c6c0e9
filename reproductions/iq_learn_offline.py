"""IQ-Learn offline from few demonstrations, beside BC and BC with weight decay: CartPole, Acrobot, LunarLander.

Garg et al. 2021, arXiv 2106.12142, figure 2: near the expert from one to ten demonstrations.

    pip install "gymnasium[box2d]"
    python reproductions/iq_learn_offline.py --data FOLDER_WITH expert/cartpole_expert.hdf5 and the others
"""

from pathlib import Path
from typing import Any

from common import fresh_score, main, picked, say, trained

from demonstrably.data.formats import load
from demonstrably.learners.bc import BC
from demonstrably.learners.contract import Learner
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.mlp import MLP
from demonstrably.training.session import Plan

MEMBERS, STEPS, SELECT_EACH, FRESH = 5, 10_000, 60, 50
NETWORK: dict[str, Any] = {"body": MLP((64, 64)), "batch_size": 64, "learning_rate": 3e-4}
Q = SoftQ(**NETWORK, temperature=0.01, target_rate=None, average=0.999, normalize=True)
LEARNERS: dict[str, Learner] = {
    "iq-learn": IQLearn(batch_size=64, generator=Q),
    "bc": BC(**NETWORK),
    "bc-decay": BC(**NETWORK, weight_decay=0.1),
}
TASKS = (("cartpole", 1), ("acrobot", 1), ("acrobot", 10), ("lunarlander", 1), ("lunarlander", 10))


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Every learner on every task: return on fresh seeds, mean over the members' own selected checkpoints."""
    found: dict[str, Any] = {}
    for task, episodes in TASKS:
        demos = load(data / "expert" / f"{task}_expert.hdf5").select(range(episodes))
        scores = {}
        for name, learner in LEARNERS.items():
            plan = Plan(STEPS, members=MEMBERS, validation=0.0, checkpoint_every=STEPS // 5)
            run = trained(learner, demos, plan, runs / f"{task}-{episodes}-{name}")
            score = fresh_score(run, [picked(run, member, SELECT_EACH) for member in range(MEMBERS)], FRESH)
            say(f"{task}, {episodes} demonstrations, {name}: {score}")
            scores[name] = score.to_dict()
        found[f"{task}_{episodes}"] = scores
    return found


if __name__ == "__main__":
    main("iq_learn_offline", reproduce)
