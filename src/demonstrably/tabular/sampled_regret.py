"""Regret from episodes of both policies, in pairs that share their random numbers."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.sampled_distance import CUT

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SampledRegret:
    """An estimated regret, in units of the true reward, with its interval at `level`, from pairs of `episodes`.

    It is unbiased, so that it may fall below 0 where the regret is small.
    """

    regret: float
    low: float
    high: float
    level: float
    episodes: int

    def __str__(self) -> str:
        return f"{self.regret:.3f} [{self.low:.3f}, {self.high:.3f}], {self.episodes} pairs of episodes"

    def to_dict(self) -> dict[str, float | int]:
        """JSON-able record."""
        return asdict(self)


def returns(mdp: MDP, policy: Array, reward: Array, temperature: float, episodes: int, seed: int) -> Array:
    """Discounted rewards, plus temperature times entropy, of episodes of a policy, (n,).

    The same seed gives all policies the same random numbers, of which a number close to another has a similar outcome.
    """
    generator = np.random.default_rng(seed)
    states = np.minimum(np.searchsorted(mdp.starts.cumsum(), generator.random(episodes), "right"), mdp.states - 1)
    entropy = -temperature * np.where(policy > 0, policy * np.log(np.where(policy > 0, policy, 1)), 0).sum(-1)
    choices, outcomes, total = policy.cumsum(-1), mdp.transitions.data.cumsum(), np.zeros(episodes)
    for step in range(_length(mdp)):
        now = step if policy.ndim == 3 else ...
        chance = generator.random((2, episodes))
        actions = np.minimum((choices[now][states] <= chance[0][:, None]).sum(1), mdp.actions - 1)
        total += mdp.discount**step * (reward[states, actions] + entropy[now][states])
        states = _followed(mdp, outcomes, states * mdp.actions + actions, chance[1])
    return total


def estimated(differences: Array, level: float) -> SampledRegret:
    """The mean of differences of pairs (n,), with Student's interval."""
    count, mean = len(differences), float(differences.mean())
    reach = float(stdtrit(count - 1, (1 + level) / 2)) * float(differences.std(ddof=1)) / math.sqrt(count)
    return SampledRegret(mean, mean - reach, mean + reach, level, count)


def _length(mdp: MDP) -> int:
    if mdp.horizon is not None:
        return mdp.horizon
    return math.ceil(math.log(CUT) / math.log(mdp.discount)) if mdp.discount else 1


def _followed(mdp: MDP, outcomes: Array, pairs: NDArray[np.int64], chance: Array) -> NDArray[np.int64]:
    """Next states of pairs, from cumulative probabilities over all rows one after another."""
    first, last = mdp.transitions.indptr[pairs], mdp.transitions.indptr[pairs + 1] - 1
    before = np.where(first > 0, outcomes[first - 1], 0.0)
    place = np.searchsorted(outcomes, before + chance * (outcomes[last] - before), "right")
    return mdp.transitions.indices[np.clip(place, first, last)].astype(np.int64)
