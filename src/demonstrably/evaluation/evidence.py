"""E-processes between all arms of a selection, kept up to date play by play."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.sequential import (
    BETS,
    GRID,
    NODES,
    grid_means,
    log_factors,
    mixed,
    unpaired_evidence,
)

_CHUNK = 16  # seeds that are expanded over pairs and stakes at once


@runtime_checkable
class Evidence(Protocol):
    """Evidence about all ordered pairs of arms."""

    def add(self, arms: Sequence[int], scores: NDArray[np.float64]) -> None:
        """Take the scores, (len(arms), seeds), of one play."""
        ...

    def better(self) -> NDArray[np.float64]:
        """Log e-values, (K, K): [j, k] against "j's mean is at most k's"."""
        ...

    def not_worse(self, arm: int) -> NDArray[np.float64]:
        """Log e-values, (K,): [k] against "k's mean is above this arm's by epsilon or more"."""
        ...


class PairedEvidence:
    """For plays in which several arms meet on the same seeds: bets on their differences, seed by seed."""

    def __init__(self, arms: int, epsilon: float) -> None:
        self._nulls = (0.5, (1.0 - epsilon) / 2.0)  # of (difference + 1) / 2
        self._wealth = np.zeros((2, arms, arms, NODES))

    def add(self, arms: Sequence[int], scores: NDArray[np.float64]) -> None:
        """Take one play; arms that did not play on these seeds learn nothing."""
        rows = np.ix_(np.asarray(arms), np.asarray(arms))
        for wealth, null in zip(self._wealth, self._nulls, strict=True):
            wealth[rows] += _growth(scores, null)

    def better(self) -> NDArray[np.float64]:
        """Log e-values, (K, K): [j, k] against "j's mean is at most k's"."""
        return mixed(self._wealth[0])

    def not_worse(self, arm: int) -> NDArray[np.float64]:
        """Log e-values, (K,): [k] against "k's mean is above this arm's by epsilon or more"."""
        return mixed(self._wealth[1, arm])


class UnpairedEvidence:
    """For plays of one arm on seeds of its own: bets on each arm's mean, at a grid of means."""

    def __init__(self, arms: int, epsilon: float) -> None:
        self._epsilon = epsilon
        self._wealth = np.zeros((2, arms, GRID, NODES))  # against "at most m", against "at least m"
        self._mixed = np.zeros((2, arms, GRID))

    def add(self, arms: Sequence[int], scores: NDArray[np.float64]) -> None:
        """Take one play; each arm's scores count by themselves."""
        for arm, row in zip(arms, scores, strict=True):
            for value, count in zip(*np.unique(row, return_counts=True), strict=True):
                self._wealth[:, arm] += count * _both_sides(float(value))
            self._mixed[:, arm] = mixed(self._wealth[:, arm])

    def better(self) -> NDArray[np.float64]:
        """Log e-values, (K, K): [j, k] against "j's mean is at most k's"."""
        return unpaired_evidence(self._mixed[0][:, None], self._mixed[1][None])

    def not_worse(self, arm: int) -> NDArray[np.float64]:
        """Log e-values, (K,): [k] against "k's mean is above this arm's by epsilon or more"."""
        return unpaired_evidence(self._mixed[0][arm], self._mixed[1], slack=self._epsilon)


@lru_cache(maxsize=16)  # successes are two values, over and over
def _both_sides(score: float) -> NDArray[np.float64]:
    """Log growth (2, GRID, NODES) of bets against "at most m" and "at least m" that one score brings."""
    means = grid_means()
    return np.stack([log_factors(score, means), log_factors(1.0 - score, 1.0 - means)])


def _growth(scores: NDArray[np.float64], null: float) -> NDArray[np.float64]:
    """Log growth (A, A, NODES) of bets on the differences of scores (A, S) against the null."""
    if np.all((scores == 0.0) | (scores == 1.0)):
        wins = scores @ (1.0 - scores).T
        ties = scores.shape[1] - wins - wins.T
        counts = np.stack([wins, ties, wins.T], axis=-1)
        return counts @ log_factors(np.array([1.0, 0.5, 0.0]), null)
    total = np.zeros((len(scores), len(scores), NODES))
    for start in range(0, scores.shape[1], _CHUNK):
        part = scores[:, start : start + _CHUNK]
        halves = (part[:, None] - part[None] + 1.0) / 2.0
        total += np.log1p(BETS * (halves[..., None] / null - 1.0)).sum(axis=2)
    return total
