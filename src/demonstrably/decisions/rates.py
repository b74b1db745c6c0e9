"""The benchmark test, the outcome test and the hybrid of both: rates of groups, with intervals that know clusters.

A decision is 1 where a person's risk p = P(outcome = 1) is above a threshold. The benchmark test compares how often
groups are decided 1. The outcome test (Becker 1957) compares how often the outcome is 1 among those decided 1, the hit
rate. Each points to the group with the lower threshold: more decided 1, or fewer hits. Both can point to the wrong
group, since risks are distributed differently (infra-marginality, see `marginality.py`).

The hybrid test (Gaebler and Goel 2024, arXiv 2407.06539) concludes only where both point to the same group. Where the
ratio of the groups' risk densities is monotone in the risk, at least one of both is right, so what they agree on is
right. Say a is the riskier group. With t_a = t_b truncation leaves a riskier, so a has more decisions and more hits,
and the tests disagree. With t_a < t_b a has still more decisions, so the benchmark test is right; with t_a > t_b
a has still more hits, so the outcome test is right.

**Departures.** The paper leaves the choice of both tests open. Here a rate has a Clopper-Pearson interval, with the
effective counts of Korn and Graubard (1998) where decisions are clustered, a difference the interval of the method of
variance estimates recovery (Zou and Donner 2008), and p is where that interval just reaches 0. Pairs: Holm.
"""

import html
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray

from demonstrably.decisions.rate_intervals import holm, p_values, spread_of

ASSUMPTION = (
    "the ratio of the groups' risk densities rises or falls with the risk throughout (monotone likelihood ratio), and "
    "each group meets one threshold; then what both tests agree on is right"
)


@dataclass(frozen=True)
class Rate:
    """A group's rate, count out of total, with its interval; None where total is 0."""

    name: str
    count: int
    total: int
    rate: float | None
    low: float
    high: float

    def __str__(self) -> str:
        if self.rate is None:
            return f"{self.name}: none seen"
        return f"{self.name}: {self.rate:.3f} [{self.low:.3f}, {self.high:.3f}], {self.count:,} of {self.total:,}"


@dataclass(frozen=True)
class RatePair:
    """The second group's rate less the first's: interval, two-sided p-value, and p corrected for all pairs (Holm)."""

    first: str
    second: str
    difference: float | None
    low: float
    high: float
    p_value: float
    adjusted: float


@dataclass(frozen=True)
class RateTest:
    """Rates of groups and their differences, in the groups' sorted order.

    `measure` says of what: "decision rate" (benchmark test) or "hit rate" (outcome test). `burden`: decision 1 is bad
    for the person decided on (a search), not good (a loan). `clusters` are the numbers of clusters, one or two ways.
    `unseen` counts decisions that were left out because their outcome was not seen.
    """

    measure: Literal["decision rate", "hit rate"]
    rates: tuple[Rate, ...]
    pairs: tuple[RatePair, ...]
    level: float
    burden: bool
    clusters: tuple[int, ...] = ()
    unseen: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        return asdict(self) | {"clusters": list(self.clusters)}

    def __str__(self) -> str:
        name = "benchmark test" if self.measure == "decision rate" else "outcome test"
        lines = [f"{name} ({self.measure}s, {self.level:.0%})"]
        lines += [f"  {rate}" for rate in self.rates]
        lines += [f"  {self._pair(pair)}" for pair in self.pairs]
        lines += [f"  {self.unseen:,} decided 1 left out, since their outcome was not seen"] if self.unseen else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _pair(self, pair: RatePair) -> str:
        if pair.difference is None:
            return f"{pair.second} less {pair.first}: not known"
        text = (
            f"{pair.second} less {pair.first}: {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}], "
            + chance(pair.adjusted)
        )
        if pair.adjusted > 1.0 - self.level:
            return f"{text}; no difference shown"
        upward = (pair.difference > 0.0) == (self.measure == "decision rate")
        lower, higher = (pair.second, pair.first) if upward else (pair.first, pair.second)
        return f"{text}; at face value {harsher(lower, higher, self.burden)}"


@dataclass(frozen=True)
class HybridPair:
    """What both tests agree on: `lower` has the lower threshold, or None where they leave it open.

    `p_value`: the larger of both tests' one-sided p-values, in the better direction; `adjusted`: corrected for pairs.
    """

    first: str
    second: str
    lower: str | None
    p_value: float
    adjusted: float
    text: str


@dataclass(frozen=True)
class HybridTest:
    """The hybrid test of every pair of groups; `assumption` is what must be true for its conclusions."""

    pairs: tuple[HybridPair, ...]
    level: float
    burden: bool
    assumption: str = ASSUMPTION

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        lines = ["hybrid test (benchmark and outcome test together)", *(f"  {pair.text}" for pair in self.pairs)]
        return "\n".join([*lines, f"  assumed: {self.assumption}"])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def benchmark_test(
    decisions: ArrayLike,
    group: ArrayLike,
    clusters: tuple[NDArray, ...] = (),
    level: float = 0.95,
    *,
    burden: bool = True,
) -> RateTest:
    """How often each group is decided 1, and how the groups differ.

    `decisions` (n,) 0/1, `group` (n,) labels, `clusters`: none, one or two arrays (n,) of labels: decisions that share
    a label (a person; a case) are not taken as independent (two ways: Cameron, Gelbach and Miller 2011). Raises
    ValueError for other decisions, other lengths, fewer than two groups, or a level outside (0, 1).
    """
    values = zero_one(decisions, "decisions")
    codes, names = _coded(group, len(values))
    return _rate_test("decision rate", values, codes, names, _checked(clusters, len(values)), level, burden, 0)


def outcome_test(
    decisions: ArrayLike,
    outcomes: ArrayLike,
    group: ArrayLike,
    clusters: tuple[NDArray, ...] = (),
    level: float = 0.95,
    *,
    burden: bool = True,
) -> RateTest:
    """How often the outcome is 1 among those decided 1, and how the groups differ.

    `outcomes` (n,) 0/1, NaN where unseen: decisions 1 with unseen outcomes are left out and counted. The rest as in
    `benchmark_test`. A group without any has no rate, and its pairs no difference.
    """
    values = zero_one(decisions, "decisions")
    results = zero_one(outcomes, "outcomes", unseen=True)
    if len(results) != len(values):
        raise ValueError(f"{len(results)} outcomes for {len(values)} decisions: give one each, NaN where unseen")
    codes, names = _coded(group, len(values))
    decided, seen = values == 1.0, ~np.isnan(results)
    kept = decided & seen
    ways = tuple(way[kept] for way in _checked(clusters, len(values)))
    unseen = int((decided & ~seen).sum())
    return _rate_test("hit rate", results[kept], codes[kept], names, ways, level, burden, unseen)


def hybrid_test(benchmark: RateTest, outcome: RateTest) -> HybridTest:
    """Concludes for a pair only where both tests, one-sided at the same level, point to the same group.

    Raises ValueError unless the first is a benchmark test, the second an outcome test, of the same groups.
    """
    if (benchmark.measure, outcome.measure) != ("decision rate", "hit rate"):
        raise ValueError(f"a {benchmark.measure} and a {outcome.measure}: give a benchmark test, then an outcome test")
    if [rate.name for rate in benchmark.rates] != [rate.name for rate in outcome.rates]:
        raise ValueError("the benchmark test and the outcome test have different groups: make both of the same data")
    second = np.array([_upward(pair) for pair in benchmark.pairs])  # evidence that the second is decided 1 more often
    fewer = np.array([1.0 - _upward(pair) for pair in outcome.pairs])  # ... and that it has fewer hits
    down, up = np.maximum(second, fewer), np.maximum(1.0 - second, 1.0 - fewer)
    raw = np.minimum(down, up)
    adjusted, alpha = holm(raw), 1.0 - benchmark.level
    pairs = []
    for index, pair in enumerate(benchmark.pairs):
        lower, higher = (pair.second, pair.first) if down[index] < up[index] else (pair.first, pair.second)
        concluded = bool(adjusted[index] <= alpha)
        text = f"{pair.first} and {pair.second}: " + (
            f"{harsher(lower, higher, benchmark.burden)} (lower threshold for {lower}), {chance(adjusted[index])}"
            if concluded
            else "inconclusive, since the tests do not agree"
        )
        named = lower if concluded else None
        pairs.append(HybridPair(pair.first, pair.second, named, float(raw[index]), float(adjusted[index]), text))
    return HybridTest(tuple(pairs), benchmark.level, benchmark.burden)


def group_metrics(decisions: ArrayLike, outcomes: ArrayLike, group: ArrayLike) -> dict[str, dict[str, float]]:
    """Rates of each group by fairlearn's `MetricFrame`: {group: {metric: value}}.

    "selection rate" is over all decisions; "true positive rate", "false positive rate" and "false negative rate" over
    those whose outcome was seen. They are left out for a group without outcomes of that kind, and for one whose
    outcomes were seen after decision 1 only, where they say nothing. Raises ValueError as `outcome_test` does, and
    where fairlearn is not installed.
    """
    try:
        from fairlearn import metrics
    except ImportError as error:
        raise ValueError('fairlearn is not installed: pip install "demonstrably[decisions]"') from error
    values, results = zero_one(decisions, "decisions"), zero_one(outcomes, "outcomes", unseen=True)
    codes, names = _coded(group, len(values))
    # Equal rows together, weighted by their number: fairlearn takes many seconds for a million.
    state = np.where(np.isnan(results), 0, results + 1).astype(int)
    numbers = np.bincount(codes * 6 + values.astype(int) * 3 + state)
    cells = np.flatnonzero(numbers)
    codes, values, results, numbers = cells // 6, cells // 3 % 2, cells % 3 - 1, numbers[cells]
    told = np.isin(codes, codes[(values == 0) & (results >= 0)])  # outcomes seen after decision 0, too
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for name, metric, kept in (
        ("selection rate", metrics.selection_rate, results >= -1),
        ("true positive rate", metrics.true_positive_rate, told & (results == 1)),
        ("false positive rate", metrics.false_positive_rate, told & (results == 0)),
        ("false negative rate", metrics.false_negative_rate, told & (results == 1)),
    ):
        if kept.any():
            frame = metrics.MetricFrame(
                metrics=metric, y_true=np.maximum(results[kept], 0), y_pred=values[kept],
                sensitive_features=codes[kept], sample_params={"sample_weight": numbers[kept]},
            )  # fmt: skip
            for code, value in zip(np.unique(codes[kept]), np.asarray(frame.by_group, dtype=float), strict=True):
                found[names[code]][name] = float(value)
    return found


def harsher(lower: str, higher: str, burden: bool) -> str:
    """What it means that one group has the lower threshold: harsh where decision 1 is a burden, else lenient."""
    harsh, lenient = (lower, higher) if burden else (higher, lower)
    return f"{harsh} is treated more harshly than {lenient}"


def chance(p_value: float) -> str:
    """ "p = 0.03", or "p < 1e-10" where it is too small to be told."""
    return "p < 1e-10" if p_value < 1e-10 else f"p = {p_value:.2g}"


def zero_one(values: ArrayLike, what: str, unseen: bool = False) -> Float[np.ndarray, "n"]:
    """The values as floats (n,), checked to be 0 or 1 (or NaN, where that may be unseen)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{what} have shape {array.shape}: give one row of 0 and 1")
    wrong = ~np.isin(array, (0.0, 1.0)) & ~(np.isnan(array) & unseen)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        allowed = "0, 1 or NaN (unseen)" if unseen else "0 or 1"
        raise ValueError(f"{what} hold {array[row]:g} in row {row}: they must be {allowed}")
    return array


def _rate_test(
    measure: Literal["decision rate", "hit rate"],
    values: Float[np.ndarray, "n"],
    codes: Int[np.ndarray, "n"],
    names: tuple[str, ...],
    clusters: tuple[NDArray, ...],
    level: float,
    burden: bool,
    unseen: int,
) -> RateTest:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: give a confidence level between 0 and 1, such as 0.95")
    spread = spread_of(values, codes, len(names), clusters)
    low, high = spread.limits(np.array(1.0 - level))
    rates = tuple(
        Rate(name, int(count), int(total), float(count / total) if total else None, float(bottom), float(top))
        for name, count, total, bottom, top in zip(names, spread.counts, spread.totals, low, high, strict=True)
    )
    index = np.array(list(combinations(range(len(names)), 2)))
    bottom, top = spread.differences(index, np.full(len(index), 1.0 - level))
    chances = p_values(spread, index)
    adjusted = holm(chances)
    pairs = []
    for row, (first, second) in enumerate(index):
        one, other = rates[first].rate, rates[second].rate
        apart = None if one is None or other is None else other - one
        ends = float(bottom[row]), float(top[row])
        pairs.append(RatePair(names[first], names[second], apart, *ends, float(chances[row]), float(adjusted[row])))
    return RateTest(measure, rates, tuple(pairs), level, burden, spread.clusters, unseen)


def _upward(pair: RatePair) -> float:
    """One-sided p-value against "the second group's rate is not above the first's"."""
    if pair.difference is None:
        return 0.5
    return pair.p_value / 2.0 if pair.difference > 0.0 else 1.0 - pair.p_value / 2.0


def _coded(group: ArrayLike, rows: int) -> tuple[Int[np.ndarray, "n"], tuple[str, ...]]:
    labels = np.asarray(group)
    if labels.shape != (rows,):
        raise ValueError(f"group has shape {labels.shape} for {rows} decisions: give one label each")
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"one group only ({names[0]}): a comparison needs at least two")
    return codes, tuple(str(name) for name in names)


def _checked(clusters: tuple[NDArray, ...], rows: int) -> tuple[NDArray, ...]:
    if len(clusters) > 2:
        raise ValueError(f"clusters of {len(clusters)} ways: give none, one or two")
    for way in clusters:
        if np.asarray(way).shape != (rows,):
            raise ValueError(f"clusters have shape {np.asarray(way).shape} for {rows} decisions: give one label each")
    return clusters
