"""From a score to a probability: the map, how far it may be off, and whether forecasts are what they say.

Equations:

- Eq. 1: exact bounds of a mean of probabilities from a count of successes (Clopper and Pearson 1934). They hold for
  probabilities that differ from case to case too, by Hoeffding's comparison with the binomial (Annals of Mathematical
  Statistics 27, 1956, theorem 5), but for a single success, where Markov's inequality takes their place.
- Eq. 2: a band for a probability that does not fall as the score rises. The mean over a window of cases at or left of
  s is at most q(s), and q(s) at most the mean over a window at or right of s. All windows of a dyadic family hold at
  once (Bonferroni, each window's share in proportion to its cases).
- Eq. 3: log-odds of the outcome linear in the score, by maximum likelihood under Jeffreys' prior (Firth 1993), which
  stays finite where the score separates the outcomes; Scheffe's band from the covariance clustered by case or person.
- Eq. 4: a design effect for outcomes that come in clusters, by which counts are divided before Eq. 1 (Korn and
  Graubard 1998).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import betaincinv, expit, fdtri, logit

BINS = 10
PER_BIN = 10  # cases; fewer give fewer bins
NARROWEST = 16  # cases in the smallest window of Eq. 2: fewer bound nothing at the level that is left for them
SMALLEST = 1e-6  # probabilities are kept so far from 0 and 1 before their log-odds are taken
STEPS = 100  # of Newton's method, each at most LONGEST units of the standardized score's log-odds
LONGEST = 2.0


@dataclass(frozen=True)
class Calibration:
    """Is the posterior what it says? Bins of equal counts: mean forecast, share of outcomes with exact interval, count.

    `slope` and `intercept` of the outcomes' log-odds on the forecast's (1 and 0 for a calibrated one). `label` says of
    which cases, `groups` holds the same for each group where the posterior was calibrated within groups.
    """

    forecast: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]
    slope: float
    intercept: float
    label: str = "all"
    groups: tuple["Calibration", ...] = ()


@dataclass(frozen=True, eq=False)
class LogisticMap:
    """Log-odds of an outcome: weights[0] + weights[1] (score - center) / scale; see Eq. 3.

    `covariance` (2, 2) of the weights, robust to clusters, of which there are `clusters`.
    """

    weights: Float[np.ndarray, "2"]
    covariance: Float[np.ndarray, "2 2"]
    center: float
    scale: float
    clusters: int

    @property
    def slope(self) -> float:
        """Rise of the log-odds for one unit of the score."""
        return float(self.weights[1] / self.scale)

    @property
    def intercept(self) -> float:
        """The log-odds at score 0."""
        return float(self.weights[0] - self.slope * self.center)

    def probability(self, score: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Probabilities (n,); all alike where the fitted ones would fall as the score rises."""
        return expit(self.weights[0] + max(self.weights[1], 0.0) * (score - self.center) / self.scale)

    def error(self, score: Float[np.ndarray, "n"], level: float) -> Float[np.ndarray, "n"]:
        """How far the probabilities may be off, at all scores at once with probability `level` (Scheffe's band)."""
        x, (v00, v01, v11) = (score - self.center) / self.scale, self.covariance[[0, 0, 1], [0, 1, 1]]
        # (n,) log-odds; two weights, and the covariance has as many degrees of freedom as clusters less two
        half = np.sqrt(2.0 * fdtri(2, max(self.clusters - 2, 1), level) * (v00 + x * (2.0 * v01 + x * v11)))
        odds, q = self.weights[0] + self.weights[1] * x, self.probability(score)
        return np.maximum(expit(odds + half) - q, q - expit(odds - half))


def mean_interval(
    hits: Float[np.ndarray, "w"], count: Float[np.ndarray, "w"], tail: float | Float[np.ndarray, "w"]
) -> tuple[Float[np.ndarray, "w"], Float[np.ndarray, "w"]]:
    """Eq. 1: bounds (low, high) of the mean probability of `count` independent cases with `hits` successes.

    Each bound fails with probability at most `tail` (below 1/4), whatever the single probabilities are.
    """
    return _at_least(hits, count, tail), 1.0 - _at_least(count - hits, count, tail)


def _at_least(
    hits: Float[np.ndarray, "w"], count: Float[np.ndarray, "w"], tail: float | Float[np.ndarray, "w"]
) -> Float[np.ndarray, "w"]:
    """The lower bound of Eq. 1. P(at least one success) is at most the sum of the probabilities: count x mean."""
    bound = betaincinv(np.maximum(hits, 1e-12), count - hits + 1.0, tail)
    return np.where(hits <= 0.0, 0.0, np.where(hits == 1.0, tail / count, bound))


def windows(ordered: Float[np.ndarray, "n"]) -> tuple[Int[np.ndarray, "w"], Int[np.ndarray, "w"]]:
    """Windows first .. last - 1 of cases in order of their score: dyadic lengths, half overlapping, and the whole.

    Equal scores are never cut apart, so that no window depends on the order in which equal ones were listed.
    """
    n, first, last, size = len(ordered), [np.zeros(1, np.int64)], [np.full(1, len(ordered))], NARROWEST
    while size < n:
        starts = np.append(np.arange(0, n - size, size // 2), n - size)
        first.append(np.searchsorted(ordered, ordered[starts], "left"))
        last.append(np.searchsorted(ordered, ordered[starts + size - 1], "right"))
        size *= 2
    key = np.unique(np.concatenate(first) * (n + 1) + np.concatenate(last))
    return key // (n + 1), key % (n + 1)


def monotone_band(
    score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"], at: Float[np.ndarray, "n"], level: float = 0.95
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Eq. 2: (low, high) at the scores `at`, holding q there at all scores at once with probability at least `level`.

    Exact for any number m of independent outcomes; q(score) must not fall anywhere.
    """
    order = np.argsort(score, kind="stable")
    ordered, total = score[order], np.append(0.0, np.cumsum(outcomes[order]))
    first, last = windows(ordered)
    count = (last - first).astype(float)
    low, high = mean_interval(total[last] - total[first], count, (1.0 - level) / 2.0 * count / count.sum())
    floor, ceiling = np.zeros(len(ordered) + 1), np.ones(len(ordered) + 1)
    np.maximum.at(floor, last, low)
    np.minimum.at(ceiling, first, high)
    floor, ceiling = np.maximum.accumulate(floor), np.minimum.accumulate(ceiling[::-1])[::-1]
    return floor[np.searchsorted(ordered, at, "right")], ceiling[np.searchsorted(ordered, at, "left")]


def isotonic_map(
    score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"]
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"], Int[np.ndarray, "m"]]:
    """Isotonic regression: the k distinct scores, the probability at each, and the block of each case."""
    levels, where, count = np.unique(score, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(where, outcomes) / count, weights=count)
    block = np.repeat(np.arange(len(fitted.blocks) - 1), np.diff(fitted.blocks))
    return levels, np.clip(fitted.x, 0.0, 1.0), block[where]


def isotonic_at(
    score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"], at: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """The isotonic fit at other scores: that of the nearest seen score below, or of the lowest."""
    levels, fitted, _ = isotonic_map(score, outcomes)
    return fitted[np.maximum(np.searchsorted(levels, at, "right") - 1, 0)]


def straight_odds(
    score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"], at: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Log-odds (n,) that rise with the score: the isotonic fit's, joined by lines from block to block.

    A block of n cases with k successes has log-odds (k + 1/2) / (n - k + 1/2), finite at its ends.
    """
    block = isotonic_map(score, outcomes)[2]
    count, hits = np.bincount(block), np.bincount(block, outcomes)
    odds = np.log((hits + 0.5) / (count - hits + 0.5))
    # The halves may turn the order of two blocks, a short one against its neighbor
    return np.interp(at, np.bincount(block, score) / count, np.maximum.accumulate(odds))


def fit_logistic(
    score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"] | None = None
) -> LogisticMap:
    """Eq. 3: the logistic map of a score, by Newton's method; `cluster` codes of cases whose outcomes hang together."""
    center, scale = float(score.mean()), float(score.std()) or 1.0
    x, base = (score - center) / scale, np.clip(outcomes.mean(), SMALLEST, 1.0 - SMALLEST)
    weights = np.array([logit(base), 0.0])
    for _ in range(STEPS):
        p = expit(weights[0] + weights[1] * x)
        inverse = _inverse_information(p, x)
        leverage = p * (1.0 - p) * (inverse[0, 0] + x * (2.0 * inverse[0, 1] + x * inverse[1, 1]))
        residual = outcomes - p + leverage * (0.5 - p)
        step = np.clip(inverse @ np.array([residual.sum(), residual @ x]), -LONGEST, LONGEST)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    p = expit(weights[0] + weights[1] * x)
    clusters, parts = _summed(outcomes - p, x, cluster)
    inverse = _inverse_information(p, x)
    covariance = inverse @ (parts @ parts.T) @ inverse * clusters / max(clusters - 1, 1)
    return LogisticMap(weights, covariance, center, scale, clusters)


def _inverse_information(p: Float[np.ndarray, "m"], x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "2 2"]:
    """Inverse of the information (2, 2); a score that does not vary leaves the slope at 0."""
    weight = p * (1.0 - p)
    i00, i01, i11 = weight.sum(), weight @ x, weight @ x**2
    if i11 <= 0.0:
        return np.array([[1.0 / i00, 0.0], [0.0, 0.0]])
    return np.array([[i11, -i01], [-i01, i00]]) / (i00 * i11 - i01**2)


def _summed(
    residual: Float[np.ndarray, "m"], x: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"] | None
) -> tuple[int, Float[np.ndarray, "2 g"]]:
    """How many clusters there are, and each one's part of the score equations."""
    if cluster is None:
        return len(x), np.stack([residual, residual * x])
    _, codes = np.unique(cluster, return_inverse=True)
    return int(codes.max()) + 1, np.stack([np.bincount(codes, residual), np.bincount(codes, residual * x)])


def design_effect(outcomes: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"]) -> float:
    """Eq. 4: how many clustered outcomes tell as much of their mean as one independent outcome; at least 1."""
    _, codes = np.unique(cluster, return_inverse=True)
    groups, mean = int(codes.max()) + 1, outcomes.mean()
    if mean in (0.0, 1.0) or groups == 1:
        return len(outcomes) / groups
    variance = (np.bincount(codes, outcomes - mean) ** 2).sum() / len(outcomes) ** 2 * groups / (groups - 1)
    return float(max(1.0, variance * len(outcomes) / (mean * (1.0 - mean))))


def calibrated(
    forecast: Float[np.ndarray, "m"],
    outcomes: Float[np.ndarray, "m"],
    *,
    cluster: Int[np.ndarray, "m"] | None = None,
    level: float = 0.95,
    label: str = "all",
) -> Calibration:
    """Forecasts against outcomes, in at most BINS bins of equal counts; equal forecasts stay in one bin."""
    bins = max(1, min(BINS, len(forecast) // PER_BIN))
    edges = np.unique(np.sort(forecast)[len(forecast) * np.arange(1, bins) // bins])
    members = _members(np.searchsorted(edges, forecast, "right"))
    effect = np.array([1.0 if cluster is None else design_effect(outcomes[m], cluster[m]) for m in members])
    count, hits = np.array([len(m) for m in members], float), np.array([outcomes[m].sum() for m in members])
    low, high = mean_interval(hits / effect, count / effect, (1.0 - level) / 2.0)
    # A forecast of 0 or 1 is as sure as the number of cases could make it
    edge = 0.5 / len(forecast)
    line = fit_logistic(logit(np.clip(forecast, edge, 1.0 - edge)), outcomes)
    return Calibration(
        tuple(float(forecast[m].mean()) for m in members),
        tuple((hits / count).tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        tuple(int(one) for one in count),
        line.slope,
        line.intercept,
        label,
    )


def log_odds(probability: NDArray) -> NDArray:
    """Log-odds, of probabilities kept at least SMALLEST from 0 and 1."""
    return logit(np.clip(probability, SMALLEST, 1.0 - SMALLEST))


def _members(codes: Int[np.ndarray, "m"]) -> list[Int[np.ndarray, "b"]]:
    """The rows of each code that occurs, in order of the codes."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
