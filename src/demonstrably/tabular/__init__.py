"""Tabular problems: could the reward be known, what is it, and how far are two rewards apart.

Imports numpy and scipy, and no torch.
"""

from demonstrably.tabular import distance, problems
from demonstrably.tabular.identification import Block, Condition, Identification, Remedy, Transfer
from demonstrably.tabular.identify import identify
from demonstrably.tabular.max_ent_irl import RewardEstimate, max_ent_irl
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import (
    EpsilonGreedy,
    HardOptimal,
    Misspecification,
    Myopic,
    SoftOptimal,
    misspecification,
)
from demonstrably.tabular.rationalize import Rationalization, rationalize
from demonstrably.tabular.recover import recover_reward
from demonstrably.tabular.recovery import Recovery
from demonstrably.tabular.soft import Soft, occupancy, soft_optimal, values_of
from demonstrably.tabular.structure import aperiodicity_test, coverage_test

__all__ = [
    "MDP",
    "Block",
    "Condition",
    "EpsilonGreedy",
    "HardOptimal",
    "Identification",
    "Misspecification",
    "Myopic",
    "Rationalization",
    "Recovery",
    "Remedy",
    "RewardEstimate",
    "Soft",
    "SoftOptimal",
    "Transfer",
    "aperiodicity_test",
    "coverage_test",
    "distance",
    "identify",
    "max_ent_irl",
    "misspecification",
    "occupancy",
    "problems",
    "rationalize",
    "recover_reward",
    "soft_optimal",
    "values_of",
]
