"""How true are the rewards that the learners of `inverse_comparison.py` recovered from one demonstration of Hopper?

Garg et al. 2021, arXiv 2106.12142, section 5: a Pearson correlation of 0.99 of recovered and true returns on Hopper.
Here over episodes of the expert under growing noise, each member's reward taken at its own selected checkpoint.

    python reproductions/inverse_comparison.py --only "hopper/whole/*" --data FOLDER
    python reproductions/recovered_rewards.py --data FOLDER_WITH mixed/hopper_noise.hdf5 --runs runs/inverse_comparison
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, main, say

from demonstrably.data.batches import TransitionBatch, Transitions
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load
from demonstrably.evaluation.reward_report import reward_report
from demonstrably.learners.airl import AIRL
from demonstrably.learners.contract import Learner
from demonstrably.learners.generator import of_part
from demonstrably.training import checkpoints
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.rewards import Reward
from demonstrably.training.run import Run

BATCH = 1_000  # steps of the demonstration


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Correlations and distance of each learner's reward, beside the true one."""
    noisy, found = load(data / "mixed" / "hopper_noise.hdf5"), {}
    pieces = json.loads((HERE / "results" / "inverse_comparison.json").read_text())
    for key, piece in pieces.items():
        task, setting, name = key.split("/")
        if task != "hopper":
            continue
        if not (runs / key).exists():
            say(f"{key} has no run in {runs}: left out")
            continue
        run = Run(runs / key)
        learner, _ = checkpoints.load(run.checkpoint(run.checkpoints[-1]), "cpu")
        if type(learner).reward is Learner.reward:
            continue  # it learns none
        rewards = [Reward.of(run, step) for step in piece["checkpoints"]]
        scores = np.stack([reward.score(noisy)[member] for member, reward in enumerate(rewards)])
        after = np.array([reward.afterwards()[member] for member, reward in enumerate(rewards)])
        report = reward_report(scores, noisy, afterwards=after)
        say(f"{setting} {name}\n{report}")
        kept = {k: v for k, v in report.to_dict().items() if k != "episodes"}
        kept["a_step_of_worst"] = worst(scores, noisy)
        if isinstance(learner, AIRL):
            kept |= told_by_density(rewards, data)
        found.setdefault(f"{task}/{setting}", {})[name] = kept
    return found


def worst(scores: np.ndarray, demos: Demonstrations, count: int = 20) -> list[float]:
    """Each member's mean reward of the steps of the worst episodes, (members,)."""
    chosen = np.argsort(demos.table.column("return").to_numpy())[:count]
    return scores[:, np.isin(np.repeat(np.arange(len(demos)), demos.lengths), chosen)].mean(1).tolist()


def told_by_density(rewards: list[Reward], data: Path) -> dict[str, list[float]]:
    """Of each member's reward on what it was shown: the mean, and the share of actions below AIRL's floor."""
    demos = load(data / "expert" / "hopper_expert.hdf5").select([0])
    below, mean = [], []
    for member, reward in enumerate(rewards):
        feed = OfflineFeed(demos, tuple(reward.spec.observations), Transitions(BATCH), "cpu")
        ((_, batch),) = feed.once(reward.members, BATCH)
        assert isinstance(batch, TransitionBatch) and isinstance(reward.learner, AIRL)
        generator, part = of_part(reward.learner, reward.state)
        density = generator.log_density(part, batch)[member]
        below.append(float((density < reward.learner.lowest(generator)).float().mean()))
        mean.append(float(reward.learner.reward(reward.state, batch)[member].mean()))
    return {"a_step_of_demonstrated": mean, "demonstrated_below_floor": below}


if __name__ == "__main__":
    main("recovered_rewards", reproduce)
