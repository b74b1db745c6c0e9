"""What the report says about which run is better."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from demonstrably.evaluation.compare import Compared, Comparison, Pair
from demonstrably.evaluation.intervals import Measured
from demonstrably.evaluation.scale import Scale as Unit

from . import blocks
from .charts import Interval, Row, axis_cell, interval_cell
from .figures import Scale, scale_of
from .reading import Folder
from .sections import command
from .verdicts import clipped_words, unwrapped


@dataclass(frozen=True)
class Found:
    """A comparison, the name of its file, and how many returns were clipped to the bounds."""

    name: str
    comparison: Comparison
    clipped: Any


def read_comparisons(folders: Sequence[Folder]) -> tuple[list[Found], list[str]]:
    """The comparisons in the run folders, each once, and what could not be read."""
    found: dict[str, Found] = {}
    problems = []
    for folder in folders:
        for name, record in folder.comparisons.items():
            inner = unwrapped(record, "comparison", "pairs")
            try:
                one = Found(name, Comparison.from_dict(inner), record.get("clipped"))
                found.setdefault(json.dumps(inner, sort_keys=True), one)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                problems.append(f"{folder.path}/comparisons/{name}.json does not hold a comparison ({error!r})")
    return list(found.values()), problems


def comparison_blocks(folders: Sequence[Folder]) -> list[Markup]:
    """Effects between runs, their scores side by side, and what they say about training again."""
    found, problems = read_comparisons(folders)
    drawn = [blocks.text(problem, "problem") for problem in problems]
    for one in found:
        drawn += _comparison(one, one.name if len(found) > 1 else "")
    if not found and len(folders) > 1:
        names = " ".join(command("compare", folder).removeprefix("demonstrably compare ") for folder in folders)
        drawn.append(
            blocks.missing(
                "These runs have not been compared. To play them on the same seeds:",
                f"demonstrably compare {names}",
            )
        )
    return drawn


def _comparison(found: Found, name: str) -> list[Markup]:
    comparison, unit = found.comparison, found.comparison.scale
    title = f"Difference in {unit.measure}" + (f" ({name})" if name else "")
    verdicts = " ".join(f"{_sentence(comparison, pair)}" for pair in comparison.pairs[:3])
    note = (
        f"{verdicts} Paired on {comparison.seeds:,} shared seeds; {100 * comparison.level:.0f} % intervals "
        f"that hold however often one looks{', all together' if len(comparison.pairs) > 1 else ''}. "
        f"{clipped_words(unit, found.clipped)}"
    )
    drawn = [_effects(title, note, comparison), _policies(comparison)]
    across = [(policy.name, policy.across) for policy in comparison.compared if policy.across is not None]
    if across:
        drawn.append(_interquartile(unit, across))
    told = [(pair, pair.improvement) for pair in comparison.pairs if pair.improvement is not None]
    if told:
        drawn.append(_improvements(comparison, told))
    return drawn


def _names(comparison: Comparison, pair: Pair) -> tuple[str, str]:
    return comparison.compared[pair.first].name, comparison.compared[pair.second].name


def _sentence(comparison: Comparison, pair: Pair) -> str:
    first, second = _names(comparison, pair)
    if pair.better is None:
        return f"{first} and {second} are not separated ({_p_value(pair.adjusted)})."
    best, other = (first, second) if pair.better == pair.first else (second, first)
    return f"{best} is better than {other} ({_p_value(pair.adjusted)})."


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _effects(title: str, note: str, comparison: Comparison) -> Markup:
    unit, lines = comparison.scale, []
    ends = [unit.difference(value) for pair in comparison.pairs for value in (pair.low, pair.high)]
    scale = scale_of(ends, cover=(0,), margin=0.08)
    for pair in comparison.pairs:
        mean, low, high = (unit.difference(value) for value in (pair.difference, pair.low, pair.high))
        mark = tuple(unit.text(value, sign=True) for value in (pair.difference, pair.low, pair.high))
        words = f"{mark[0]} [{mark[1]}, {mark[2]}]"
        style = "one" if pair.better is not None else "quiet"
        cell = interval_cell(scale, Interval(mean, low, high, words), style, reference=0)
        first, second = _names(comparison, pair)
        seeds = f"better on {pair.wins:,} seeds, worse on {pair.losses:,}"
        lines.append(Row(f"{first} − {second}", cell, words, seeds, strong=pair.better is not None))
    return blocks.rows(title, note, axis_cell(scale, f"difference in {_axis(unit)}"), lines)


def _axis(unit: Unit) -> str:
    return "success rate" if unit.is_rate else unit.measure


def _in_unit(unit: Unit, measured: Measured) -> Interval:
    """A score in [0, 1] in the measure's own unit, for drawing and in words."""
    mean, low, high = (unit.value(value) for value in (measured.mean, measured.low, measured.high))
    counted = f", {measured.count}/{measured.episodes}" if unit.is_rate and measured.count is not None else ""
    words = f"{unit.text(measured.mean)} [{unit.text(measured.low)}, {unit.text(measured.high)}]{counted}"
    return Interval(mean, low, high, words)


def _measured_rows(title: str, note: str, unit: Unit, named: Sequence[tuple[str, str, Measured]]) -> Markup:
    drawn = [(name, detail, _in_unit(unit, measured)) for name, detail, measured in named]
    ends = [end for _, _, interval in drawn for end in (interval.low, interval.high)]
    scale = scale_of(ends, cover=(0, 1) if unit.is_rate else (), margin=0.02)
    lines = [Row(name, interval_cell(scale, one, "one"), one.text, detail) for name, detail, one in drawn]
    return blocks.rows(title, note, axis_cell(scale, _axis(unit)), lines)


def _policies(comparison: Comparison) -> Markup:
    named = [(policy.name, _members(policy), policy.mean) for policy in comparison.compared]
    note = "About these trained policies, over the episodes of the environment."
    return _measured_rows("On the shared seeds", note, comparison.scale, named)


def _members(policy: Compared) -> str:
    return f"mean of {policy.members} members" if policy.members > 1 else ""


def _interquartile(unit: Unit, across: Sequence[tuple[str, Measured]]) -> Markup:
    note = "Interquartile mean of members, stratified bootstrap: about training again. From few, only a hint."
    named = [(name, f"{measured.episodes} members", measured) for name, measured in across]
    return _measured_rows("Across members", note, unit, named)


def _improvements(comparison: Comparison, told: Sequence[tuple[Pair, Measured]]) -> Markup:
    scale = Scale(-0.02, 1.02)
    lines = []
    for pair, chance in told:
        words = f"{chance.mean:.2f} [{chance.low:.2f}, {chance.high:.2f}]"
        cell = interval_cell(scale, Interval(chance.mean, chance.low, chance.high, words), "one", reference=0.5)
        first, second = _names(comparison, pair)
        lines.append(Row(f"{first} beats {second}", cell, words))
    note = "The chance that a new member of the first does better than one of the second; 0.5: no difference."
    return blocks.rows("Probability of improvement", note, axis_cell(scale, "probability"), lines)
