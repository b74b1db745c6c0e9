"""What each group's decisions say of its cost: where they cross one half, with one covariance for all groups.

Costs of groups may be compared although their base rates differ: where P(decision = 1 | posterior) crosses one half
does not depend on how many cases lie where. Two things could still make equal costs look different, and are met here.
A wrong shape of the noise: so the curve is fitted near the crossing only, through the same window in every group.
Decisions of one person that are alike, the person deciding on several groups: so covariances are clustered.

Where too few decisions are in doubt for large-sample errors, the exact posterior of `noisy` takes their place.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import expit, fdtrc, logit, stdtrit
from scipy.stats import rankdata

from demonstrably.decisions.curves import (
    Curves,
    Pairs,
    Rows,
    compressed,
    fit_at,
    fit_near,
    fit_whole,
    in_doubt,
    influences,
    joint_covariance,
    pairs_of,
    rise,
)
from demonstrably.decisions.estimate import Noise
from demonstrably.decisions.noisy import SMALLEST, fit_noisy
from demonstrably.decisions.posterior import Posterior

FEW = 20  # decisions (or outcomes) of a group below which no cost is stated
PERSONS = 3  # clusters of a group below which its error cannot be told
BOTH = 3  # decisions (or outcomes) of either kind that a group must have
RISES, SURE = 2.0, 3.0  # standard errors of the slope: for any statement, and for large-sample errors
BINS = 2000  # rows a group that curves are first fitted to
OUTCOME_WINDOW = 1.5  # in log-odds, the noise of outcomes: their slope is near 1
EXACT = 1e6  # degrees of freedom of an exact posterior
FAR = 5.0  # in log-odds of a decision: what is decided against the rule so far from the crossing is a lapse


@dataclass(frozen=True, eq=False)
class GroupCosts:
    """The log-odds of each group's relative cost; NaN where none is stated and `reasons` says why (else "").

    `covariance` (G, G) of `logit` (G,); `degrees` (G,) of freedom of its estimate; `noise` and number of decisions
    (`counts`) a group.
    """

    logit: Float[np.ndarray, "g"]
    covariance: Float[np.ndarray, "g g"]
    degrees: Float[np.ndarray, "g"]
    noise: tuple[Noise | None, ...]
    counts: Int[np.ndarray, "g"]
    reasons: tuple[str, ...]

    @property
    def cost(self) -> Float[np.ndarray, "g"]:
        """Relative costs (G,), in (0, 1)."""
        return expit(self.logit)

    @property
    def error(self) -> Float[np.ndarray, "g"]:
        """Standard errors (G,) of the log-odds."""
        return np.sqrt(np.diag(self.covariance))

    def intervals(self, level: float = 0.95) -> Float[np.ndarray, "g 2"]:
        """Intervals (G, 2) of the relative costs."""
        half = stdtrit(self.degrees, (1.0 + level) / 2.0) * self.error
        return expit(np.stack([self.logit - half, self.logit + half], axis=1))


def group_costs(
    decisions: Float[np.ndarray, "n"],
    posterior: Posterior,
    group: Int[np.ndarray, "n"],
    clusters: tuple[Int[np.ndarray, "n"], ...] = (),
) -> GroupCosts:
    """The log-odds of each group's relative cost, with their joint covariance.

    `group` (n,) holds codes 0..G - 1. `clusters`: none, one (n,) array of codes (the person), or two (person and
    case). Where the posterior has outcomes, they recalibrate it within each group near the crossing, and their noise
    is in the covariance. Raises ValueError for arrays of unequal length, and for more than two ways of clustering.
    """
    _check(decisions, posterior, group, clusters)
    rows = Rows(decisions, log_odds(posterior), group, np.ones(len(decisions)), int(group.max()) + 1)
    ways = _ways(group, clusters)
    reasons = _too_few(rows, ways, bool(clusters))
    found = _cross(rows, ways, reasons)
    if posterior.outcomes is not None:
        found = _calibrate(found, rows, posterior.outcomes, ways, reasons)
    covariance = joint_covariance(ways, found.shifts, rows.groups) + np.diag(found.variance)
    silent = ~_stated(reasons)
    covariance[silent], covariance[:, silent] = np.nan, np.nan
    noise = tuple(None if quiet else one for quiet, one in zip(silent, found.noise, strict=True))
    degrees = _persons(rows, ways) - 1.0 if clusters else found.degrees
    costs, counts = np.where(silent, np.nan, found.odds), np.bincount(group)
    return GroupCosts(costs, covariance, degrees, noise, counts, tuple(reasons))


def log_odds(posterior: Posterior) -> Float[np.ndarray, "n"]:
    """The scale (n,) on which curves are fitted: the posterior's log-odds.

    A posterior by isotonic regression has steps that the outcomes' noise made, and a curve on them would be off. There
    it is the scores' ranks as log-odds, stretched and shifted to those of the outcome by a logistic regression.
    """
    if posterior.outcomes is None or 2 * len(np.unique(posterior.probability)) > len(np.unique(posterior.score)):
        return logit(np.clip(posterior.probability, SMALLEST, 1.0 - SMALLEST))
    ranks = logit((rankdata(posterior.score) - 0.5) / len(posterior))
    seen = ~np.isnan(posterior.outcomes)
    number = int(seen.sum())
    rows = Rows(posterior.outcomes[seen], ranks[seen], np.zeros(number, int), np.ones(number), 1)
    line = fit_whole(rows, np.array([True]))
    return line.slope[0] * (ranks - line.center[0])


def equality_test(costs: GroupCosts) -> float:
    """p-value of "all stated groups have one cost"; NaN for fewer than two of them.

    Welch's test where the groups' estimates are independent, Hotelling's where they share clusters.
    """
    kept = np.flatnonzero(~np.isnan(costs.logit))
    number, values, covariance = len(kept), costs.logit[kept], costs.covariance[np.ix_(kept, kept)]
    if number < 2:
        return float("nan")
    contrasts = np.eye(number)[1:] - np.eye(number)[0]
    apart = contrasts @ values
    distance = float(apart @ np.linalg.pinv(contrasts @ covariance @ contrasts.T, hermitian=True) @ apart)
    restrictions, degrees = number - 1, costs.degrees[kept]
    if _independent(covariance):
        return welch_p_value(distance, np.diag(covariance), degrees)
    shared = 1.0 / np.mean(1.0 / degrees)
    left = max(shared - restrictions + 1.0, 1.0)
    return float(fdtrc(restrictions, left, distance * left / (shared * restrictions)))


def welch_p_value(distance: float, variance: Float[np.ndarray, "k"], degrees: Float[np.ndarray, "k"]) -> float:
    """Eq. 1: p-value of k independent estimates' equality, from their weighted sum of squares (Welch 1951)."""
    number, weight = len(variance), 1.0 / variance
    lost = float(np.sum((1.0 - weight / weight.sum()) ** 2 / degrees))
    statistic = distance / (number - 1.0) / (1.0 + 2.0 * (number - 2.0) / (number**2 - 1.0) * lost)
    return float(fdtrc(number - 1.0, (number**2 - 1.0) / (3.0 * lost), statistic))


@dataclass(frozen=True, eq=False)
class _Found:
    """Log-odds (G,) with what makes their covariance: `shifts` of pairs, a way; `variance` (G,) of the others."""

    odds: NDArray
    shifts: list[NDArray]
    variance: NDArray
    degrees: NDArray
    noise: list[Noise]


def _cross(rows: Rows, ways: list[Pairs], reasons: list[str]) -> _Found:
    """Where decisions cross one half: by curves near there, else (few decisions in doubt) by the exact posterior."""
    _add(reasons, rise(rows, ways) < RISES, "the decisions hardly rise with the posterior")
    whole, near = _curves(rows, _stated(reasons))
    sure = near.fitted & (_steepness(rows, near, ways) >= SURE)
    odds, variance, noise = near.center.copy(), np.zeros(rows.groups), _noise(rows, near)
    degrees = np.maximum(in_doubt(rows, near) - 2.0, 1.0)
    inflation = _inflation(rows, whole, ways)
    for one in np.flatnonzero(~sure & _stated(reasons)):
        own = rows.group == one
        fit = fit_noisy(rows.values[own], expit(rows.odds[own]))
        odds[one], noise[one], degrees[one] = logit(fit.point), Noise(fit.slope, fit.lapse), EXACT
        variance[one] = fit.error**2 * inflation[one]
    shifts = [np.where(sure[way.group], moved, 0.0) for way, moved in zip(ways, _moves(rows, near, ways), strict=True)]
    return _Found(odds, shifts, variance, degrees, noise)


def _curves(rows: Rows, live: NDArray) -> tuple[Curves, Curves]:
    """Curves of all rows, and near the crossings; with many rows, first of means of neighbors, which is quick."""
    short = compressed(rows, BINS) if len(rows.group) > 2 * BINS * rows.groups else rows
    whole = fit_whole(short, live)
    near = fit_near(short, whole, live)
    return whole, near if short is rows else fit_near(rows, near, near.fitted)


def _calibrate(found: _Found, rows: Rows, outcomes: NDArray, ways: list[Pairs], reasons: list[str]) -> _Found:
    """The crossings as log-odds of the outcome: Eq. 2, logit c = alpha + beta s, with the outcomes' own errors."""
    seen = ~np.isnan(outcomes)
    seen_rows = Rows(np.where(seen, outcomes, 0.0), rows.odds, rows.group, seen.astype(float), rows.groups)
    _add(reasons, _one_sided(seen_rows), f"fewer than {FEW} outcomes are known, or nearly all are the same")
    curves = fit_at(seen_rows, found.odds, OUTCOME_WINDOW, _stated(reasons))
    shifts = []
    for way, moved in zip(ways, found.shifts, strict=True):
        height, _ = influences(seen_rows, curves, way)
        shifts.append(height + curves.slope[way.group] * moved)
    return _Found(curves.height, shifts, found.variance * curves.slope**2, found.degrees, found.noise)


def _moves(rows: Rows, curves: Curves, ways: list[Pairs]) -> list[NDArray]:
    """How far each pair moves its group's crossing, a way."""
    return [-influences(rows, curves, way)[0] / curves.slope[way.group] for way in ways]


def _steepness(rows: Rows, curves: Curves, ways: list[Pairs]) -> NDArray:
    """Slopes (G,) in standard errors."""
    shifts = [influences(rows, curves, way)[1] for way in ways]
    variance = np.diag(joint_covariance(ways, shifts, rows.groups))
    return np.where(variance > 0, curves.slope / np.sqrt(np.maximum(variance, 1e-300)), 0.0)


def _inflation(rows: Rows, whole: Curves, ways: list[Pairs]) -> NDArray:
    """How many times larger clusters make a crossing's variance (G,), at least 1."""
    apart = pairs_of(None, rows.group)
    variances = [
        np.diag(joint_covariance(by, _moves(rows, whole, by), rows.groups)) for by in (ways, [apart])
    ]
    return np.maximum(variances[0] / np.maximum(variances[1], 1e-300), 1.0)


def _noise(rows: Rows, curves: Curves) -> list[Noise]:
    """Slope and lapse a group; a lapse is told by decisions against the rule, far from the crossing."""
    away = curves.slope[rows.group] * (rows.odds - curves.center[rows.group])
    far = (np.abs(away) > FAR).astype(float)
    against = rows.totals(far * (rows.values != (away > 0)))
    lapse = np.minimum(2.0 * against / np.maximum(rows.totals(far), 1.0), 1.0)
    return [Noise(*pair) for pair in zip(curves.slope.tolist(), lapse.tolist(), strict=True)]


def _ways(group: NDArray, clusters: tuple[NDArray, ...]) -> list[Pairs]:
    """Pairs of clusters and groups: one way, or the first, the second, and both together."""
    if len(clusters) < 2:
        return [pairs_of(clusters[0] if clusters else None, group)]
    first, second = clusters
    both = first.astype(np.int64) * (int(second.max()) + 1) + second
    return [pairs_of(code, group) for code in (first, second, np.unique(both, return_inverse=True)[1])]


def _persons(rows: Rows, ways: list[Pairs]) -> NDArray:
    """Number of clusters of each group (G,), of the way that has fewer."""
    return np.min([np.bincount(way.group, minlength=rows.groups) for way in ways[:2]], axis=0).astype(float)


def _too_few(rows: Rows, ways: list[Pairs], clustered: bool) -> list[str]:
    """Why nothing can be said of a group, "" where something can."""
    counts, ones = rows.totals(rows.weight), rows.totals(rows.values)
    reasons = [""] * rows.groups
    few = counts < FEW
    for one in np.flatnonzero(few):
        reasons[one] = f"only {int(counts[one])} decisions: at least {FEW} are needed"
    _add(reasons, ones == 0, "every decision is 0")
    _add(reasons, ones == counts, "every decision is 1")
    _add(reasons, np.minimum(ones, counts - ones) < BOTH, "nearly every decision is the same")
    if clustered:
        text = f"fewer than {PERSONS} people (or cases) decide: what differs between people cannot be told"
        _add(reasons, _persons(rows, ways) < PERSONS, text)
    return reasons


def _one_sided(rows: Rows) -> NDArray:
    counts, ones = rows.totals(rows.weight), rows.totals(rows.weight * rows.values)
    return (counts < FEW) | (np.minimum(ones, counts - ones) < BOTH)


def _add(reasons: list[str], which: NDArray, text: str) -> None:
    """Writes the reason into groups (G,) that have none yet."""
    for one in np.flatnonzero(which & _stated(reasons)):
        reasons[one] = text


def _stated(reasons: list[str]) -> NDArray:
    return np.array([not reason for reason in reasons])


def _independent(covariance: NDArray) -> bool:
    return not np.any(covariance - np.diag(np.diag(covariance)))


def _check(decisions: NDArray, posterior: Posterior, group: NDArray, clusters: tuple[NDArray, ...]) -> None:
    lengths = {len(decisions), len(posterior), len(group), *(len(code) for code in clusters)}
    if len(lengths) > 1 or not len(decisions):
        raise ValueError(f"decisions, posterior, group and clusters have lengths {sorted(lengths)}: give equally many")
    if len(clusters) > 2:
        raise ValueError(f"{len(clusters)} ways of clustering: give at most two, for instance (person, case)")
    if group.min() < 0:
        raise ValueError(f"group code {group.min()}: codes are 0, 1, ...")
