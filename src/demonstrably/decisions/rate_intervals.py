"""Intervals of several groups' rates and of their differences, whether or not decisions are clustered.

A rate has a Clopper-Pearson interval. Where decisions are clustered, its counts are replaced by effective counts, those
of as many independent decisions as would give the rate's clustered variance (Korn and Graubard 1998). Two ways of
clustering (people and cases) follow Cameron, Gelbach and Miller (2011). A difference gets the interval that recovers
its variance from the distances between each rate and its limits (Zou and Donner 2008), with the rates' correlation,
since the same people may decide on both groups.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

SMALLEST = 1e-12  # p-values below are not told apart
HALVINGS = 50


@dataclass(frozen=True, eq=False)
class Spread:
    """Rates of G groups with what their intervals need: effective counts, degrees of freedom, correlations."""

    counts: Float[np.ndarray, "g"]
    totals: Float[np.ndarray, "g"]
    effective: Float[np.ndarray, "g"]
    degrees: Float[np.ndarray, "g"]
    correlation: Float[np.ndarray, "g g"]
    clusters: tuple[int, ...]

    @property
    def rates(self) -> Float[np.ndarray, "g"]:
        return self.counts / np.maximum(self.totals, 1.0)

    def limits(self, alpha: Float[np.ndarray, "*a"]) -> tuple[Float[np.ndarray, "*a g"], Float[np.ndarray, "*a g"]]:
        """Clopper-Pearson limits of the effective counts, each tail alpha / 2."""
        tail = alpha[..., None] / 2.0
        size = self.effective
        if self.clusters:  # Korn and Graubard: what the few clusters leave uncertain about their variance
            known = self.degrees > 0.0
            wide = stdtrit(np.where(known, self.degrees, 1.0), tail)
            ratio = stdtrit(np.maximum(self.totals - 1.0, 1.0), tail) / np.where(wide < 0.0, wide, -1.0)
            ratio = np.where(wide < 0.0, ratio, 1.0)  # at the median both are 0
            size = np.where(known, np.minimum(size * ratio**2, self.totals), 0.0)
        hits, rest = self.rates * size, (1.0 - self.rates) * size
        low = np.where(hits > 0.0, betaincinv(np.maximum(hits, 1e-300), rest + 1.0, tail), 0.0)
        high = np.where(rest > 0.0, betaincinv(hits + 1.0, np.maximum(rest, 1e-300), 1.0 - tail), 1.0)
        return low, high

    def differences(
        self, index: Int[np.ndarray, "p 2"], alpha: Float[np.ndarray, "p"]
    ) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"]]:
        """Ends of the second rate less the first, by variance estimates recovered from the limits of each."""
        rows, (one, other) = np.arange(len(index)), index.T
        low, high = self.limits(alpha)
        down, up = self.rates - low, high - self.rates
        between = 2.0 * self.correlation[one, other]
        lower = [down[rows, other], up[rows, one]]
        upper = [up[rows, other], down[rows, one]]
        left, right = (
            np.sqrt(np.maximum(a**2 + b**2 - between * a * b, 0.0)) for a, b in (lower, upper)
        )  # fmt: skip
        apart, known = self.rates[other] - self.rates[one], (self.totals[one] > 0) & (self.totals[other] > 0)
        return np.where(known, np.maximum(apart - left, -1.0), -1.0), np.where(known, np.minimum(apart + right, 1), 1.0)


def p_values(spread: Spread, index: Int[np.ndarray, "p 2"]) -> Float[np.ndarray, "p"]:
    """The largest alpha at which the interval of the difference still holds 0, by bisection of its logarithm."""
    inside, outside = np.full(len(index), np.log(SMALLEST)), np.zeros(len(index))
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2.0
        low, high = spread.differences(index, np.exp(middle))
        held = (low <= 0.0) & (high >= 0.0)
        inside, outside = np.where(held, middle, inside), np.where(held, outside, middle)
    return np.exp(outside)


def spread_of(
    values: Float[np.ndarray, "n"], codes: Int[np.ndarray, "n"], groups: int, clusters: tuple[NDArray, ...]
) -> Spread:
    totals = np.bincount(codes, minlength=groups).astype(float)
    counts = np.bincount(codes, values, minlength=groups)
    if not clusters:
        return Spread(counts, totals, totals, np.maximum(totals - 1.0, 0.0), np.eye(groups), ())
    rates = counts / np.maximum(totals, 1.0)
    influence = (values - rates[codes]) / np.maximum(totals, 1.0)[codes]
    ways = [np.unique(way, return_inverse=True)[1] for way in clusters]
    sizes = tuple(int(way.max()) + 1 if len(way) else 0 for way in ways)
    covariances, members = zip(*(_clustered(influence, codes, way, groups) for way in ways), strict=True)
    covariance, least = sum(covariances), np.max([np.diag(one) for one in covariances], axis=0)
    if len(ways) == 2:
        both = np.unique(ways[0] * max(sizes[1], 1) + ways[1], return_inverse=True)[1]
        covariance = covariance - _clustered(influence, codes, both, groups)[0]
    variance = np.maximum(np.diag(covariance), least)  # the difference of two ways can fall below either, or below 0
    least_members = np.min(members, axis=0).astype(float)
    binomial = rates * (1.0 - rates)
    sure = (variance > 0.0) & (binomial > 0.0)  # groups with one answer only: each cluster counts once
    effective = np.where(sure, binomial / np.where(sure, variance, 1.0), least_members)
    scale = np.sqrt(np.where(variance > 0.0, variance, np.inf))
    correlation = np.clip(covariance / np.outer(scale, scale), -1.0, 1.0)
    return Spread(
        counts, totals, np.minimum(effective, totals), np.maximum(least_members - 1.0, 0.0), correlation, sizes
    )


def _clustered(
    influence: Float[np.ndarray, "n"], codes: Int[np.ndarray, "n"], way: Int[np.ndarray, "n"], groups: int
) -> tuple[Float[np.ndarray, "g g"], Int[np.ndarray, "g"]]:
    """Covariance of the rates from sums over clusters, and in how many clusters each group occurs."""
    number = int(way.max()) + 1 if len(way) else 0
    cell = way * groups + codes
    sums = np.bincount(cell, influence, minlength=number * groups).reshape(number, groups)
    present = np.bincount(cell, minlength=number * groups).reshape(number, groups) > 0
    return sums.T @ sums * (number / max(number - 1, 1)), present.sum(axis=0)


def holm(p_values: Float[np.ndarray, "p"]) -> Float[np.ndarray, "p"]:
    """Holm's step-down correction: p-values that may all be held against one level."""
    order = np.argsort(p_values)
    steps = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * steps))
    return adjusted
