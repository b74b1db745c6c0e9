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

from demonstrably.data.formats import load
from demonstrably.evaluation.reward_report import reward_report
from demonstrably.learners.contract import Learner
from demonstrably.training import checkpoints
from demonstrably.training.rewards import Reward
from demonstrably.training.run import Run


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Correlations and distance of each learner's reward, beside the true one."""
    noisy, found = load(data / "mixed" / "hopper_noise.hdf5"), {}
    pieces = json.loads((HERE / "results" / "inverse_comparison.json").read_text())
    for key, piece in pieces.items():
        task, setting, name = key.split("/")
        if task != "hopper":
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
        found.setdefault(f"{task}/{setting}", {})[name] = {k: v for k, v in report.to_dict().items() if k != "episodes"}
    return found


if __name__ == "__main__":
    main("recovered_rewards", reproduce)
