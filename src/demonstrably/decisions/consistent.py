"""The loss of an optimal decision maker whose posterior is known: the costs that agree with every decision.

Laidlaw and Russell, "Uncertain Decisions Facilitate Better Preference Learning", NeurIPS 2021, arXiv 2106.10394,
section 3. A decision maker decides 1 where q = P(Y = 1 | x) >= c, and q is known for each of m decisions.

**Departures.** The paper gives the rate of Eq. 3. Eq. 2 (a confidence interval inside the certain one, without the
density of q) and the constant of Eq. 5 are derived here. See docs/decisions-theory.md for both arguments.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

NEIGHBORS = 10  # posteriors on either side of the gap that say how far apart they are around it
FAR = 10.0  # a gap so many mean spacings wide is none of a smooth density: chance 5e-4, for a sum of two spacings


def consistent_interval(
    decisions: ArrayLike, probability: ArrayLike, error: ArrayLike | float = 0.0
) -> tuple[float, float]:
    """Eq. 1: (L, U] = (max over decided 0 of q - error, min over decided 1 of q + error], every cost that agrees.

    `decisions` (n,) 0/1, `probability` (n,) in [0, 1], `error` (n,) or a number: the true posterior is at most so far
    off. Ends that no decision bounds are 0 and 1. L >= U means that no cost agrees with all decisions.
    """
    positive, q = np.asarray(decisions, float) > 0.5, np.asarray(probability, float)
    low = np.max(q - error, where=~positive, initial=0.0)
    high = np.min(q + error, where=positive, initial=1.0)
    return float(low), float(high)


def trimmed(low: float, high: float, level: float) -> tuple[float, float]:
    """Eq. 2: [L + (1 - level) / 2 (U - L), U - (1 - level) / 2 (U - L)], which holds the cost with chance `level`.

    With u = F(q), the distances D1 and D2 from F(c) to the nearest decision on either side have the joint survival
    P(D1 > a, D2 > b) = (1 - a - b)^m. Their density depends on D1 + D2 alone, so D1 / (D1 + D2) is uniform on (0, 1),
    whatever F is; it is (c - L) / (U - L) where the density of q changes little over the gap.
    """
    margin = (1.0 - level) / 2.0 * (high - low)
    return low + margin, high - margin


def smooth_gap(probability: ArrayLike, low: float, high: float) -> bool:
    """Whether the gap (low, high] looks like one between draws of a smooth density, as Eq. 2 needs.

    Not so if an end is no posterior, or a repeated one (a posterior of few values), or if the gap is more than `FAR`
    times as wide as the mean spacing of its `NEIGHBORS` on either side.
    """
    q = np.asarray(probability, float)
    below, above = q[q <= low], q[q >= high]
    count = min(NEIGHBORS, len(below) - 1, len(above) - 1)
    if count < 1:
        return False
    below = np.sort(np.partition(below, len(below) - count - 1)[-count - 1 :])
    above = np.sort(np.partition(above, count)[: count + 1])
    alone = below[-2] < below[-1] == low and high == above[0] < above[1]
    spacing = (below[-1] - below[0] + above[-1] - above[0]) / (2 * count)
    return bool(alone and high - low <= FAR * spacing)


def decisions_needed(epsilon: float, delta: float, density: float) -> int:
    """Eq. 3: m = ceil(log(2 / delta) / (p epsilon)) decisions give |c' - c| <= epsilon with chance 1 - delta.

    For any c' that agrees with all decisions, if q falls into each of (c - epsilon, c] and [c, c + epsilon) with at
    least the chance p epsilon, p being `density`. Proof: it fails only if a window stays empty, 2 (1 - p epsilon)^m.
    """
    _require(epsilon, delta, density)
    return math.ceil(math.log(2.0 / delta) / (density * epsilon))


def precision(decisions: int, delta: float, density: float) -> float:
    """Eq. 4: epsilon = log(2 / delta) / (p m), Eq. 3 solved for the error (infinite where the density p is 0)."""
    _require(1.0, delta, density)
    return math.log(2.0 / delta) / (density * decisions) if density > 0.0 else math.inf


def lower_bound_decisions(epsilon: float, delta: float, density: float) -> float:
    """Eq. 5: no method is within epsilon with chance 1 - delta from fewer than log(2 delta) / log(1 - 2 p epsilon).

    Two costs a little more than 2 epsilon apart give the same decisions while no q falls between them, chance
    (1 - 2 p epsilon)^m, and then any answer is wrong for one of them: it fails for one with at least half that chance.
    """
    _require(epsilon, delta, density)
    mass = 2.0 * density * epsilon
    if delta >= 0.5 or mass >= 1.0:
        return 0.0
    return math.log(2.0 * delta) / math.log1p(-mass)


def density_at(probability: ArrayLike, cost: float) -> float:
    """Density of posteriors (n,) at a cost: the lesser of those below and above it, from its sqrt(n) nearest ones.

    0 where there are none on one side; infinite where the cost is an often repeated posterior.
    """
    q = np.asarray(probability, float)
    count = max(1, round(math.sqrt(len(q))))
    found = []
    for distances in (cost - q[q < cost], q[q >= cost] - cost):
        if len(distances) < count:
            return 0.0
        reach = float(np.partition(distances, count - 1)[count - 1])
        found.append(count / (len(q) * reach) if reach > 0.0 else math.inf)
    return min(found)


def uniform_failure(epsilon: float, decisions: int) -> float:
    """Eq. 6: P(U - c > epsilon or c - L > epsilon) = 2 (1 - epsilon)^m - (1 - 2 epsilon)^m for q uniform on (0, 1).

    For epsilon <= c <= 1 - epsilon.
    """
    return 2.0 * (1.0 - epsilon) ** decisions - (1.0 - 2.0 * epsilon) ** decisions


def uniform_error(decisions: int, density: float = 1.0) -> float:
    """Eq. 7: E |(L + U) / 2 - c| = 1 / (2 p (m + 1)) for q uniform with density p around c.

    D1 + D2 has the mean 2 / (m + 1), and |D2 - D1| / 2 a fourth of that.
    """
    return 0.5 / (density * (decisions + 1))


def uniform_worst_error(decisions: int, density: float = 1.0) -> float:
    """Eq. 8: E max(c - L, U - c) = 3 / (2 p (m + 1)) for q uniform with density p around c."""
    return 1.5 / (density * (decisions + 1))


def _require(epsilon: float, delta: float, density: float) -> None:
    if not epsilon > 0.0:
        raise ValueError(f"epsilon {epsilon}: give the error of the cost that is allowed, above 0")
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta {delta}: give the chance of a larger error, in (0, 1)")
    if not density >= 0.0:
        raise ValueError(f"density {density}: give the density of the posterior at the cost, such as `density_at`")
