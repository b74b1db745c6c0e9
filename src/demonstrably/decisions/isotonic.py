"""A probability that rises with a score: its least squares and likelihood fit, and intervals that need no smoothing.

Rules that decide 1 where a score is at least t form a chain. The rule of least risk for the relative cost c is the one
that decides 1 where the isotonic regression of the outcomes on the score is at least c, so that regression is the
induced posterior of the class (the slopes of the convex hull of its ROC curve).

Intervals invert the likelihood-ratio test: Banerjee and Wellner, "Likelihood ratio tests for monotone functions",
Annals of Statistics 29 (2001). Its statistic has the same limit D for every smooth function that rises at the point.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import bisect, isotonic_regression
from scipy.special import xlogy

# Quantiles of D = integral of S^2 - S0^2, where S is the slope of the greatest convex minorant of W(t) + t^2, W
# two-sided Brownian motion, and S0 the same for t < 0 and t > 0 apart, cut at 0 from above and from below. 500,000
# draws on (-3, 3) in steps of 0.001 (a fifth of them of 0.00025): standard error 0.006 at level 0.95, 0.015 at 0.99.
LEVELS = (0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
QUANTILES = (0.9855, 1.2367, 1.607, 2.265, 2.952, 3.876)


@dataclass(frozen=True, eq=False)
class Isotonic:
    """Distinct scores (k,), rising, and the fitted probability at each (k,), never falling."""

    scores: Float[np.ndarray, "k"]
    values: Float[np.ndarray, "k"]

    def at(self, scores: ArrayLike) -> Float[np.ndarray, "n"]:
        """The fit at other scores (n,): a line between neighbors, the end's value beyond an end."""
        return np.interp(np.asarray(scores, float), self.scores, self.values)


def fit_isotonic(score: ArrayLike, outcomes: ArrayLike, weights: ArrayLike | None = None) -> Isotonic:
    """Eq. 1: the rising p that maximizes the likelihood of 0/1 `outcomes` (n,) at `score` (n,), `weights` (n,) or 1.

    Rows whose outcome is NaN are left out. Raises ValueError where none is left.
    """
    scores, totals, successes = _grouped(score, outcomes, weights)
    return Isotonic(scores, isotonic_regression(successes / totals, weights=totals).x)


def isotonic_interval(score: ArrayLike, outcomes: ArrayLike, at: float, level: float = 0.95) -> tuple[float, float]:
    """Eq. 2: every p for which 2 (log likelihood - log likelihood where P(Y = 1 | score = at) = p) <= d (1 + 1/(k+1)).

    The second fit rises, is at most p up to `at` and at least p from there. d is the quantile of D at the level. k, the
    lesser of the ones below and the zeros above, corrects for few of them: found by simulation, and no part of the
    source. `outcomes` (n,) are 0/1, NaN where unseen. The level holds for many outcomes, if the probability is smooth
    and rises at `at`.
    """
    scores, totals, successes = _grouped(score, outcomes, None)
    parts = [scores < at, scores == at, scores > at]
    left, middle, right = (_blocks(totals[part], successes[part]) for part in parts)
    best = float(np.sum(_loglik(*_blocks(totals, successes))))
    few = min(successes[scores < at].sum(), (totals - successes)[scores > at].sum())
    bound = best - critical_value(level) * (1.0 + 1.0 / (few + 1.0)) / 2.0

    def spare(p: float) -> float:
        below, above = np.minimum(left[0], p), np.maximum(right[0], p)
        at_p = _loglik(below, *left[1:]).sum() + _loglik(above, *right[1:]).sum()
        return float(at_p + _loglik(np.full(len(middle[0]), p), *middle[1:]).sum()) - bound

    start = _middle(fit_isotonic(scores, successes / totals, totals), at)
    return _root(spare, start, 0.0), _root(spare, start, 1.0)


def isotonic_crossing(score: ArrayLike, decisions: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Eq. 3: the scores at which a rising P(decision = 1 | score) may cross 1/2, by the likelihood ratio of Eq. 2.

    The least interval that holds every place for which the fit that is at most 1/2 below it and at least 1/2 above is
    no less likely than d(level) allows. -inf and inf where it may lie beyond all scores (n,).
    """
    scores, totals, successes = _grouped(score, decisions, None)
    below = _capped(totals, successes)
    above = _capped(totals[::-1], (totals - successes)[::-1])[::-1]
    best = float(np.sum(_loglik(*_blocks(totals, successes))))
    places = np.flatnonzero(2.0 * (best - below - above) <= critical_value(level))
    edges = np.concatenate([[-np.inf], scores, [np.inf]])
    return float(edges[places[0]]), float(edges[places[-1] + 1])


def critical_value(level: float) -> float:
    """The quantile d of D at a level between the least and the largest that are tabulated."""
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise ValueError(f"level {level}: intervals from outcomes take levels from {LEVELS[0]} to {LEVELS[-1]}")
    return float(np.interp(np.log1p(-level), np.log1p(-np.array(LEVELS))[::-1], QUANTILES[::-1]))


Block = tuple[np.ndarray, np.ndarray, np.ndarray]  # fitted probability, count, successes


def _grouped(score: ArrayLike, outcomes: ArrayLike, weights: ArrayLike | None) -> Block:
    """Distinct scores, and the weight and successes of each."""
    s, y = np.asarray(score, float), np.asarray(outcomes, float)
    w = np.ones(len(s)) if weights is None else np.asarray(weights, float)
    seen = np.isfinite(y) & (w > 0.0)
    if not seen.any():
        raise ValueError("no outcome was seen: an induced posterior needs the outcomes of some cases")
    scores, inverse = np.unique(s[seen], return_inverse=True)
    return scores, np.bincount(inverse, w[seen]), np.bincount(inverse, (w * y)[seen])


def _blocks(totals: np.ndarray, successes: np.ndarray) -> Block:
    """The level sets of the isotonic fit."""
    if not len(totals):
        return totals, totals, successes
    starts = isotonic_regression(successes / totals, weights=totals).blocks[:-1]
    count, ones = np.add.reduceat(totals, starts), np.add.reduceat(successes, starts)
    return np.clip(ones / count, 0.0, 1.0), count, ones


def _loglik(p: np.ndarray, count: np.ndarray, ones: np.ndarray) -> np.ndarray:
    return xlogy(ones, p) + xlogy(count - ones, 1.0 - p)


def _middle(fit: Isotonic, at: float) -> float:
    """A probability at a score that costs the fit nothing."""
    below, above = fit.values[fit.scores <= at], fit.values[fit.scores >= at]
    low, high = below[-1] if len(below) else 0.0, above[0] if len(above) else 1.0
    return float(low + high) / 2.0


def _root(spare: Callable[[float], float], inside: float, end: float) -> float:
    return end if spare(end) >= 0.0 else float(np.asarray(bisect(spare, inside, end, xtol=1e-10)))


def _capped(totals: np.ndarray, successes: np.ndarray) -> np.ndarray:
    """Log likelihood (k + 1,) of the best rising fit of at most 1/2 to the first 0, ..., k groups.

    Such a fit is the isotonic one up to where the walk of successes - totals / 2 is last at its lowest, and 1/2 from
    there. The isotonic fits to all beginnings are those of one pass that pools neighbors.
    """
    walk = np.concatenate([[0.0], np.cumsum(successes - totals / 2.0)])
    lowest = np.minimum.accumulate(walk)
    last = np.maximum.accumulate(np.where(walk == lowest, np.arange(len(walk)), 0))
    seen = np.concatenate([[0.0], np.cumsum(totals)])
    return _beginnings(totals, successes)[last] + (seen - seen[last]) * np.log(0.5)


def _beginnings(totals: np.ndarray, successes: np.ndarray) -> np.ndarray:
    """Log likelihood (k + 1,) of the isotonic fit to the first 0, ..., k groups."""
    found, stack = np.zeros(len(totals) + 1), [(0.0, 0.0, 0.0)]  # count, successes, log likelihood before the block
    for index, (count, ones) in enumerate(zip(totals.tolist(), successes.tolist(), strict=True)):
        before = found[index]
        while len(stack) > 1 and stack[-1][1] * count >= ones * stack[-1][0]:
            count, ones, before = count + stack[-1][0], ones + stack[-1][1], stack[-1][2]
            stack.pop()
        stack.append((count, ones, before))
        p = ones / count
        found[index + 1] = before + (ones * np.log(p) + (count - ones) * np.log1p(-p) if 0.0 < p < 1.0 else 0.0)
    return found
