"""Where the next rollouts of a selection go.

An allocation sees the standing and says what is played next. It decides nothing about the evidence, so none
can make a statement invalid: an allocation of one's own only has to look at nothing but the standing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 32  # posterior draws in which a challenger is looked for


@dataclass(frozen=True)
class Standing:
    """What is known before a round. Arrays have one entry an arm and are not to be written to."""

    counts: NDArray[np.int64]  # episodes played
    totals: NDArray[np.float64]  # sum of their scores
    prior: NDArray[np.float64]  # guessed means
    prior_weight: float  # episodes that a guess counts for
    dropped: NDArray[np.bool_]  # out of the confidence set
    last: tuple[int, ...]  # arms of the plan before; empty at the start
    remaining: int  # rollouts left for selecting

    @property
    def posterior(self) -> NDArray[np.float64]:
        """Mean scores, drawn towards the prior guesses."""
        return (self.totals + self.prior_weight * self.prior) / (self.counts + self.prior_weight)

    @property
    def contenders(self) -> tuple[int, ...]:
        """Arms of the confidence set."""
        return tuple(int(arm) for arm in np.flatnonzero(~self.dropped))


@dataclass(frozen=True)
class Batch:
    """These arms, on the same ``seeds`` new seeds each."""

    arms: tuple[int, ...]
    seeds: int


@dataclass(frozen=True)
class Allocation:
    """``plan`` says what is played next (nothing: done), ``leader`` who would win now.

    ``paired``: arms meet on shared seeds and only those meetings count as evidence. Otherwise every arm plays
    seeds of its own and all episodes count.
    """

    name: str
    paired: bool
    plan: Callable[[Standing, np.random.Generator], tuple[Batch, ...]]
    leader: Callable[[Standing], int]


def _ranked(standing: Standing, arms: tuple[int, ...]) -> list[int]:
    """Arms that are not dropped, best first; ties go to the first arm."""
    means = standing.posterior
    return sorted((arm for arm in arms if not standing.dropped[arm]), key=lambda arm: (-means[arm], arm))


def _plan_halving(standing: Standing, generator: np.random.Generator) -> tuple[Batch, ...]:
    """All arms, then the better half, and so on to two; with rollouts left over, the contenders again.

    Ties are broken at random: after a few episodes there are many, and the order of the arms is that of training.
    """
    shuffled = tuple(generator.permutation(standing.last).tolist())
    means = standing.posterior
    alive = [arm for arm in shuffled if not standing.dropped[arm]]
    field = sorted(alive, key=lambda arm: -means[arm])[: (len(shuffled) + 1) // 2]
    afresh = len(field) < 2
    if afresh:
        field = list(standing.contenders)
    if len(field) < 2:
        return ()
    seeds = standing.remaining // (math.ceil(math.log2(len(field))) * len(field))
    if not seeds and not (afresh and standing.last):  # a halving once begun ends, with a seed a stage if need be
        seeds = min(1, standing.remaining // len(field))
    return (Batch(tuple(sorted(field)), seeds),) if seeds else ()


def _lead_halving(standing: Standing) -> int:
    """The best of the last plan."""
    return (_ranked(standing, standing.last) or _ranked(standing, standing.contenders))[0]


def _plan_thompson(standing: Standing, generator: np.random.Generator) -> tuple[Batch, ...]:
    """As many pulls as there are contenders, so that they can run at once; every arm once to begin with."""
    arms = np.array(standing.contenders)
    pulls = min(len(arms), standing.remaining)
    if len(arms) < 2 or not pulls:
        return ()
    unplayed = arms[standing.counts[arms] == 0]
    if len(unplayed):
        return tuple(Batch((int(arm),), 1) for arm in unplayed[:pulls])
    weight, means = standing.counts[arms] + standing.prior_weight, standing.posterior[arms]
    draws = generator.beta(weight * means, weight * (1.0 - means), size=(pulls, _DRAWS, len(arms)))
    best = draws.argmax(axis=2)  # (pulls, draws)
    other = best != best[:, :1]
    second = draws[:, 0].argsort(axis=1)[:, -2]
    challengers = np.where(other.any(axis=1), best[np.arange(pulls), other.argmax(axis=1)], second)
    chosen = np.where(generator.random(pulls) < 0.5, best[:, 0], challengers)
    counts = np.bincount(chosen, minlength=len(arms))
    return tuple(Batch((int(arms[i]),), int(counts[i])) for i in np.flatnonzero(counts))


def _lead_thompson(standing: Standing) -> int:
    """The best posterior mean."""
    return _ranked(standing, standing.contenders)[0]


sequential_halving = Allocation("sequential_halving", True, _plan_halving, _lead_halving)
"""Karnin, Koren and Somekh, ICML 2013, with shared seeds; scores of earlier rounds are kept."""

top_two_thompson = Allocation("top_two_thompson", False, _plan_thompson, _lead_thompson)
"""Russo, arXiv 1602.08448: half of the pulls to a draw of the best arm, half to its challenger."""
