"""Compare policies on the same seeds, with evidence that may be looked at after every seed."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.aggregate import iqm, probability_of_improvement, stratified_bootstrap_interval
from demonstrably.evaluation.intervals import Measured, bounded_sequence, rate_sequence
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.sequential import Numbers, betting_test, e_value, sign_test


@dataclass(frozen=True)
class Compared:
    """One policy: its mean score with an interval that holds at every number of seeds.

    ``across`` is the interquartile mean over members with a stratified bootstrap interval: about the training
    procedure. None with a single member.
    """

    name: str
    members: int
    mean: Measured
    across: Measured | None = None


@dataclass(frozen=True)
class Pair:
    """The first policy against the second, by index. Scores in [0, 1].

    ``difference`` (first minus second) lies in [``low``, ``high``]; with several pairs the intervals hold
    together. ``e_value`` is the evidence, now, against "equally good" (the louder direction, halved for
    having two); ``p_value`` is 1 / its largest value so far; ``adjusted`` is that after Holm's correction.
    ``better`` is the index of the better policy where ``adjusted`` is at most 1 - level, else None. ``wins``
    and ``losses`` count seeds on which the first did better or worse. ``improvement`` is the probability that
    a member of the first beats one of the second: about the training procedure; None with single members.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    e_value: float
    p_value: float
    adjusted: float
    better: int | None = None
    improvement: Measured | None = None


@dataclass(frozen=True)
class Comparison:
    """Policies, all pairs of them, and the number of shared seeds. Holds under continuous looking."""

    compared: tuple[Compared, ...]
    pairs: tuple[Pair, ...]
    seeds: int
    level: float
    scale: Scale = Scale()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record, with each pair's ``verdict`` in words."""
        record = asdict(self)
        for written, policy in zip(record["compared"], self.compared, strict=True):
            written["mean"] = policy.mean.to_dict()
            written["across"] = None if policy.across is None else policy.across.to_dict()
        for written, pair in zip(record["pairs"], self.pairs, strict=True):
            written["verdict"] = self.verdict(pair)
            written["improvement"] = None if pair.improvement is None else pair.improvement.to_dict()
        return record

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Comparison":
        """Inverse of ``to_dict``."""
        policies = tuple(
            Compared(p["name"], p["members"], Measured.from_dict(p["mean"]), _measured(p["across"]))
            for p in record["compared"]
        )
        pairs = tuple(
            Pair(
                **{
                    **{k: v for k, v in p.items() if k != "verdict"},
                    "improvement": _measured(p["improvement"]),
                }
            )
            for p in record["pairs"]
        )
        return Comparison(policies, pairs, record["seeds"], record["level"], Scale.from_dict(record["scale"]))

    def verdict(self, pair: Pair) -> str:
        """One line: who is better, by how much, and how sure that is."""
        names = [self.compared[index].name for index in (pair.first, pair.second)]
        text = self.scale.text
        effect = (
            f"{text(pair.difference, sign=True)} [{text(pair.low, sign=True)}, {text(pair.high, sign=True)}] "
            f"{self.scale.measure}, p = {pair.adjusted:.2g}"
        )
        if pair.better is None:
            return f"not separated: {names[0]} minus {names[1]} {effect}"
        best, other = names if pair.better == pair.first else names[::-1]
        return f"{best} is better than {other}: {names[0]} minus {names[1]} {effect}"

    def __str__(self) -> str:
        lines = [f"{self.scale.measure} on {self.seeds} shared seeds" + (self.scale.note and f"; {self.scale.note}")]
        lines += [f"  {row[0]}: {row[1]}" for row in self.table()]
        lines += [self.verdict(pair) for pair in self.pairs]
        lines.append("These are statements about these trained policies, over the episodes of the environment.")
        told = [(pair, pair.improvement) for pair in self.pairs if pair.improvement is not None]
        if told:
            lines.append("About training again, from the members (few, so only a hint):")
        lines += [
            f"  a member of {self.compared[pair.first].name} beats one of {self.compared[pair.second].name} "
            f"with probability {chance.mean:.2f} [{chance.low:.2f}, {chance.high:.2f}]"
            for pair, chance in told
        ]
        return "\n".join(lines)

    def table(self) -> list[tuple[str, str]]:
        """Rows of text, one a policy: name, mean with its interval."""
        text = self.scale.text
        rows = []
        for policy in self.compared:
            mean = policy.mean
            counted = "" if mean.count is None else f", {mean.count}/{mean.episodes}"
            spread = "" if policy.members == 1 else f", mean of {policy.members} members"
            rows.append((policy.name, f"{text(mean.mean)} [{text(mean.low)}, {text(mean.high)}]{counted}{spread}"))
        return rows

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in str(self).splitlines())


def compare(
    *scores: Numbers, names: Sequence[str] | None = None, level: float = 0.95, scale: Scale | None = None
) -> Comparison:
    """Compare two or more policies by their scores in [0, 1] on the same seeds.

    Each array is (seeds,) or (members, seeds); column i is the same seed everywhere, in the order in which
    the seeds were played. Seeds must be independent draws from the distribution of episodes that the
    statement is about, and not chosen after looking at outcomes on them. With several members the mean over
    members is compared, seed by seed: a statement about these trained members.

    Single members with successes: paired sign test. Otherwise: bets on the differences. Both directions are
    tested at half the error each. More than two policies: all pairs, Holm's correction on the anytime-valid
    p-values, which holds whatever the dependence between the pairs. (The e-values at hand would allow e-BH,
    but that bounds the false discovery rate only.) Intervals are then Bonferroni-corrected, so that they hold
    together. One may look after every seed, stop, and add seeds later.

    Raises ValueError for fewer than two arrays, different seeds, scores outside [0, 1].
    """
    arrays = [_array(array) for array in scores]
    names = [f"policy {index + 1}" for index in range(len(arrays))] if names is None else list(names)
    _check(arrays, names, level)
    among = list(combinations(range(len(arrays)), 2))
    shared = 1.0 - (1.0 - level) / len(among)
    pairs = [_pair(arrays, first, second, shared) for first, second in among]
    policies = tuple(_policy(array, name, level) for array, name in zip(arrays, names, strict=True))
    return Comparison(policies, _corrected(pairs, 1.0 - level), arrays[0].shape[1], level, scale or Scale())


def _pair(arrays: Sequence[NDArray[np.float64]], first: int, second: int, level: float) -> Pair:
    a, b = arrays[first], arrays[second]
    differences = a.mean(axis=0) - b.mean(axis=0)
    binary = _is_binary(a) and _is_binary(b)
    wins, losses = (differences > 0.0).cumsum(), (differences < 0.0).cumsum()
    if binary:
        paths = np.maximum(sign_test(wins, losses), sign_test(losses, wins))
    else:
        paths = np.maximum(betting_test(differences), betting_test(-differences))
    low, high = bounded_sequence((differences + 1.0) / 2.0, level)
    improvement = None
    if len(a) > 1 and len(b) > 1:
        runs = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
        improvement = stratified_bootstrap_interval(probability_of_improvement, *runs)
    p_value = min(1.0, 2.0 / float(e_value(paths.max())))
    return Pair(
        first,
        second,
        float(differences.mean()),
        2.0 * low - 1.0,
        2.0 * high - 1.0,
        int(wins[-1]),
        int(losses[-1]),
        float(e_value(paths[-1])) / 2.0,
        p_value,
        p_value,
        improvement=improvement,
    )


def _corrected(pairs: Sequence[Pair], error: float) -> tuple[Pair, ...]:
    """Pairs with Holm's correction and the better policy where there is one."""
    order = sorted(range(len(pairs)), key=lambda index: pairs[index].p_value)
    done, least = list(pairs), 0.0
    for rank, index in enumerate(order):
        pair = pairs[index]
        least = max(least, min(1.0, (len(pairs) - rank) * pair.p_value))
        better = pair.first if pair.difference > 0.0 else pair.second
        done[index] = replace(pair, adjusted=least, better=better if least <= error else None)
    return tuple(done)


def _policy(array: NDArray[np.float64], name: str, level: float) -> Compared:
    means, episodes = array.mean(axis=0), array.size
    if _is_binary(array):
        low, high = rate_sequence(array.sum(), episodes, level)
        return Compared(name, 1, Measured(float(array.mean()), float(low), float(high), episodes, int(array.sum())))
    mean = Measured(float(array.mean()), *bounded_sequence(means, level), episodes)
    if len(array) == 1:
        return Compared(name, 1, mean)
    across = stratified_bootstrap_interval(iqm, array.mean(axis=1, keepdims=True), level=level)
    return Compared(name, len(array), mean, across)


def _array(scores: Numbers) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    return values[None] if values.ndim == 1 else values


def _is_binary(array: NDArray[np.float64]) -> bool:
    """Successes of a single member."""
    return len(array) == 1 and bool(np.all((array == 0.0) | (array == 1.0)))


def _check(arrays: Sequence[NDArray[np.float64]], names: Sequence[str], level: float) -> None:
    if len(arrays) < 2:
        raise ValueError(f"{len(arrays)} policy to compare: give at least two")
    if len(names) != len(arrays):
        raise ValueError(f"{len(names)} names for {len(arrays)} policies: give one each")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: must be between 0 and 1, for instance 0.95")
    seeds = [array.shape[1] if array.ndim == 2 else -1 for array in arrays]
    if len(set(seeds)) > 1 or seeds[0] < 1:
        raise ValueError(f"shapes {[array.shape for array in arrays]}: give (members, seeds) on the same seeds")
    for array, name in zip(arrays, names, strict=True):
        if not np.all((array >= 0.0) & (array <= 1.0)):
            raise ValueError(f"scores of {name} from {array.min():.4g} to {array.max():.4g}: rescale them to [0, 1]")


def _measured(record: Mapping[str, Any] | None) -> Measured | None:
    return None if record is None else Measured.from_dict(record)
