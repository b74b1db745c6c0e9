"""Outcomes that were seen only because of the decision: what is assumed then, and what if it does not hold.

A loan that was refused was never repaid or not. What is learned of outcomes then holds for the cases that were seen;
that it holds for the others too is an assumption, `ALIKE`. It is relaxed by one number:

Eq. 1: q(s) = e(s) q1(s) + (1 - e(s)) q0(s)        (e: share seen, q1: chance among the seen, q0: among the unseen)
Eq. 2: 1 / odds <= [q0 / (1 - q0)] / [q1 / (1 - q1)] <= odds

The bound is Rosenbaum's sensitivity model applied to outcomes (as in Zhao, Small and Bhattacharya 2019); odds of 1 is
the assumption itself. A person who knows more than the record and decides by it makes the unseen different.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from demonstrably.decisions.posterior import Posterior

ALIKE = "among cases whose records are alike, unseen outcomes have the same chance as the seen ones"
ODDS = (1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Seen:
    """Where outcomes were seen: (seen, cases) of decisions 0 and 1.

    `only` is the decision after which alone outcomes were seen, None where that is not so; `text` says it in words.
    """

    counts: tuple[tuple[int, int], tuple[int, int]]
    only: int | None
    text: str

    @property
    def complete(self) -> bool:
        """Whether every outcome was seen, so that nothing needs to be assumed."""
        return all(seen == cases for seen, cases in self.counts)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The posterior if unseen outcomes have up to `odds` times, or as little as 1 / `odds` of, the odds of seen ones.

    `lowest` and `highest` are posteriors to read a loss from once more: the loss rises with the posterior, so the two
    losses are the ends of its range. They were moved, not calibrated, so they hold no outcomes. A gap between two
    groups is largest for one group at its lowest and the other at its highest. `text` says what is assumed.
    """

    odds: float
    lowest: Posterior
    highest: Posterior
    text: str

    @property
    def low(self) -> Float[np.ndarray, "n"]:
        """The least posterior (n,), its own error left aside."""
        return self.lowest.probability

    @property
    def high(self) -> Float[np.ndarray, "n"]:
        """The greatest posterior (n,), its own error left aside."""
        return self.highest.probability


def outcomes_seen(decisions: Float[np.ndarray, "n"], outcomes: Float[np.ndarray, "n"]) -> Seen:
    """After which decisions outcomes were seen; `decisions` 0/1, `outcomes` NaN where unseen."""
    seen = ~np.isnan(outcomes)
    counts = tuple((int(seen[decisions == d].sum()), int((decisions == d).sum())) for d in (0, 1))
    after = [d for d in (0, 1) if counts[d][0] > 0]
    only = after[0] if len(after) == 1 else None
    return Seen((counts[0], counts[1]), only, _words(counts[0], counts[1], only))


def _words(zero: tuple[int, int], one: tuple[int, int], only: int | None) -> str:
    if zero[0] + one[0] in (0, zero[1] + one[1]):
        return f"{'all' if zero[0] + one[0] else 'none'} of the {zero[1] + one[1]:,} outcomes were seen"
    parts = [f"{seen:,} of {cases:,} decisions {d}" for d, (seen, cases) in enumerate((zero, one)) if cases]
    where = "" if only is None else f"only after decision {only}: "
    return f"outcomes were seen {where}for {' and '.join(parts)}"


def mixed(
    chance: Float[np.ndarray, "n"], share: Float[np.ndarray, "n"], odds: float
) -> Float[np.ndarray, "n"]:
    """Eq. 1, the unseen outcomes' odds being `odds` times the seen ones': the chance (n,) over seen and unseen."""
    unseen = odds * chance / (1.0 - chance + odds * chance)
    return share * chance + (1.0 - share) * unseen


def share_seen(
    score: Float[np.ndarray, "n"], seen: Bool[np.ndarray, "n"], groups: Int[np.ndarray, "n"] | None = None
) -> Float[np.ndarray, "n"]:
    """The chance (n,) that an outcome is seen, by isotonic regression on the score within each group.

    Whether it rises or falls with the score is told by their correlation.
    """
    share = np.empty(len(score))
    for g in np.unique(groups) if groups is not None else [None]:
        rows = np.ones(len(score), bool) if groups is None else groups == g
        levels, where, count = np.unique(score[rows], return_inverse=True, return_counts=True)
        mine = seen[rows].astype(float)
        rises = bool((score[rows] - score[rows].mean()) @ (mine - mine.mean()) >= 0.0)
        fitted = isotonic_regression(np.bincount(where, mine) / count, weights=count, increasing=rises)
        share[rows] = np.clip(fitted.x, 0.0, 1.0)[where]
    return share


def selective_labels(
    posterior: Posterior,
    decisions: NDArray,
    odds: Sequence[float] = ODDS,
    *,
    groups: Int[np.ndarray, "n"] | None = None,
) -> tuple[Sensitivity, ...]:
    """How far the posterior may be off because unseen outcomes are unlike the seen ones, for each of several odds.

    `posterior` from a classifier or a score, with its outcomes; `decisions` (n,) 0/1, in whose terms the pattern is
    told; `groups` (n,) codes, within which the share of seen outcomes is estimated.

    Raises ValueError for a given posterior (nothing was calibrated on outcomes), decisions that are not 0/1, and odds
    below 1 or infinite.
    """
    if posterior.outcomes is None:
        raise ValueError(
            f"the posterior ({posterior.name}) was calibrated on no outcomes, so none are missing; give its error"
        )
    made = np.asarray(decisions, np.float64)
    if made.shape != posterior.probability.shape or not np.isin(made, (0.0, 1.0)).all():
        raise ValueError(f"decisions has shape {made.shape}; give 0 or 1 for each of {len(posterior)} rows")
    for one in odds:
        if not 1.0 <= one < math.inf:
            raise ValueError(f"odds {one}: give by how many times the unseen outcomes' odds may differ, at least 1")
    seen = ~np.isnan(posterior.outcomes)
    share, pattern = share_seen(posterior.score, seen, groups), outcomes_seen(made, posterior.outcomes)
    return tuple(
        Sensitivity(
            one, _moved(posterior, share, 1.0 / one), _moved(posterior, share, one), f"{pattern.text}; {_assumed(one)}"
        )
        for one in odds
    )


def _moved(posterior: Posterior, share: Float[np.ndarray, "n"], odds: float) -> Posterior:
    """The posterior with the unseen outcomes' odds moved, and its error moved with it."""
    q, off = posterior.probability, posterior.error
    middle = mixed(q, share, odds)
    low, high = mixed(np.maximum(q - off, 0.0), share, odds), mixed(np.minimum(q + off, 1.0), share, odds)
    error = np.maximum(np.maximum(high - middle, middle - low), 0.0)
    return Posterior(middle, middle, error, None, f"{posterior.name}; unseen outcomes at {odds:.3g} times the odds")


def _assumed(odds: float) -> str:
    if odds == 1.0:
        return f"assumed: {ALIKE}"
    return (
        "assumed: among cases whose records are alike, the odds of unseen outcomes are "
        f"between 1/{odds:g} and {odds:g} times those of seen ones"
    )
