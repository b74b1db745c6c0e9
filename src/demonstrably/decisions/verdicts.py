"""What an audit concludes of each pair of groups, and of all."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from demonstrably.decisions import rate_intervals
from demonstrably.decisions.auditing import GroupAudit, Measure, PairAudit, Verdict
from demonstrably.decisions.conditional import Conditional
from demonstrably.decisions.crossing import GroupCosts, equality_test
from demonstrably.decisions.readings import NONE, Evidence

OWN, SHARED, RECORDS = "cost", "shared cost", "equal records"
TOLD = 3  # pairs that the statement names; all are in `pairs`


def pairs_of(
    evidence: Evidence, groups: Sequence[GroupAudit], conditional: Conditional | None, level: float
) -> tuple[PairAudit, ...]:
    """Every pair of groups, its p-values corrected for their number (Holm 1979)."""
    pairs = [_pair(evidence, groups, conditional, pair, level) for pair in combinations(range(len(groups)), 2)]
    corrected = holm([pair.p_value for pair in pairs])
    columns = {name: holm([pair.p_values.get(name, math.nan) for pair in pairs]) for name in (OWN, SHARED, RECORDS)}
    return tuple(
        _concluded(replace(pair, p_value=p_value), {name: columns[name][index] for name in pair.p_values}, level)
        for index, (pair, p_value) in enumerate(zip(pairs, corrected, strict=True))
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979); NaN stays and does not count."""
    corrected = np.array(p_values, float)
    known = ~np.isnan(corrected)
    corrected[known] = rate_intervals.holm(corrected[known])
    return corrected.tolist()


def _pair(
    evidence: Evidence,
    groups: Sequence[GroupAudit],
    conditional: Conditional | None,
    pair: tuple[int, int],
    level: float,
) -> PairAudit:
    """One pair with its readings; its p-value is the largest, 1 where their directions differ or one is impossible."""
    first, second = (groups[index] for index in pair)
    reason = first.reason or second.reason
    if reason or evidence.costs is None:
        unstated = first if first.reason else second
        text = f"not identified: no cost is stated for {unstated.name}"
        return PairAudit(first.name, second.name, NONE, {}, math.nan, "not identified", text)
    readings = {OWN: _compared(evidence.costs, pair)}
    if evidence.shared is not None:
        readings[SHARED] = _compared(evidence.shared, pair)
    if conditional is not None:
        effect, p_value = conditional.between(first.name, second.name)
        readings[RECORDS] = (-effect, p_value)  # who is decided 1 more readily meets the lower cost
    alike = len({np.sign(effect) for effect, _ in readings.values()}) == 1
    p_values = {name: p_value for name, (_, p_value) in readings.items()}
    p_value = 1.0 if not alike or math.isnan(p_values.get(RECORDS, 1.0)) else max(p_values.values())
    if evidence.unguarded and _misses(first) + _misses(second):
        p_value, p_values[RECORDS] = 1.0, math.nan  # there are no equal records
    measured = _difference(evidence.costs, pair, level)
    return PairAudit(first.name, second.name, measured, p_values, p_value, "no difference", "")


def _misses(group: GroupAudit) -> int:
    """Decisions that the best rule misses."""
    return 0 if group.disagreement is None else group.disagreement.count


def _compared(costs: GroupCosts, pair: tuple[int, int]) -> tuple[float, float]:
    """Second less first on the scale of log-odds, and the p-value of their equality; 0 and 1 where one is unstated."""
    both = list(pair)
    chosen = GroupCosts(
        costs.logit[both],
        costs.covariance[np.ix_(both, both)],
        costs.degrees[both],
        tuple(costs.noise[index] for index in pair),
        costs.counts[both],
        tuple(costs.reasons[index] for index in pair),
    )
    if np.isnan(chosen.logit).any():
        return 0.0, 1.0
    return float(chosen.logit[1] - chosen.logit[0]), equality_test(chosen)


def _difference(costs: GroupCosts, pair: tuple[int, int], level: float) -> Measure:
    """Eq. 1: the difference d = c2 - c1 of two costs with intervals (l, u), and correlation r of their errors:

    [d - |(c2 - l2, u1 - c1)|, d + |(u2 - c2, c1 - l1)|],  |(x, y)|^2 = x^2 - 2 r x y + y^2  (Zou and Donner 2008).
    """
    cost, ends = costs.cost[list(pair)], costs.intervals(level)[list(pair)]
    covariance = costs.covariance[np.ix_(pair, pair)]
    correlation = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    apart = float(cost[1] - cost[0])

    def reach(second: float, first: float) -> float:
        return math.sqrt(max(second**2 - 2.0 * correlation * second * first + first**2, 0.0))

    down = reach(cost[1] - ends[1, 0], ends[0, 1] - cost[0])
    up = reach(ends[1, 1] - cost[1], cost[0] - ends[0, 0])
    return Measure(apart, apart - down, apart + up)


def _concluded(pair: PairAudit, corrected: dict[str, float], level: float) -> PairAudit:
    """The pair with its verdict and words; `corrected` are its readings' p-values, each corrected for the pairs."""
    if math.isnan(pair.p_value):
        return pair
    costs = f"costs differ by {pair.difference}"
    significant = {name: p_value < 1.0 - level for name, p_value in corrected.items()}
    if pair.p_value < 1.0 - level:
        lower = pair.second if pair.difference.point < 0.0 else pair.first
        text = f"{costs}: {lower} meets the lower one, decided 1 at a smaller chance (p = {pair.p_value:.2g})"
        return replace(pair, verdict="difference", text=text)
    why = _unclear(significant, math.isnan(corrected.get(RECORDS, 1.0)))
    if why:
        return replace(pair, verdict="not identified", text=f"{costs}, {why}")
    most = max(abs(pair.difference.low), abs(pair.difference.high))
    alone = pair.p_values[OWN] < 1.0 - level and not significant[OWN]
    chance = ", which may be chance among so many pairs" if alone else ""
    text = f"no difference found; {costs}{chance}, so a difference of up to {most:.3f} is not excluded"
    return replace(pair, verdict="no difference", text=text)


def _unclear(significant: dict[str, bool], told: bool) -> str:
    """Why the readings of a pair that is not found to differ leave it open, "" where they do not."""
    own, shared = significant[OWN], significant.get(SHARED, significant[OWN])
    if own != shared:
        first = "more than chance" if own else "which may be chance"
        other = "they are not shown to differ" if own else "they differ by more than chance"
        return (
            f"{first}, if the posterior is read within each group; read as one for all, {other}: it depends on what "
            "the decision maker knows"
        )
    if own and told:
        return "but there are no equal records to be compared, which could tell what else decisions go by"
    if own and not significant.get(RECORDS, True):
        return "and yet equal records are treated alike: the record goes with the group"
    if own:
        return "but the readings differ in direction, or not all are clear after correction for the number of pairs"
    if significant.get(RECORDS, False):
        return "which may be chance, and yet equal records are not treated alike"
    return ""


def overall(groups: Sequence[GroupAudit], pairs: Sequence[PairAudit], why: str) -> tuple[Verdict, str]:
    """The audit's verdict, and why."""
    differing = [pair for pair in pairs if pair.verdict == "difference"]
    if differing:
        told = "; ".join(_listed(differing))
        checked = any(RECORDS in pair.p_values for pair in differing)
        how = "however the data are read" if checked else "if decisions go by this posterior and nothing else"
        return "difference", f"groups meet different costs, {how}. {told}"
    if why:
        return "not identified", f"{why}; the older tests below compare rates, and rates do not tell costs"
    silent = [f"{group.name}: {group.reason}" for group in groups if group.reason]
    unclear = [pair for pair in pairs if pair.verdict == "not identified" and not math.isnan(pair.p_value)]
    if silent or unclear:
        alike = sum(pair.verdict == "no difference" for pair in pairs)
        told = [f"{alike} of {len(pairs)} pairs of groups show no difference"] if alike else []
        told += _listed(unclear)
        told += [f"no cost is stated where the model does not fit. {'; '.join(silent)}"] if silent else []
        return "not identified", "; ".join(told)
    most = max(max(abs(pair.difference.low), abs(pair.difference.high)) for pair in pairs)
    return "no difference", f"the costs agree within their error; differences of up to {most:.3f} are not excluded"


def _listed(pairs: Sequence[PairAudit]) -> list[str]:
    """The first pairs in words, and how many more there are."""
    told = [f"{pair.first} and {pair.second}: {pair.text}" for pair in pairs[:TOLD]]
    more = len(pairs) - TOLD
    return told + ([f"and {more} more {'pair' if more == 1 else 'pairs'}"] if more > 0 else [])
