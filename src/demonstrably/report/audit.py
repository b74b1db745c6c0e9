"""What an audit of decisions found, as one HTML file: the verdict, the costs, and the curves they were read from."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from demonstrably.decisions.auditing import Audit, Bins, GroupAudit, Measure
from demonstrably.decisions.rates import RateTest

from . import blocks
from .blocks import Section, Table
from .charts import Interval, Row, axis_cell, interval_cell
from .figures import Axis, Frame, Scale, band, dot, draw, line, scale_of, segment
from .pages import kept, rendered

COLORED = 8  # groups with a color of their own
VERDICTS = {
    "difference": "The groups meet different costs.",
    "no difference": "No difference of costs was found.",
    "not identified": "The data cannot tell whether the groups meet the same cost.",
}


def write_audit(found: Audit, name: str, out: str | Path) -> Path:
    """Writes the page. `name` is what the data are called.

    The file is replaced as a whole, or not at all. Raises OSError where it cannot be written.
    """
    return kept(page(found, name), out)


def page(found: Audit, name: str) -> str:
    """The whole page."""
    parts = [
        ("result", "What was found", _result(found)),
        ("pairs", "Group against group", _pairs(found)),
        ("curves", "What the costs were read from", _curves(found)),
        ("fit", "Does the model fit?", _fit(found)),
        ("unseen", "If unseen outcomes are different", _shifts(found)),
        ("older", "What older tests say", _older(found)),
        ("margin", "Why hit rates mislead", _marginality(found)),
        ("assumed", "What is assumed, and what was left out", _assumed(found)),
    ]
    return rendered(
        f"Audit of decisions: {name}",
        f"verdict: {found.verdict} · {sum(group.decisions for group in found.groups):,} decisions",
        [Section(key, title, 1, drawn) for key, title, drawn in parts if drawn],
    )


def _result(found: Audit) -> list[Markup]:
    drawn = [blocks.text(VERDICTS[found.verdict], "lead"), blocks.text(_sentence(found.statement))]
    stated = [group for group in found.groups if not math.isnan(group.cost.point)]
    if not stated:
        return [*drawn, blocks.missing("No cost is stated for any group.")]
    every = [value for group in stated for value in (group.cost.low, group.cost.high)]
    scale = scale_of(every, margin=0.08)
    rows = [
        Row(group.name, _cell(scale, group.cost, _style(index)), str(group.cost), f"{group.decisions:,} decisions")
        if not math.isnan(group.cost.point)
        else Row(group.name, Markup(""), "none", group.reason)
        for index, group in enumerate(found.groups)
    ]
    note = (
        f"The cost of a false positive, where that and the cost of a false negative make 1: decide 1 where the chance "
        f"of the outcome is at least so much. A lower cost is a lower bar for decision 1. {found.level:.0%} intervals."
    )
    return [*drawn, blocks.rows("Relative cost by group", note, axis_cell(scale, "relative cost"), rows)]


def _cell(scale: Scale, measure: Measure, style: str) -> Markup:
    return interval_cell(scale, Interval(measure.point, measure.low, measure.high, str(measure)), style)


def _style(index: int) -> str:
    return f"block-{index + 1}" if index < COLORED else "block-0"


def _pairs(found: Audit) -> list[Markup]:
    records = [] if found.conditional is None else [_plain(found.conditional)]
    if not found.pairs:
        return records
    tests = list(found.pairs[0].p_values)
    rows = [
        (
            f"{pair.first} and {pair.second}: {pair.text}",
            *(_p_value(pair.p_values.get(test, math.nan)) for test in tests),
            _p_value(pair.p_value),
            pair.verdict,
        )
        for pair in found.pairs
    ]
    head = ("groups", *(f"p, {test}" for test in tests), "p, all", "verdict")
    told = (
        "Costs differ by the second less the first. The posterior is read within each group (p, cost) and as one for "
        "all (p, shared cost), and decisions are compared between equal records. A difference is stated only where "
        "every reading has it: p of all is the largest, corrected for the number of pairs."
    )
    numeric = tuple(range(1, 2 + len(tests)))
    return [blocks.text(told), blocks.table("Differences", Table(head, rows, numeric, wrap=True)), *records]


def _p_value(value: float) -> str:
    return "" if math.isnan(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _curves(found: Audit) -> list[Markup]:
    shown = [(index, group) for index, group in enumerate(found.groups) if group.decided is not None][:COLORED]
    if not shown:
        return []
    drawn = [
        blocks.figure(
            "Decisions along the posterior",
            "Share decided 1, with exact intervals; a dashed rule is a group's cost, where its curve crosses one half.",
            _decided(shown),
            _numbers([(group.name, group.decided) for _, group in shown]),
        )
    ]
    with_outcomes = [(index, group) for index, group in shown if group.outcomes is not None]
    if with_outcomes:
        drawn.append(
            blocks.figure(
                "Outcomes along the posterior",
                "Share with the outcome, with exact intervals. On the rule, the posterior is what it says.",
                _calibration(with_outcomes),
                _numbers([(group.name, group.outcomes) for _, group in with_outcomes]),
            )
        )
    made = [(index, group) for index, group in shown if group.induced is not None]
    if made:
        note = "The chance of the outcome that a score means, with the band in which it lies at 95 %."
        table = _numbers([(group.name, group.induced) for _, group in made])
        drawn.append(blocks.figure("Induced posterior", note, _induced(made), table))
    legend = [(_style(index), group.name) for index, group in shown]
    return [*drawn, blocks.legend(legend, "" if len(found.groups) <= COLORED else "Further groups are not drawn.")]


def _decided(shown: Sequence[tuple[int, GroupAudit]]) -> Markup:
    frame = Frame(Axis("posterior", Scale(0.0, 1.0)), Axis("share decided 1", Scale(0.0, 1.0)), height=260)
    below, above = [], [segment(frame, (0.0, 0.5), (1.0, 0.5), "quiet fine")]
    for index, group in shown:
        below.append(_through(frame, group.decided, _style(index), group.name))
        above += _whiskers(frame, group.decided, _style(index), group.name)
        if not math.isnan(group.cost.point):
            tip = f"{group.name}: cost {group.cost}"
            cost = group.cost.point
            above.append(segment(frame, (cost, 0.0), (cost, 1.0), f"{_style(index)} dashed", tip))
    costs = "; ".join(f"{group.name} at {group.cost}" for _, group in shown)
    return draw(frame, below, above, f"Share of decisions 1 along the posterior, by group. Crossing one half: {costs}.")


def _calibration(shown: Sequence[tuple[int, GroupAudit]]) -> Markup:
    frame = Frame(Axis("posterior", Scale(0.0, 1.0)), Axis("share with outcome", Scale(0.0, 1.0)), height=260)
    above = [segment(frame, (0.0, 0.0), (1.0, 1.0), "quiet fine")]
    above += [mark for index, group in shown for mark in _whiskers(frame, group.outcomes, _style(index), group.name)]
    below = [_through(frame, group.outcomes, _style(index), group.name) for index, group in shown]
    names = ", ".join(group.name for _, group in shown)
    return draw(frame, below, above, f"Share of outcomes along the posterior for {names}, beside the diagonal.")


def _induced(shown: Sequence[tuple[int, GroupAudit]]) -> Markup:
    every = [value for _, group in shown if group.induced is not None for value in group.induced.at]
    frame = Frame(Axis("score", scale_of(every)), Axis("posterior", Scale(0.0, 1.0)), height=240)
    below = []
    for index, group in shown:
        assert group.induced is not None, "chosen so"
        at, low, high = (np.array(column) for column in (group.induced.at, group.induced.low, group.induced.high))
        below.append(band(frame, at, low, high, _style(index)))
        below.append(line(frame, at, np.array(group.induced.share), _style(index), group.name))
    names = ", ".join(group.name for _, group in shown)
    return draw(frame, below, [], f"The posterior that a score means, rising with the score, for {names}.")


def _through(frame: Frame, bins: Bins | None, style: str, name: str) -> Markup:
    assert bins is not None, "shown groups have bins"
    return line(frame, np.array(bins.at), np.array(bins.share), f"{style} thin", name)


def _whiskers(frame: Frame, bins: Bins | None, style: str, name: str) -> list[Markup]:
    assert bins is not None, "shown groups have bins"
    drawn = []
    for at, share, low, high, count in zip(bins.at, bins.share, bins.low, bins.high, bins.counts, strict=True):
        tip = f"{name}, posterior {at:.2f}: {share:.2f} [{low:.2f}, {high:.2f}], {count:,} rows"
        drawn += [segment(frame, (at, low), (at, high), f"{style} fine"), dot(frame, at, share, style, tip)]
    return drawn


def _numbers(named: Sequence[tuple[str, Bins | None]]) -> Table:
    rows = [
        (name, f"{at:.3f}", f"{share:.3f}", f"{low:.3f}", f"{high:.3f}", f"{count:,}")
        for name, bins in named
        if bins is not None
        for at, share, low, high, count in zip(bins.at, bins.share, bins.low, bins.high, bins.counts, strict=True)
    ]
    return Table(("group", "posterior", "share", "low", "high", "rows"), rows, (1, 2, 3, 4, 5))


def _fit(found: Audit) -> list[Markup]:
    rows = []
    for group in found.groups:
        rows += [(check.text, check.name, "passed" if check.passed else "FAILED", group.name) for check in group.checks]
        rows += [(group.reason, "cost", "none stated", group.name)] if group.reason else []
    head = ("what was found", "check", "result", "group")
    return [blocks.table("Checks", Table(head, rows, wrap=True))] if rows else []


def _shifts(found: Audit) -> list[Markup]:
    if not found.shifts:
        return []
    by_group = zip(*(shift.costs for shift in found.shifts), strict=True)
    rows = [
        (group.name, *(f"{low:.3f} to {high:.3f}" for low, high in costs))
        for group, costs in zip(found.groups, by_group, strict=True)
    ]
    head = ("group", *(f"odds up to {shift.odds:g} times" for shift in found.shifts))
    costs = blocks.table("Costs, by how different unseen outcomes may be", Table(head, rows, wrap=True))
    return [costs, _lines("What that means", [shift.text for shift in found.shifts])]


def _older(found: Audit) -> list[Markup]:
    told = (
        "These compare rates. They need no posterior, and can err where the groups' risks are distributed differently; "
        "they are shown beside the costs and never decide the verdict."
    )
    drawn = [blocks.text(told), *_rates("Benchmark test: how often decided 1", found.benchmark)]
    drawn += [] if found.outcome is None else _rates("Outcome test: how often right when decided 1", found.outcome)
    if found.hybrid is not None:
        rows = [(pair.text, pair.lower or "none") for pair in found.hybrid.pairs]
        note = f"Assumed: {found.hybrid.assumption}."
        head = ("both together", "lower threshold")
        drawn.append(blocks.table("Hybrid test", Table(head, rows, note=note, wrap=True)))
    drawn += [_plain(test) for test in found.thresholds]
    if found.metrics:
        names = list(dict.fromkeys(name for row in found.metrics.values() for name in row))
        rows = [(group, *(_number(row.get(name, math.nan)) for name in names)) for group, row in found.metrics.items()]
        drawn.append(blocks.table("Rates", Table(("group", *names), rows, tuple(range(1, 1 + len(names))))))
    return drawn


def _rates(title: str, test: RateTest) -> list[Markup]:
    """Each group's rate with its interval, and what the test makes of the pairs."""
    scale = scale_of([value for rate in test.rates for value in (rate.low, rate.high)], margin=0.08)
    rows = []
    for index, rate in enumerate(test.rates):
        drawing, text = Markup(""), "none"
        if rate.rate is not None:
            drawing = interval_cell(scale, Interval(rate.rate, rate.low, rate.high, str(rate)), _style(index))
            text = f"{rate.rate:.3f}"
        rows.append(Row(rate.name, drawing, text, f"{rate.total:,} rows"))
    lines = [line.strip() for line in str(test).splitlines()[1 + len(test.rates) :]]
    short = len(lines) <= 2
    note = " ".join(f"{line}." for line in lines) if short else "Pairs of groups are compared below."
    drawn = [blocks.rows(title, note, axis_cell(scale, test.measure), rows)]
    return drawn if short else [*drawn, _lines(f"{test.measure.capitalize()}s, group against group", lines)]


def _plain(test: object) -> Markup:
    """A result in its own words, a line a row."""
    first, *others = str(test).splitlines()
    return _lines(_sentence(first, end=""), [line.strip() for line in others])


def _lines(title: str, lines: Sequence[str]) -> Markup:
    """A line a row, without names of columns."""
    return blocks.table(title, Table((), [(line,) for line in lines], wrap=True))


def _sentence(words: str, end: str = ".") -> str:
    """With a capital letter at its start."""
    return f"{words[:1].upper()}{words[1:]}{end}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _marginality(found: Audit) -> list[Markup]:
    return [] if found.marginality is None else [_plain(found.marginality)]


def _assumed(found: Audit) -> list[Markup]:
    drawn = []
    for title, texts in (("Assumed", found.assumptions), ("Left out", found.notes)):
        drawn += [_lines(title, texts)] if texts else []
    return drawn
