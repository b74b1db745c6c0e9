"""Infra-marginality: why groups held to one threshold still differ in hit rates, shown on a user's own posteriors.

Decide 1 where the risk p is at least a threshold t. A group's decision rate and hit rate are means over its whole tail:

Eq. 1: decision rate = P(p >= t)
Eq. 2: hit rate = E[p | p >= t]

so they depend on how risks lie beyond t, not on t alone (Simoiu, Corbett-Davies and Goel 2017, Annals of Applied
Statistics 11(3)). Equal thresholds can give different hit rates, and different thresholds equal ones.
"""

import html
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.optimize import root_scalar
from scipy.special import betaincc

from demonstrably.decisions.disagreement import least_disagreement
from demonstrably.decisions.posterior import Posterior
from demonstrably.decisions.rates import zero_one


@dataclass(frozen=True)
class GroupMargin:
    """One group under the pooled cost and as it was decided.

    `decision_rate` and `hit_rate` are what was decided (hits expected by the posterior); the same with `same_`: what
    would be if every group met the pooled cost. `equal_hits` is the cost at which the group would have the reference
    group's hit rate (at the pooled cost); None where no cost does. Rates of nobody are None.
    """

    name: str
    decisions: int
    decision_rate: float
    hit_rate: float | None
    same_decision_rate: float
    same_hit_rate: float | None
    equal_hits: float | None


@dataclass(frozen=True)
class Inframarginality:
    """Rates at the same `cost` for every group. `reference` is the largest group; `text` says it in words.

    `share`, a number a group: which part of the observed hit rate's gap to the reference arises at the same cost, from
    the risk distributions alone; None for the reference and where there is no gap.
    """

    cost: float
    reference: str
    groups: tuple[GroupMargin, ...]
    share: tuple[float | None, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def beta_decision_rate(first: float, second: float, threshold: float) -> float:
    """Eq. 1 for risks Beta(first, second)."""
    return float(betaincc(first, second, threshold))


def beta_hit_rate(first: float, second: float, threshold: float) -> float:
    """Eq. 2 for risks Beta(first, second): the mean, times the tails' ratio of Beta(first + 1, second) to it."""
    ratio = betaincc(first + 1.0, second, threshold) / betaincc(first, second, threshold)
    return float(first / (first + second) * ratio)


def beta_threshold(first: float, second: float, hit_rate: float) -> float:
    """The threshold at which risks Beta(first, second) have this hit rate, which must lie above their mean."""
    mean = first / (first + second)
    if not mean < hit_rate < 1.0:
        raise ValueError(f"hit rate {hit_rate:g}: thresholds give hit rates above the mean {mean:.4g} and below 1")
    found = root_scalar(lambda at: beta_hit_rate(first, second, at) - hit_rate, bracket=(1e-12, 1.0 - 1e-6), xtol=1e-12)
    return float(found.root)


def inframarginality(posterior: Posterior | ArrayLike, decisions: ArrayLike, group: ArrayLike) -> Inframarginality:
    """What each group's rates would be if all met the same cost, and how much of the hit rates' gap that leaves.

    `posterior`: a `Posterior`, or probabilities (n,) in [0, 1]; `decisions` (n,) 0/1; `group` (n,) labels. The same
    cost is the pooled one of least disagreement. Hits are expected ones, by the posterior. Raises ValueError for
    lengths that differ, other values, or one group only.
    """
    risk = posterior.probability if isinstance(posterior, Posterior) else np.asarray(posterior, dtype=np.float64)
    values, labels = zero_one(decisions, "decisions"), np.asarray(group)
    if not len(risk) == len(values) == len(labels):
        raise ValueError(f"{len(risk)} posteriors, {len(values)} decisions, {len(labels)} groups: give one each")
    if not np.all((risk >= 0.0) & (risk <= 1.0)):
        raise ValueError(f"posteriors from {risk.min():g} to {risk.max():g}: give probabilities in [0, 1]")
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"one group only ({names[0]}): a comparison needs at least two")
    cost = least_disagreement(values, risk).cost
    largest = int(np.bincount(codes).argmax())
    aim = _mean(risk[(codes == largest) & (risk >= cost)])
    groups = tuple(_margin(str(name), risk[codes == code], values[codes == code], cost, aim) for code, name in
                   enumerate(names))  # fmt: skip
    reference = groups[largest]
    share = tuple(None if one is reference else _share(one, reference) for one in groups)
    return Inframarginality(cost, reference.name, groups, share, _words(cost, reference, groups, share))


def _margin(
    name: str, risk: Float[np.ndarray, "n"], decisions: Float[np.ndarray, "n"], cost: float, aim: float | None
) -> GroupMargin:
    above = risk >= cost
    equal = None if aim is None else equal_hit_cost(risk, aim)
    return GroupMargin(
        name,
        len(risk),
        float(decisions.mean()),
        _mean(risk[decisions == 1.0]),
        float(above.mean()),
        _mean(risk[above]),
        equal,
    )


def equal_hit_cost(risk: Float[np.ndarray, "n"], hit_rate: float) -> float | None:
    """The cost at which those with risk at or above it have this mean risk, as nearly as the sample allows.

    None where the hit rate lies outside what any cost in (0, 1) gives: from the mean risk to the largest risk.
    """
    falling = np.sort(risk)[::-1]
    means = falling.cumsum() / np.arange(1, len(falling) + 1)  # falls as more are decided 1
    if not means[-1] <= hit_rate <= means[0]:
        return None
    last: Int[np.ndarray, ""] = np.flatnonzero(means >= hit_rate)[-1]
    return float(falling[last])


def _mean(values: Float[np.ndarray, "n"]) -> float | None:
    return float(values.mean()) if len(values) else None


def _share(one: GroupMargin, reference: GroupMargin) -> float | None:
    rates = (one.hit_rate, reference.hit_rate, one.same_hit_rate, reference.same_hit_rate)
    if any(rate is None for rate in rates):
        return None
    hit, other, same, same_other = (rate or 0.0 for rate in rates)
    return (same - same_other) / (hit - other) if hit != other else None


def _words(
    cost: float, reference: GroupMargin, groups: tuple[GroupMargin, ...], share: tuple[float | None, ...]
) -> str:
    heading = f"if every group met the same cost, {cost:.3f}, the groups would still differ"
    lines = [f"{heading} (hits as the posterior has them):"]
    for one in groups:
        lines.append(
            f"  {one.name}: decided 1 {one.same_decision_rate:.3f} of the time (as it was, {one.decision_rate:.3f}), "
            f"hit rate {_rate(one.same_hit_rate)} (as it was, {_rate(one.hit_rate)})"
        )
    for one, part in zip(groups, share, strict=True):
        if one is reference:
            continue
        if part is not None and one.hit_rate is not None and reference.hit_rate is not None:
            gap = one.hit_rate - reference.hit_rate
            lines.append(
                f"  the hit rate of {one.name} less that of {reference.name} is {gap:+.3f}; the risk distributions "
                f"alone make it {gap * part:+.3f}"
            )
        wanted = "no cost" if one.equal_hits is None else f"the cost {one.equal_hits:.3f} instead of {cost:.3f}"
        lines.append(f"  with {wanted}, {one.name} would have the hit rate of {reference.name}")
    lines.append("  so a gap in hit rates is no evidence of different costs, nor its absence of equal ones")
    return "\n".join(lines)


def _rate(value: float | None) -> str:
    return "of nobody" if value is None else f"{value:.3f}"
