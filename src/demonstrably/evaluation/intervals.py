"""Intervals for success rates and returns, and the score record that carries them.

Two kinds, not to be mixed up:

- fixed number of episodes, decided beforehand: `rate_interval` (successes), `bounded_interval` (scores in
  [0, 1]), `return_interval` (unbounded returns);
- valid at every number of episodes at once, so that one may look and stop: `rate_sequence`,
  `bounded_sequence`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import root_scalar
from scipy.special import betaincinv, betaln, stdtrit, xlogy

from demonstrably.evaluation.sequential import Numbers, mean_test

_STEPS = 40  # halvings of [0, 1]: an error of 1e-12
_SMALLEST = 1e-9  # a mean that stands for 0, where ratios to it would be infinite


@dataclass(frozen=True)
class Measured:
    """A mean with its interval. ``count`` is the number of successes, None for a return."""

    mean: float
    low: float
    high: float
    episodes: int
    count: int | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """JSON shape of a score; an unbounded end is null."""
        counted: dict[str, float | int | None] = {} if self.count is None else {"count": self.count}
        return {
            "mean": self.mean,
            "low": _finite(self.low),
            "high": _finite(self.high),
            **counted,
            "episodes": self.episodes,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Measured":
        """Inverse of ``to_dict``."""
        low, high = record["low"], record["high"]
        return Measured(
            record["mean"],
            -math.inf if low is None else low,
            math.inf if high is None else high,
            record["episodes"],
            record.get("count"),
        )

    def __str__(self) -> str:
        if self.count is not None:
            return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}], {self.count}/{self.episodes}"
        if self.low == self.high:  # equal returns say nothing of how far off their mean is
            return f"{self.mean:.4g} (no spread), {self.episodes} episodes"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}], {self.episodes} episodes"


@dataclass(frozen=True)
class Spread:
    """Standard deviation between the members' means; None for success where there is no signal.

    It holds the members' true differences and the noise of their episodes together.
    """

    success: float | None
    returns: float


@dataclass(frozen=True)
class Score:
    """How good a policy is: success (None without a signal), return, and the same for each member.

    With several members, ``success`` and ``returns`` are their average: a statement about these trained
    members over the environment's episodes, not about the training procedure. Between members see ``spread``.
    """

    success: Measured | None
    returns: Measured
    members: tuple["Score", ...] = ()
    spread: Spread | None = None
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """The one JSON shape of scores."""
        spread = None if self.spread is None else {"success": self.spread.success, "return": self.spread.returns}
        return {
            **_pair(self),
            "members": [_pair(member) for member in self.members],
            "spread": spread,
            "level": self.level,
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Score":
        """Inverse of ``to_dict``."""
        level, spread = record["level"], record["spread"]
        members = tuple(_unpair(member, level) for member in record["members"])
        read = None if spread is None else Spread(spread["success"], spread["return"])
        whole = _unpair(record, level)
        return Score(whole.success, whole.returns, members, read, level)

    def __str__(self) -> str:
        lines = [] if self.success is None else [f"success {self.success}"]
        lines.append(f"return {self.returns}")
        if self.spread is not None:
            apart = self.spread.returns if self.spread.success is None else self.spread.success
            means = [m.returns.mean if m.success is None else m.success.mean for m in self.members]
            lines.append(f"{len(means)} members from {min(means):.4g} to {max(means):.4g}, deviation {apart:.2g}")
        return "\n".join(lines)


def rate_interval(count: int, episodes: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval for a success rate after a number of episodes fixed beforehand.

    Chosen over Wilson's because it never covers less than its level. Wilson's covers too little for rates
    near 0 and 1, and near 1 is where a selected policy ends up.
    """
    _check_level(level)
    if not 0 <= count <= episodes or episodes < 1:
        raise ValueError(f"{count} successes in {episodes} episodes: need 0 <= count <= episodes and 1 <= episodes")
    tail = (1.0 - level) / 2.0
    low = betaincinv(count, episodes - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, episodes - count, 1.0 - tail) if count < episodes else 1.0
    return float(low), float(high)


def bounded_interval(scores: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Interval for the mean of independent scores in [0, 1], their number fixed beforehand.

    The hedged capital interval of Waudby-Smith and Ramdas (arXiv 2010.09686, section 4): no assumption on the
    distribution, stakes tuned to this number. ``scores``: (n,), in the order in which they were drawn.
    """
    values = _bounded(scores, level)
    needed = math.log(2.0 / (1.0 - level))
    stakes = _predictable_stakes(values, needed)

    def excess(flipped: NDArray[np.float64], mean: float) -> float:
        bet = np.minimum(stakes, 0.75 / mean)
        return float(np.log1p(bet * (flipped - mean)).cumsum().max()) - needed

    return _ends(values, excess)


def bounded_sequence(scores: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Confidence sequence for the mean of scores in [0, 1]: the interval after the last of them.

    Valid at all numbers of episodes at once. An end is where the mixed stakes of `sequential` first reached
    2 / (1 - level), so that it agrees with `sequential.betting_test`: differences d are scores (d + 1) / 2.
    """
    values = _bounded(scores, level)
    needed = math.log(2.0 / (1.0 - level))
    return _ends(values, lambda flipped, mean: float(mean_test(flipped, mean).max()) - needed)


def rate_sequence(
    counts: Numbers, episodes: Numbers, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidence sequence for success rates: (low, high), each of the shape of ``counts``.

    Robbins' mixture: the rates p with Beta(1/2, 1/2)-averaged likelihood below 1 / (1 - level) times the
    likelihood of p. Valid at every number of episodes at once.
    """
    _check_level(level)
    k, n = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(episodes, np.float64))
    if np.any((k < 0) | (k > n)):
        raise ValueError("a rate needs 0 <= count <= episodes")
    reached = betaln(k + 0.5, n - k + 0.5) - math.log(math.pi) + math.log(1.0 - level)
    best = np.divide(k, n, out=np.full(k.shape, 0.5), where=n > 0)

    def end(outside: float) -> NDArray[np.float64]:
        inside, out = best.copy(), np.full(k.shape, outside)
        for _ in range(_STEPS):
            middle = (inside + out) / 2.0
            kept = xlogy(k, middle) + xlogy(n - k, 1.0 - middle) > reached
            inside, out = np.where(kept, middle, inside), np.where(kept, out, middle)
        return out

    return end(0.0), end(1.0)


def return_interval(returns: Numbers, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval for the mean of unbounded returns, their number fixed beforehand.

    Approximate, as every interval without bounds must be: it leans on the central limit theorem and is too
    narrow for few, very skewed returns. One return gives an unbounded interval, equal returns one of width 0.
    """
    _check_level(level)
    values = np.asarray(returns, dtype=np.float64)
    if len(values) < 2:
        return -math.inf, math.inf
    mean, half = values.mean(), stdtrit(len(values) - 1, (1.0 + level) / 2.0) * values.std(ddof=1)
    half = half / math.sqrt(len(values))
    return float(mean - half), float(mean + half)


def score_of(table: pa.Table, level: float = 0.95) -> Score:
    """Score of a table with one row an episode: member, seed, return, success (null without a signal).

    One member: Clopper-Pearson for success, Student's t for return. Several members: they share seeds, so
    their episodes are not independent; each seed's mean over the members is one observation, and the interval
    is `bounded_interval` or Student's t over those. They are taken over the seeds that all members played.
    A seed played twice by a member counts once. The number of episodes is taken as fixed beforehand.

    Raises ValueError for an empty table, several checkpoints, success missing in part, no common seed.
    """
    _check_table(table)
    values = {name: table.column(name).to_numpy() for name in ("member", "seed", "return")}
    success = _successes(table)
    members = np.unique(values["member"]).tolist()
    seeds = [np.unique(values["seed"][values["member"] == member]) for member in members]
    columns = [values["return"].astype(np.float64)] + ([] if success is None else [success])

    def of(member: int, seeds: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        rows = np.flatnonzero(values["member"] == member)
        first = np.unique(values["seed"][rows], return_index=True)  # sorted seeds, first row of each
        kept = rows[first[1][np.isin(first[0], seeds)]]
        return [column[kept] for column in columns]

    each = tuple(_score(of(m, s), level) for m, s in zip(members, seeds, strict=True))
    if len(members) == 1:
        return each[0]
    common = seeds[0][np.all([np.isin(seeds[0], s) for s in seeds], axis=0)]
    if not len(common):
        raise ValueError("the members share no seed: play the same seeds with each, or score them one by one")
    return _pooled([np.stack(x) for x in zip(*(of(m, common) for m in members), strict=True)], each, level)


def _score(columns: list[NDArray[np.float64]], level: float) -> Score:
    """Score of one member from its columns: returns, then success if there is any."""
    returns = Measured(float(columns[0].mean()), *return_interval(columns[0], level), len(columns[0]))
    if len(columns) == 1:
        return Score(None, returns, level=level)
    count, episodes = int(columns[1].sum()), len(columns[1])
    success = Measured(count / episodes, *rate_interval(count, episodes, level), episodes, count)
    return Score(success, returns, level=level)


def _pooled(columns: list[NDArray[np.float64]], members: tuple[Score, ...], level: float) -> Score:
    """Score over members from (members, seeds) columns; a seed's mean over members is one observation."""
    averages = [column.mean(axis=0) for column in columns]
    deviations = [float(column.mean(axis=1).std(ddof=1)) for column in columns]
    interval = return_interval(averages[0], level)
    returns = Measured(float(columns[0].mean()), *interval, columns[0].size)
    if len(columns) == 1:
        return Score(None, returns, members, Spread(None, deviations[0]), level)
    interval, count = bounded_interval(averages[1], level), int(columns[1].sum())
    success = Measured(count / columns[1].size, *interval, columns[1].size, count)
    return Score(success, returns, members, Spread(deviations[1], deviations[0]), level)


def _predictable_stakes(values: NDArray[np.float64], needed: float) -> NDArray[np.float64]:
    """Stakes (n,) that each look only at the scores before: sqrt(2 log(2 / alpha) / (n variance))."""
    steps = np.arange(1, len(values) + 1)
    means = (0.5 + values.cumsum()) / (steps + 1)
    variances = (0.25 + ((values - means) ** 2).cumsum()) / (steps + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.sqrt(2.0 * needed / (len(values) * before))


def _ends(values: NDArray[np.float64], excess: Callable[[NDArray[np.float64], float], float]) -> tuple[float, float]:
    """Ends of the set of means that are not excluded: where the excess of evidence over what is needed is 0.

    The excess against "at most the mean" falls as the mean rises. The high end comes by mirroring.
    """

    def lower(flipped: NDArray[np.float64]) -> float:
        if excess(flipped, _SMALLEST) <= 0.0:
            return 0.0
        found = root_scalar(lambda mean: excess(flipped, mean), bracket=(_SMALLEST, 1.0), xtol=1e-10)
        return float(found.root)

    return lower(values), 1.0 - lower(1.0 - values)


def _bounded(scores: Numbers, level: float) -> NDArray[np.float64]:
    """Scores checked to be a row of at least one number in [0, 1]."""
    _check_level(level)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"scores have shape {values.shape}: give one row of at least one score")
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise ValueError(f"scores from {values.min():.4g} to {values.max():.4g}: rescale them to [0, 1]")
    return values


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: must be between 0 and 1, for instance 0.95")


def _check_table(table: pa.Table) -> None:
    missing = [name for name in ("member", "seed", "return", "success") if name not in table.column_names]
    if missing:
        raise ValueError(f"the episode table has no column {', '.join(missing)}: it has {table.column_names}")
    if not table.num_rows:
        raise ValueError("the episode table is empty: play at least one episode")
    if "checkpoint" in table.column_names and len(table.column("checkpoint").unique()) > 1:
        raise ValueError("the episode table holds several checkpoints: filter it to one")


def _successes(table: pa.Table) -> NDArray[np.float64] | None:
    """Success column as 0 and 1; None when no episode has one."""
    column = table.column("success")
    if column.null_count == len(column):
        return None
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} episodes have no success signal: score them apart")
    return column.to_numpy().astype(np.float64)


def _pair(score: Score) -> dict[str, Any]:
    success = None if score.success is None else score.success.to_dict()
    return {"success": success, "return": score.returns.to_dict()}


def _unpair(record: Mapping[str, Any], level: float) -> Score:
    success = None if record["success"] is None else Measured.from_dict(record["success"])
    return Score(success, Measured.from_dict(record["return"]), level=level)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
